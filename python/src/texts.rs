//! Handles of names, categories and keys: a text is interned once, and known by its Python object from then on.
//!
//! A table of fixed size, which keeps its objects alive, so that an address is one text's for as long as it stands there.
//! What does not stand there is interned by the agent, which gives the same handle for the same text.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::table;
use crate::values;

/// Texts whose handles are known.
const ENTRIES: usize = 1024;
/// Longer texts are not kept.
const LONGEST_KEPT: usize = 240;

struct Kept {
    text: Py<PyString>,
    handle: u64,
}

static KEPT: Mutex<[Option<Kept>; ENTRIES]> = Mutex::new([const { None }; ENTRIES]);

/// The handle of a text; what is no text is known by what it says of itself. 0: no room.
pub(crate) fn handle(object: &Bound<'_, PyAny>) -> u64 {
    let Ok(text) = object.cast_exact::<PyString>() else {
        return values::text_of(object, intern);
    };
    // Objects are 16 bytes apart.
    let index = (text.as_ptr() as usize >> 4) % ENTRIES;
    {
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept[index].as_ref()
            && known.text.as_ptr() == text.as_ptr()
        {
            return known.handle;
        }
    }
    let handle = values::text_of(object, intern);
    if handle != 0 && text.len().is_ok_and(|length| length <= LONGEST_KEPT) {
        let entry = Some(Kept { text: text.clone().unbind(), handle });
        // Dropped behind the lock.
        let _before = std::mem::replace(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner)[index], entry);
    }
    handle
}

/// The handle of an optional text; 0: none.
pub(crate) fn optional(object: Option<&Bound<'_, PyAny>>) -> u64 {
    object.filter(|object| !object.is_none()).map_or(0, handle)
}

fn intern(text: &[u8]) -> u64 {
    (table::current().intern)(text.as_ptr().cast(), text.len())
}
