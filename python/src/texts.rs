//! Handles of names, categories and keys: a text is interned once, and known by its Python object from then on.
//!
//! A table of fixed size, which keeps its objects alive, so that an address is one text's for as long as it stands there.
//! What does not stand there is interned by the agent, which gives the same handle for the same text. It is read without a
//! lock: an entry is whole where its version was even, and the same one, before and behind the look at it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::said;
use crate::table;

/// Texts whose handles are known.
const ENTRIES: usize = 1024;
/// Longer texts are not kept.
const LONGEST_KEPT: usize = 240;

/// Aligned, so that it lies on one line of the cache.
#[repr(align(32))]
struct Entry {
    /// Odd: it is being written.
    version: AtomicU64,
    /// Address of the text's object; 0: none.
    text: AtomicUsize,
    handle: AtomicU64,
}

static KEPT: [Entry; ENTRIES] =
    [const { Entry { version: AtomicU64::new(0), text: AtomicUsize::new(0), handle: AtomicU64::new(0) } }; ENTRIES];

/// What keeps the objects of [`KEPT`] alive. Whoever writes there holds it.
static ALIVE: Mutex<[Option<Py<PyString>>; ENTRIES]> = Mutex::new([const { None }; ENTRIES]);

impl Entry {
    #[inline]
    fn handle_of(&self, text: usize) -> Option<u64> {
        // SYNC version: acquire pairs with the release at the end of `write`.
        let before = self.version.load(Ordering::Acquire);
        let (found, handle) = (self.text.load(Ordering::Relaxed), self.handle.load(Ordering::Relaxed));
        // SYNC version: what was read above is not of a later `write` if the version is still the same.
        fence(Ordering::Acquire);
        (found == text && before & 1 == 0 && self.version.load(Ordering::Relaxed) == before).then_some(handle)
    }

    /// Only by whoever holds [`ALIVE`].
    fn write(&self, text: usize, handle: u64) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.text.store(text, Ordering::Relaxed);
        self.handle.store(handle, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

/// The handle of a text; what is no text is known by what it says of itself. 0: no room.
#[inline]
pub(crate) fn handle(object: &Bound<'_, PyAny>) -> u64 {
    known(object.as_ptr() as usize).unwrap_or_else(|| learn(object))
}

fn index_of(address: usize) -> usize {
    // Objects are 16 bytes apart.
    (address >> 4) % ENTRIES
}

/// The handle of the text at this address, if it stands here.
#[inline]
pub(crate) fn known(address: usize) -> Option<u64> {
    KEPT[index_of(address)].handle_of(address)
}

#[cold]
#[inline(never)]
fn learn(object: &Bound<'_, PyAny>) -> u64 {
    let index = index_of(object.as_ptr() as usize);
    let handle = said::text_of(object, intern);
    let Ok(text) = object.cast_exact::<PyString>() else { return handle };
    if handle != 0 && text.len().is_ok_and(|length| length <= LONGEST_KEPT) {
        let mut alive = ALIVE.lock().unwrap_or_else(PoisonError::into_inner);
        KEPT[index].write(text.as_ptr() as usize, handle);
        let before = alive[index].replace(text.clone().unbind());
        drop(alive);
        // Nobody finds it here any more.
        drop(before);
    }
    handle
}

/// The handle of an optional text; 0: none.
#[inline]
pub(crate) fn optional(object: Option<&Bound<'_, PyAny>>) -> u64 {
    object.filter(|object| !object.is_none()).map_or(0, handle)
}

fn intern(text: &[u8]) -> u64 {
    (table::current().intern)(text.as_ptr().cast(), text.len())
}
