//! JSON by hand into a byte buffer: what the hot loops of the Chrome writer and the ledger are made of.

use super::writer::{MAX_TEXT_BYTES, cut_mark, fitting};

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
        self.between("\"", text, "\"");
    }

    /// A string between its quotes, which come with the JSON around them.
    #[inline]
    pub(super) fn between(&mut self, before: &str, text: &str, behind: &str) {
        self.raw(before);
        if text.len() <= MAX_TEXT_BYTES && is_plain(text.as_bytes()) {
            self.raw(text);
        } else {
            self.unusual(text);
        }
        self.raw(behind);
    }

    fn unusual(&mut self, text: &str) {
        let (kept, is_whole) = fitting(text);
        self.escaped(kept.as_bytes());
        if !is_whole {
            self.raw(&cut_mark(text.len()));
        }
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
    let long = |at: usize| text[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let short = |at: usize| text[at..].first_chunk().map_or(0, |word| u64::from(u32::from_le_bytes(*word)));
    let length = text.len();
    match length {
        ..4 => !text.iter().any(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\'),
        4..8 => odd_bytes(short(0) << 32 | short(length - 4)) == 0,
        _ => {
            let (mut odd, mut at) = (0, 0);
            while at + 8 < length {
                odd |= odd_bytes(long(at));
                at += 8;
            }
            // What was seen already in part.
            odd | odd_bytes(long(length - 8)) == 0
        }
    }
}

/// Not 0 if a byte of the word has to be escaped.
#[inline]
fn odd_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    // The highest bit of the lowest byte that is below `limit`, and perhaps of others; those from 0x80 on are not.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let (quotes, backslashes) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
    (below(word, 0x20) | below(quotes, 1) | below(backslashes, 1)) & ONES << 7
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
