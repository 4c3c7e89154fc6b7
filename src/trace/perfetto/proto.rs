//! Protobuf by hand into a byte buffer: keys, varints, fixed numbers, texts, and messages inside messages.

use crate::trace::writer::{cut_mark, fitting};

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const DELIMITED: u32 = 2;

/// A few fields, put together without an allocation and written at once: the hot packets are made of these.
#[derive(Debug)]
pub(super) struct Fields {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl Fields {
    /// Five numbers of ten bytes with keys of two.
    const CAPACITY: usize = 64;

    #[inline]
    pub(super) fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], length: 0 }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        debug_assert!(self.length < Self::CAPACITY, "more fields than the writer ever puts together");
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// A number; for `int64` hand in the bits, for `bool` 0 or 1.
    #[inline]
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3 | VARINT));
        self.varint(value);
    }

    #[inline]
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field << 3 | FIXED_64));
        self.raw(&value.to_le_bytes());
    }

    /// Fields that are encoded already.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// The beginning of a message of so many bytes. 0 is to be filled in by [`ProtoBuffer::close`], with what is open then.
    #[inline]
    pub(super) fn message(&mut self, field: u32, bytes: usize) -> Open {
        self.varint(u64::from(field << 3 | DELIMITED));
        self.varint(bytes as u64);
        Open(self.length)
    }
}

/// A message that is open: where its content begins.
#[derive(Debug)]
#[must_use = "a message that is not closed has no length"]
pub(super) struct Open(usize);

/// Messages, one behind the other; flushed by its owner.
#[derive(Debug, Default)]
pub(super) struct ProtoBuffer {
    bytes: Vec<u8>,
}

impl ProtoBuffer {
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

    /// Fields that are encoded already.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        if value < 0x80 {
            self.bytes.push(value as u8);
            return;
        }
        let mut bytes = [0; 10];
        let mut length = 0;
        while value >= 0x80 {
            bytes[length] = value as u8 | 0x80;
            value >>= 7;
            length += 1;
        }
        bytes[length] = value as u8;
        self.bytes.extend_from_slice(&bytes[..=length]);
    }

    #[inline]
    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// A number; for `int64` hand in the bits, for `bool` 0 or 1.
    #[inline]
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    #[inline]
    pub(super) fn fixed(&mut self, field: u32, value: u64) {
        self.key(field, FIXED_64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.fixed(field, value.to_bits());
    }

    /// A text, cut if it is longer than a trace holds.
    #[inline]
    pub(super) fn text(&mut self, field: u32, text: &str) {
        let (kept, is_whole) = fitting(text);
        self.key(field, DELIMITED);
        if is_whole {
            self.varint(kept.len() as u64);
            self.bytes.extend_from_slice(kept.as_bytes());
            return;
        }
        let mark = cut_mark(text.len());
        self.varint((kept.len() + mark.len()) as u64);
        self.bytes.extend_from_slice(kept.as_bytes());
        self.bytes.extend_from_slice(mark.as_bytes());
    }

    /// Fields in which messages are open.
    #[inline]
    pub(super) fn raw_open<const N: usize>(&mut self, fields: &Fields, open: [Open; N]) -> [Open; N] {
        let begin = self.bytes.len();
        self.raw(fields.bytes());
        open.map(|Open(at)| Open(begin + at))
    }

    /// Begins a message that is a field of the one around it.
    #[inline]
    pub(super) fn open(&mut self, field: u32) -> Open {
        self.key(field, DELIMITED);
        self.bytes.push(0);
        Open(self.bytes.len())
    }

    /// Ends it. A message of less than 128 bytes, and most are, has its length in the one byte that was left for it.
    #[inline]
    pub(super) fn close(&mut self, open: Open) {
        let Open(begin) = open;
        let length = self.bytes.len() - begin;
        if length < 0x80 {
            self.bytes[begin - 1] = length as u8;
        } else {
            self.close_long(begin, length);
        }
    }

    fn close_long(&mut self, begin: usize, length: usize) {
        let mut head = Self::default();
        head.varint(length as u64);
        self.bytes.splice(begin - 1..begin, head.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A decoder of a few lines, by the encoding's definition.
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0u64;
        for shift in (0..).step_by(7) {
            let (&byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
        }
        unreachable!()
    }

    proptest! {
        #[test]
        fn numbers_and_texts_come_back(field in 1u32..2000, value in prop_oneof![any::<u64>(), 0u64..300], text: String) {
            let mut proto = ProtoBuffer::default();
            proto.number(field, value);
            proto.fixed(field, value);
            proto.text(field, &text);
            let mut bytes = proto.bytes();
            prop_assert_eq!(varint(&mut bytes), u64::from(field) << 3);
            prop_assert_eq!(varint(&mut bytes), value);
            prop_assert_eq!(varint(&mut bytes), u64::from(field) << 3 | 1);
            prop_assert_eq!(&bytes[..8], value.to_le_bytes());
            bytes = &bytes[8..];
            prop_assert_eq!(varint(&mut bytes), u64::from(field) << 3 | 2);
            prop_assert_eq!(varint(&mut bytes) as usize, text.len());
            prop_assert_eq!(bytes, text.as_bytes());
        }

        #[test]
        fn messages_have_the_length_of_what_is_in_them(sizes in proptest::collection::vec(0usize..20_000, 1..4)) {
            let mut proto = ProtoBuffer::default();
            let open: Vec<Open> = sizes.iter().map(|&size| {
                let open = proto.open(7);
                proto.raw(&vec![1; size]);
                open
            }).collect();
            open.into_iter().rev().for_each(|open| proto.close(open));
            let mut bytes = proto.bytes();
            for size in sizes {
                prop_assert_eq!(varint(&mut bytes), 7 << 3 | 2);
                prop_assert_eq!(varint(&mut bytes) as usize, bytes.len());
                bytes = &bytes[size..];
            }
            prop_assert!(bytes.is_empty());
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_marked() {
        let mut proto = ProtoBuffer::default();
        proto.text(1, &"é".repeat(500_000));
        assert!(proto.len() < crate::trace::writer::MAX_TEXT_BYTES + 64);
        assert!(std::str::from_utf8(&proto.bytes()[3..]).unwrap().ends_with("é… (1000000 bytes)"));
    }
}
