//! JSON by hand into a byte buffer: what the hot loops of the Chrome writer and the ledger are made of.

use super::writer::{cut_mark, fitting};

/// Text that is flushed by its owner.
#[derive(Debug, Default)]
pub(super) struct JsonBuffer {
    bytes: Vec<u8>,
}

impl JsonBuffer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Text that is JSON already.
    #[inline]
    pub(super) fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    /// A finite number, as short as it can be told exactly. Written without an exponent: never hot.
    pub(super) fn decimal(&mut self, number: f64) {
        self.raw(&number.to_string());
    }

    #[inline]
    pub(super) fn signed(&mut self, number: i64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    #[inline]
    pub(super) fn boolean(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    /// Nanoseconds as microseconds with exactly three decimals.
    #[inline]
    pub(super) fn micros(&mut self, ns: u64) {
        self.number(ns / 1000);
        let rest = (ns % 1000) as u16;
        let digit = |d: u16| b'0' + (d % 10) as u8;
        self.bytes.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }

    /// A string with its quotes, cut if it is longer than a trace holds.
    #[inline]
    pub(super) fn string(&mut self, text: &str) {
        let (kept, is_whole) = fitting(text);
        self.bytes.push(b'"');
        if is_plain(kept.as_bytes()) {
            self.raw(kept);
        } else {
            self.escaped(kept.as_bytes());
        }
        if !is_whole {
            self.raw(&cut_mark(text.len()));
        }
        self.bytes.push(b'"');
    }

    fn escaped(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            self.bytes.extend_from_slice(&rest[..at]);
            match rest[at] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control => {
                    let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
                    self.raw("\\u00");
                    self.bytes.extend_from_slice(&[hex(control >> 4), hex(control)]);
                }
            }
            rest = &rest[at + 1..];
        }
        self.bytes.extend_from_slice(rest);
    }
}

/// Whether nothing in it has to be escaped. Eight bytes at a time: every key and name of a trace passes here.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // In each byte, the highest bit is set if the byte is below `limit` (and below 0x80).
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let is_plain = |word: u64| {
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
        (below(word, 0x20) | quotes | backslashes) == 0
    };
    let mut words = text.chunks_exact(8);
    let mut last = [b' '; 8];
    let are_plain = words.by_ref().all(|word| is_plain(word.try_into().map_or(0, u64::from_le_bytes)));
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    are_plain && is_plain(u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_string_comes_back(text in proptest::collection::vec(any::<char>(), 0..40)) {
            let text: String = text.into_iter().collect();
            let mut json = JsonBuffer::default();
            json.string(&text);
            let back = serde_json::from_slice::<String>(json.bytes());
            prop_assert_eq!(back.ok(), Some(text));
        }

        #[test]
        fn plain_is_what_needs_no_escape(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x1eu8..0x24, 0x5au8..0x5e], 0..40)) {
            let needs = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            prop_assert_eq!(is_plain(&bytes), !bytes.iter().any(needs));
        }

        #[test]
        fn microseconds_are_exact(ns: u64) {
            let mut json = JsonBuffer::default();
            json.micros(ns);
            let text = String::from_utf8_lossy(json.bytes()).into_owned();
            let (whole, decimals) = text.split_once('.').unwrap_or_default();
            prop_assert_eq!(decimals.len(), 3);
            prop_assert_eq!(format!("{whole}{decimals}").parse::<u64>(), Ok(ns));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_marked() {
        let mut json = JsonBuffer::default();
        json.string(&"é\"".repeat(400_000));
        let back: String = serde_json::from_slice(json.bytes()).unwrap();
        let kept = back.strip_suffix("… (1200000 bytes)").unwrap();
        assert!(
            kept.len() <= crate::trace::writer::MAX_TEXT_BYTES && kept.len() + 4 > crate::trace::writer::MAX_TEXT_BYTES
        );
        assert!("é\"".repeat(400_000).starts_with(kept));
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut json = JsonBuffer::default();
        json.string("a\u{1}\u{1f}\u{7f}\"\\\n\u{2028}");
        assert_eq!(json.bytes(), "\"a\\u0001\\u001f\u{7f}\\\"\\\\\\n\u{2028}\"".as_bytes());
    }
}
