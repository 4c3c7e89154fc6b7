//! Texts that are told often: copied once, for ever, and known by their address from then on.
//!
//! A fixed table, read without a lock; entries are never taken out. When it is full, a text is copied anew each time it is
//! interned, so whoever interns keeps what it got, as the header asks.

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::wire::wanted;

use super::nvtx::names::Named;

/// Most texts of a process.
const ENTRIES: usize = 8192;
/// Longest run of places that is looked at.
const PROBES: usize = 32;

static TABLE: [AtomicPtr<Named>; ENTRIES] = [const { AtomicPtr::new(std::ptr::null_mut()) }; ENTRIES];

/// The one copy of a text. `None` without memory, or without a place.
pub(super) fn intern(text: &[u8]) -> Option<&'static Named> {
    let hash = wanted::number(text) as usize;
    let mut made: Option<&'static Named> = None;
    for probe in 0..PROBES {
        // The remainder is in range whatever the sum.
        let place = &TABLE[hash.wrapping_add(probe) % ENTRIES];
        // SAFETY: null, or a copy that is never freed.
        let found = unsafe { place.load(Ordering::Acquire).as_ref() };
        let found = match found {
            Some(found) => found,
            None => {
                let new = match made {
                    Some(new) => new,
                    None => Named::copy(text, false)?,
                };
                made = Some(new);
                let mine = std::ptr::from_ref(new).cast_mut();
                match place.compare_exchange(std::ptr::null_mut(), mine, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Some(new),
                    // SAFETY: not null, so a copy that is never freed.
                    Err(first) => unsafe { &*first },
                }
            }
        };
        if found.text == text {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_copy_whoever_asks() {
        let texts: Vec<String> = (0..500).map(|n| format!("text {n}")).collect();
        let all = || texts.iter().map(|text| intern(text.as_bytes()).map(Named::key)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::scope(|scope| scope.spawn(all).join().unwrap())).collect();
        assert!(threads.iter().all(|keys| *keys == threads[0] && keys.iter().all(Option::is_some)));
        let mut keys = threads[0].clone();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), texts.len());
    }
}
