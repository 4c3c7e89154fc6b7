//! Which ranges are iterations: `STEPSCOPE_NVTX_STEP`, a text, or the beginning of one with `*` at its end, with `@DOMAIN`
//! behind it where only one domain is meant.

use crate::agent::once::Once;
use crate::wire::record::Batch;
use crate::wire::system;
use crate::wire::text::FixedText;

/// A range's text and domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) struct Pattern {
    text: FixedText<256>,
    prefix: bool,
    domain: Option<FixedText<256>>,
}

static PATTERN: Once<Option<Pattern>> = Once::new();

/// The pattern that this process was started with.
#[inline]
pub(in crate::agent) fn pattern() -> Option<&'static Pattern> {
    PATTERN.get()?.as_ref()
}

/// Reads it, once, before the first range.
pub(in crate::agent) fn read() {
    PATTERN.get_or_make(|| Pattern::parse(system::variable::<512>(c"STEPSCOPE_NVTX_STEP")?.as_bytes()));
}

impl Pattern {
    /// `None` for an empty text: that would be every range there is.
    fn parse(spec: &[u8]) -> Option<Self> {
        let at = spec.iter().rposition(|&byte| byte == b'@');
        let (text, domain) = match at {
            Some(at) => (spec.get(..at)?, spec.get(at + 1..).map(FixedText::from_bytes)),
            None => (spec, None),
        };
        let (text, prefix) = text.strip_suffix(b"*").map_or((text, false), |text| (text, true));
        (!text.is_empty()).then(|| Self { text: FixedText::from_bytes(text), prefix, domain })
    }

    /// Whether a range of this text is an iteration.
    pub(in crate::agent) fn takes(&self, text: &[u8]) -> bool {
        let wanted = self.text.as_bytes();
        if self.prefix { text.starts_with(wanted) } else { text == wanted }
    }

    /// Whether it is if it lies in this domain; the one without a name is empty.
    pub(in crate::agent) fn takes_domain(&self, domain: &[u8]) -> bool {
        self.domain.as_ref().is_none_or(|wanted| wanted.as_bytes() == domain)
    }
}

/// The batch that a range's text tells, where the engine names its iterations as vLLM does:
/// `execute_context_2(512)_generation_30(30)`.
pub(in crate::agent) fn batch(text: &[u8]) -> Option<Batch> {
    let (context_requests, context_tokens, rest) = phase(text, b"context_")?;
    let (generation_requests, generation_tokens, _) = phase(rest, b"generation_")?;
    Some(Batch { context_requests, context_tokens, generation_requests, generation_tokens })
}

/// `WORD REQUESTS(TOKENS)`, and what comes behind it.
fn phase<'a>(text: &'a [u8], word: &[u8]) -> Option<(u32, u32, &'a [u8])> {
    let at = text.windows(word.len()).position(|part| part == word)?;
    let text = text.get(at + word.len()..)?;
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().position(|&byte| byte == b')')?;
    let number = |part: Option<&[u8]>| u32::try_from(system::number(part?)?).ok();
    Some((number(text.get(..open))?, number(text.get(open + 1..close))?, text.get(close..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_text_or_its_beginning_in_any_domain_or_one() {
        let exact = Pattern::parse(b"step").unwrap();
        assert!(exact.takes(b"step") && !exact.takes(b"step 1") && exact.takes_domain(b"any"));
        let prefix = Pattern::parse(b"execute_*@vllm").unwrap();
        assert!(prefix.takes(b"execute_context_0(0)") && !prefix.takes(b"exec"));
        assert!(prefix.takes_domain(b"vllm") && !prefix.takes_domain(b""));
        assert_eq!(Pattern::parse(b"*"), None);
        assert_eq!(Pattern::parse(b"@vllm"), None);
    }

    #[test]
    fn a_name_like_vllms_tells_the_batch() {
        let batch = batch(b"execute_context_2(512)_generation_30(31)").unwrap();
        assert_eq!((batch.context_requests, batch.context_tokens), (2, 512));
        assert_eq!((batch.generation_requests, batch.generation_tokens), (30, 31));
        for other in ["step", "context_", "context_1)_generation_2(3)", "context_a(1)_generation_2(3)"] {
            assert_eq!(super::batch(other.as_bytes()), None, "{other}");
        }
    }
}
