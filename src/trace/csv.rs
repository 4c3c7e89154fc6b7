//! CSV by hand into a byte buffer, as RFC 4180 has it: what the ledger's rows are made of.

use super::writer::{cut_mark, fitting};

/// Rows that are flushed by their owner.
#[derive(Debug, Default)]
pub(super) struct CsvBuffer {
    bytes: Vec<u8>,
    /// Whether the row that is open has a field.
    has_field: bool,
}

impl CsvBuffer {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn separate(&mut self) {
        if self.has_field {
            self.bytes.push(b',');
        }
        self.has_field = true;
    }

    /// Fields that are CSV already.
    pub(super) fn fields(&mut self, fields: &str) {
        self.separate();
        self.bytes.extend_from_slice(fields.as_bytes());
    }

    /// A number, or nothing.
    pub(super) fn number(&mut self, number: Option<u64>) {
        self.separate();
        if let Some(number) = number {
            self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
    }

    /// A text, in quotes where it has to be; cut if it is longer than a trace holds.
    pub(super) fn field(&mut self, text: &str) {
        self.separate();
        let (kept, is_whole) = fitting(text);
        let mark = if is_whole { String::new() } else { cut_mark(text.len()) };
        let needs_quotes = kept.is_empty() || kept.contains(['"', ',', '\r', '\n']);
        if !needs_quotes {
            self.bytes.extend_from_slice(kept.as_bytes());
            self.bytes.extend_from_slice(mark.as_bytes());
            return;
        }
        self.bytes.push(b'"');
        for &byte in kept.as_bytes() {
            if byte == b'"' {
                self.bytes.push(b'"');
            }
            self.bytes.push(byte);
        }
        self.bytes.extend_from_slice(mark.as_bytes());
        self.bytes.push(b'"');
    }

    pub(super) fn end_row(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
        self.has_field = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_quotes_where_they_have_to_be() {
        let mut csv = CsvBuffer::default();
        for text in ["plain", "a,b", "say \"x\"", "two\r\nlines", "", " é "] {
            csv.field(text);
        }
        csv.number(None);
        csv.number(Some(u64::MAX));
        csv.end_row();
        csv.number(None);
        csv.end_row();
        let expected = "plain,\"a,b\",\"say \"\"x\"\"\",\"two\r\nlines\",\"\", é ,,18446744073709551615\r\n\r\n";
        assert_eq!(csv.bytes(), expected.as_bytes());
    }
}
