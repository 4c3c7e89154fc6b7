//! Which texts have a number: a table of fixed size, so that memory stays constant however many texts a stranger sends.
//!
//! A text gets its number when it comes a second time: names that are never repeated (`ProfilerStep#41`) stay where they
//! are and push nothing out. Where two texts of a set are taken by newer ones, the oldest is forgotten; its number is not
//! used again, so that what was written with it stays right, and it gets a new one if it comes back.

/// Longer texts are not worth a place.
const LONGEST: usize = 128;

/// How a text is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interned {
    /// By a number that stands in the trace.
    Known(u64),
    /// By this number, once the trace has been told of it.
    New(u64),
    /// As it is.
    Inline,
}

/// A table for texts of one kind.
#[derive(Debug)]
pub(super) struct Interner {
    sets: Vec<Set>,
    last: u64,
}

/// Texts that share a place, the one used last in front, and the newest that came but once.
#[derive(Debug, Default)]
struct Set {
    known: [Entry; 2],
    seen: u64,
}

#[derive(Debug, Default)]
struct Entry {
    hash: u64,
    number: u64,
    text: String,
}

impl Interner {
    /// Of `sets` times two texts; a power of two.
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: (0..sets.next_power_of_two()).map(|_| Set::default()).collect(), last: 0 }
    }

    /// How to write a text.
    #[inline]
    pub(super) fn intern(&mut self, text: &str) -> Interned {
        if text.len() > LONGEST {
            return Interned::Inline;
        }
        let hash = hash(text.as_bytes());
        let at = (hash >> 32) as usize & (self.sets.len() - 1);
        let set = &mut self.sets[at];
        let is = |entry: &Entry| entry.hash == hash && entry.text == text;
        if is(&set.known[0]) {
            return Interned::Known(set.known[0].number);
        }
        if is(&set.known[1]) {
            set.known.swap(0, 1);
            return Interned::Known(set.known[0].number);
        }
        if set.seen != hash {
            set.seen = hash;
            return Interned::Inline;
        }
        set.known.swap(0, 1);
        self.last += 1;
        let entry = &mut set.known[0];
        (entry.hash, entry.number) = (hash, self.last);
        entry.text.clear();
        entry.text.push_str(text);
        Interned::New(self.last)
    }
}

/// Quick, and the same in every run. Never 0: that is what an empty place has.
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93];
    let mix = |a: u64, b: u64| {
        let product = u128::from(a ^ FACTORS[0]) * u128::from(b ^ FACTORS[1]);
        product as u64 ^ (product >> 64) as u64
    };
    let long = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let short = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from(u32::from_le_bytes(*word)));
    let length = bytes.len();
    let mut hash = length as u64;
    let last = match length {
        0 => 0,
        1..4 => u64::from(bytes[0]) << 16 | u64::from(bytes[length / 2]) << 8 | u64::from(bytes[length - 1]),
        4..8 => short(0) << 32 | short(length - 4),
        _ => {
            let mut at = 0;
            while at + 16 < length {
                hash = mix(hash ^ long(at), long(at + 8));
                at += 16;
            }
            if at + 8 < length {
                hash = mix(hash, long(at));
            }
            // What was seen already in part.
            long(length - 8)
        }
    };
    mix(hash, last) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_second_time_a_text_gets_its_number() {
        let mut table = Interner::new(8);
        let said: Vec<Interned> = ["a", "b", "a", "a", "b", "", ""].iter().map(|text| table.intern(text)).collect();
        use Interned::{Inline, Known, New};
        assert_eq!(said, [Inline, Inline, New(1), Known(1), New(2), Inline, New(3)]);
        assert_eq!([table.intern(&"x".repeat(129)); 2], [Inline; 2]);
    }

    #[test]
    fn names_that_come_once_push_nothing_out() {
        let mut table = Interner::new(4);
        table.intern("hot");
        assert_eq!(table.intern("hot"), Interned::New(1));
        for number in 0..1000 {
            assert_eq!(table.intern(&format!("step {number}")), Interned::Inline);
            assert_eq!(table.intern("hot"), Interned::Known(1));
        }
    }

    proptest! {
        #[test]
        fn a_number_means_one_text_for_ever(texts in proptest::collection::vec("[a-f]{1,2}", 0..2000)) {
            let (mut table, mut told) = (Interner::new(4), std::collections::HashMap::new());
            for text in texts {
                match table.intern(&text) {
                    Interned::New(number) => prop_assert!(told.insert(number, text).is_none()),
                    Interned::Known(number) => prop_assert_eq!(told.get(&number), Some(&text)),
                    Interned::Inline => {}
                }
            }
        }
    }
}
