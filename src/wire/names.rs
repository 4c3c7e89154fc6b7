//! Interned strings of a segment: append-only, so that a reader never sees one change.
//!
//! An entry is a 2-byte length and the bytes, padded to 8. Its id is its offset from [`NAMES_OFFSET`] plus 8, so that 0
//! is no name. `Status::names_len` is stored with release order after the bytes are there.

use std::sync::atomic::{AtomicBool, Ordering};

use super::layout::{NAMES_BYTES, NAMES_OFFSET};
use super::segment::Segment;
use super::text::FixedText;

/// Longest name; longer ones are cut at a character.
pub const MAX_NAME_BYTES: usize = 255;

type Name = FixedText<{ MAX_NAME_BYTES + 1 }>;

static APPENDING: AtomicBool = AtomicBool::new(false);

/// In a forked child: whoever was appending is not here.
pub fn unlock() {
    APPENDING.store(false, Ordering::Relaxed);
}

/// Looks for another thread's append to be over; it takes a microsecond, unless that thread is not running just now.
const LOOKS: u32 = 1000;

/// The id of a name, appended if it is new; 0 when the table is full, or another thread does not get done with appending.
/// Only the agent calls this, once in a thread's life.
pub fn intern(segment: &Segment, name: &[u8]) -> u64 {
    let mut looks: u32 = 0;
    while APPENDING.swap(true, Ordering::Acquire) {
        looks = looks.wrapping_add(1);
        if looks >= LOOKS {
            return 0;
        }
        std::hint::spin_loop();
    }
    let name = FixedText::from_bytes(name);
    let id = find(segment, &name).unwrap_or_else(|| append(segment, &name));
    APPENDING.store(false, Ordering::Release);
    id
}

fn find(segment: &Segment, name: &Name) -> Option<u64> {
    let mut at = 0;
    let len = segment.status().names_len.load(Ordering::Relaxed);
    while at < len {
        let found = read(segment, at, len)?;
        if found == *name {
            return Some(at + 8);
        }
        at += (2 + found.as_bytes().len() as u64).next_multiple_of(8);
    }
    None
}

fn append(segment: &Segment, name: &Name) -> u64 {
    let bytes = name.as_bytes();
    let at = segment.status().names_len.load(Ordering::Relaxed);
    let size = (2 + bytes.len() as u64).next_multiple_of(8);
    if at.saturating_add(size) > NAMES_BYTES {
        return 0;
    }
    segment.write_bytes(NAMES_OFFSET + at, &(bytes.len() as u16).to_ne_bytes());
    segment.write_bytes(NAMES_OFFSET + at + 2, bytes);
    // SYNC names: pairs with the acquire load in `get`.
    segment.status().names_len.store(at + size, Ordering::Release);
    at + 8
}

/// The name with this id; `None` when there is none (ids come from records, so they may be anything).
pub fn get(segment: &Segment, id: u64) -> Option<String> {
    // SYNC names: pairs with the release store in `append`.
    let len = segment.status().names_len.load(Ordering::Acquire).min(NAMES_BYTES);
    let at = id.checked_sub(8).filter(|at| at % 8 == 0)?;
    Some(read(segment, at, len)?.to_string())
}

/// The entry at `at` of a table of `len` bytes.
fn read(segment: &Segment, at: u64, len: u64) -> Option<Name> {
    if at.checked_add(2)? > len {
        return None;
    }
    let mut length = [0u8; 2];
    segment.read_bytes(NAMES_OFFSET + at, &mut length);
    let length = usize::from(u16::from_ne_bytes(length));
    let mut bytes = [0u8; MAX_NAME_BYTES];
    let bytes = bytes.get_mut(..length).filter(|_| at + 2 + length as u64 <= len)?;
    segment.read_bytes(NAMES_OFFSET + at + 2, bytes);
    Some(FixedText::from_bytes(bytes))
}
