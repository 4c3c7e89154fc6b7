//! What a handle of NVTX stands for. Handles are chosen by the tool that we pass calls on to, or by us where there is none;
//! either way we keep the text behind them, because it is told once and used in every range.
//!
//! A fixed table, filled in by whoever is told a name and read without a lock; entries are never taken out. When it is
//! full, later names stay unknown: their ranges go by without us.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::wire::record::SpanName;

use super::abi::Handle;

/// Most domains and registered strings of a process, all its libraries together.
const ENTRIES: usize = 4096;
/// Longest run of slots that is looked at.
const PROBES: usize = 64;

/// A domain or a registered string. Never freed.
#[derive(Debug)]
pub(in crate::agent) struct Named {
    pub(in crate::agent) text: &'static [u8],
    /// As a domain: the one, or one of those, that steps are looked for in. As a string: the text of a step.
    pub(in crate::agent) matches: bool,
    /// The text as a span has it, if it is short.
    pub(in crate::agent) short: Option<SpanName>,
}

/// Stands for a handle that nobody knows.
pub(in crate::agent) static UNKNOWN: Named = Named { text: b"unknown to the agent", matches: false, short: None };

struct Entry {
    handle: AtomicPtr<c_void>,
    named: AtomicPtr<Named>,
}

static TABLE: [Entry; ENTRIES] =
    [const { Entry { handle: AtomicPtr::new(null_mut()), named: AtomicPtr::new(null_mut()) } }; ENTRIES];

/// Domains, in the order in which they came; later ones than fit are not told from new ones of the same name.
static DOMAINS: [AtomicPtr<Named>; 64] = [const { AtomicPtr::new(null_mut()) }; 64];

impl Named {
    /// Copies the text; `None` without memory.
    pub(in crate::agent) fn copy(text: &[u8], matches: bool) -> Option<&'static Self> {
        // SAFETY: `malloc` aligns for any integer or pointer; both parts are ours, large enough, and written before they
        // are read.
        unsafe {
            let place = libc::malloc(size_of::<Self>() + text.len()).cast::<Self>();
            if place.is_null() {
                return None;
            }
            let bytes = place.add(1).cast::<u8>();
            std::ptr::copy_nonoverlapping(text.as_ptr(), bytes, text.len());
            let text = std::slice::from_raw_parts(bytes, text.len());
            place.write(Self { text, matches, short: SpanName::short(text) });
            Some(&*place)
        }
    }

    /// Tells it from every other text, of whichever kind: even, and not 0.
    pub(in crate::agent) fn key(&'static self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }
}

fn slots(handle: Handle) -> impl Iterator<Item = &'static Entry> {
    // Handles are addresses: their low bits are alike.
    let hash = (handle.addr() as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
    // The remainder is in range whatever the sum.
    (0..PROBES).map(move |probe| &TABLE[(hash as usize).wrapping_add(probe) % ENTRIES])
}

/// The domain of this name. Where no tool tells domains apart, that is what makes one of two of the same name.
pub(in crate::agent) fn domain(text: &[u8], matches: bool) -> Option<&'static Named> {
    for entry in &DOMAINS {
        // SAFETY: null, or a leaked box.
        let found = unsafe { entry.load(Ordering::Acquire).as_ref() };
        let known = match found {
            Some(known) => known,
            None => {
                let new = Named::copy(text, matches)?;
                let mine = std::ptr::from_ref(new).cast_mut();
                match entry.compare_exchange(null_mut(), mine, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Some(new),
                    // SAFETY: not null, so a leaked box.
                    Err(first) => unsafe { &*first },
                }
            }
        };
        if known.text == text {
            return Some(known);
        }
    }
    Named::copy(text, matches)
}

/// Keeps what a handle stands for, and gives the handle: where no tool gave one, that is what we keep. One that is used
/// again (a tool may) stands for the new text.
pub(in crate::agent) fn keep(passed: Handle, named: &'static Named) -> Handle {
    let handle = if passed.is_null() { std::ptr::from_ref(named).cast_mut().cast() } else { passed };
    for entry in slots(handle) {
        let found = entry.handle.load(Ordering::Acquire);
        let mine = found == handle
            || found.is_null()
                && entry.handle.compare_exchange(found, handle, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if mine {
            entry.named.store(std::ptr::from_ref(named).cast_mut(), Ordering::Release);
            break;
        }
    }
    handle
}

/// What a handle stands for.
#[inline]
pub(in crate::agent) fn get(handle: Handle) -> Option<&'static Named> {
    for entry in slots(handle) {
        let found = entry.handle.load(Ordering::Acquire);
        if found == handle {
            // SAFETY: null, or a leaked box.
            return unsafe { entry.named.load(Ordering::Acquire).as_ref() };
        }
        if found.is_null() {
            return None;
        }
    }
    None
}
