//! JSON by hand into a byte buffer: what the hot loops of the Chrome writer and the ledger are made of.

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

    /// A string with its quotes.
    pub(super) fn string(&mut self, text: &str) {
        self.bytes.push(b'"');
        let mut rest = text.as_bytes();
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
        self.bytes.push(b'"');
    }
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
    fn control_characters_are_escaped() {
        let mut json = JsonBuffer::default();
        json.string("a\u{1}\u{1f}\u{7f}\"\\\n\u{2028}");
        assert_eq!(json.bytes(), "\"a\\u0001\\u001f\u{7f}\\\"\\\\\\n\u{2028}\"".as_bytes());
    }
}
