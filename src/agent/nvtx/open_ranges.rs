//! Start/end ranges that are open: any thread may end one, and they need not nest.
//!
//! A fixed table. Whoever starts or ends a range claims its slot with one compare-and-swap and gives it back; nobody waits.
//! What stands in it from an earlier window is taken over by the next range that comes by.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::agent::state;
use crate::agent::threads;
use crate::wire::record::TEXT_BYTES;
use crate::wire::text::cut;

use super::abi::Handle;
use super::message::{self, Message};
use super::names::{self, Named};
use super::spans::{self, Window};

/// Most ranges that are open at once; a power of two.
const RANGES: usize = 256;
/// Slots that are looked at for one.
const PROBES: usize = 32;
/// In place of a range's id: somebody is at its slot.
const BUSY: u64 = u64::MAX;

struct Place {
    begin_ticks: u64,
    domain: Handle,
    /// A registered name; else so many bytes of `text`.
    known: Option<&'static Named>,
    length: usize,
    text: [u8; TEXT_BYTES],
}

struct Slot {
    /// The range that is open; 0: none.
    range: AtomicU64,
    /// Whose it is.
    window: AtomicU64,
    place: UnsafeCell<Place>,
}

// SAFETY: a place is only reached by whoever made its `range` busy.
unsafe impl Sync for Slot {}

static SLOTS: [Slot; RANGES] = [const {
    Slot {
        range: AtomicU64::new(0),
        window: AtomicU64::new(0),
        place: UnsafeCell::new(Place {
            begin_ticks: 0,
            domain: std::ptr::null_mut(),
            known: None,
            length: 0,
            text: [0; TEXT_BYTES],
        }),
    }
}; RANGES];

impl Place {
    fn keep(&mut self, text: &[u8]) {
        let text = cut(text, TEXT_BYTES);
        if let Some(room) = self.text.get_mut(..text.len()) {
            // SAFETY: both are as long as `text`, and cannot overlap: the place is ours alone.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), room.as_mut_ptr(), text.len()) };
            self.length = text.len();
        }
    }
}

/// Where a range may be. Ids are counted up by most tools: neighbours get slots of their own.
fn slots(range: u64) -> impl Iterator<Item = &'static Slot> {
    // The remainder is in range whatever the sum.
    (0..PROBES).map(move |probe| &SLOTS[(range as usize).wrapping_add(probe) % RANGES])
}

/// A range begins.
pub(in crate::agent) fn start(window: Window, domain: Handle, message: Message<'_>, range: u64) {
    let Some(joined) = state::joined() else { return };
    let free = |slot: &&Slot| {
        let found = slot.range.load(Ordering::Relaxed);
        let is_free = found == 0 || found != BUSY && slot.window.load(Ordering::Relaxed) != window.word();
        is_free && slot.range.compare_exchange(found, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    // A tool that does not number its ranges leaves them apart from each other by nothing.
    let is_numbered = range != 0 && range != BUSY;
    let Some(slot) = is_numbered.then(|| slots(range).find(free)).flatten() else {
        threads::dropped(joined);
        return;
    };
    slot.window.store(window.word(), Ordering::Relaxed);
    // SAFETY: claimed.
    let place = unsafe { &mut *slot.place.get() };
    place.domain = domain;
    (place.known, place.length) = (None, 0);
    match message {
        Message::Text(text) => place.keep(text),
        // SAFETY: NUL-terminated, says whoever made the message.
        Message::Wide(text) => place.keep(unsafe { message::narrow(text) }.as_bytes()),
        Message::Nothing => {}
        Message::Registered(named) => place.known = Some(named.unwrap_or(&names::UNKNOWN)),
    }
    place.begin_ticks = joined.clock.ticks();
    slot.range.store(range, Ordering::Release);
}

/// And ends, on whichever thread.
pub(in crate::agent) fn end(window: Window, range: u64) {
    let Some(joined) = state::joined() else { return };
    let end_ticks = joined.clock.ticks();
    let is_it = |slot: &&Slot| {
        slot.range.load(Ordering::Relaxed) == range
            && slot.range.compare_exchange(range, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    };
    let is_numbered = range != 0 && range != BUSY;
    let Some(slot) = is_numbered.then(|| slots(range).find(is_it)).flatten() else { return };
    if slot.window.load(Ordering::Relaxed) == window.word() {
        // SAFETY: claimed.
        let place = unsafe { &*slot.place.get() };
        let name = match place.known {
            Some(named) => spans::name_of(named),
            None => spans::name_of_bytes(place.text.get(..place.length).unwrap_or_default()),
        };
        spans::record(joined, window, place.domain, name, (place.begin_ticks, end_ticks), None);
    }
    slot.range.store(0, Ordering::Release);
}

/// In a forked child: whoever was at a slot is not here.
pub(in crate::agent) fn forked() {
    for slot in &SLOTS {
        slot.range.store(0, Ordering::Relaxed);
    }
}
