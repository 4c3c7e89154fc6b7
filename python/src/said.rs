//! What a value of Python's says of itself, at a bounded cost whatever it is.
//!
//! Containers, arrays and what has no text of its own are told by their type: to spell them out may take for ever, or wait for a
//! device. Texts are cut to [`TEXT_BYTES`] and then end in an ellipsis. Nothing here raises.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFrozenSet, PyInt, PyList, PySet, PySlice, PyString, PyTuple, PyType};

/// Most bytes of a text.
const TEXT_BYTES: usize = 240;
/// Stands at the end of what was cut.
const MARK: &str = "…";
/// Whole numbers of more bits are not spelled out.
const SPELLED_BITS: usize = 1024;

/// Passes on what a value says of itself, cut.
pub(crate) fn text_of<T>(value: &Bound<'_, PyAny>, f: impl FnOnce(&[u8]) -> T) -> T {
    if let Ok(text) = value.cast::<PyString>() {
        return cut(text, f);
    }
    match spelled(value) {
        Some(text) => cut(&text, f),
        None => f(about(value).as_bytes()),
    }
}

/// The whole of a text of which only this beginning was passed on.
pub(crate) fn whole<'a>(value: &'a Bound<'_, PyAny>, told: &[u8]) -> Option<Cow<'a, str>> {
    let text = value.cast::<PyString>().ok().filter(|_| told.ends_with(MARK.as_bytes()))?;
    Some(text.to_string_lossy()).filter(|text| text.as_bytes() != told)
}

/// What `str` makes of it, where that is not the long way of showing an object.
fn spelled<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
    if value.is_none() {
        return value.str().ok();
    }
    if value.is_instance_of::<PyInt>() {
        let bits: usize = value.call_method0("bit_length").and_then(|bits| bits.extract()).unwrap_or(usize::MAX);
        return (bits <= SPELLED_BITS).then(|| value.str().ok()).flatten();
    }
    let kind = value.get_type();
    let of_object = value.py().get_type::<PyAny>().getattr("__str__").ok()?;
    if kind.hasattr("__len__").unwrap_or(true) || kind.getattr("__str__").ok()?.is(&of_object) {
        return None;
    }
    value.str().ok()
}

/// What is said of a value that is not spelled out.
fn about(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type();
    let name = match value.cast::<PyType>() {
        Ok(this) => this.name(),
        Err(_) => kind.name(),
    };
    let name = name.map_or_else(|_| "object".to_owned(), |name| name.to_string_lossy().into_owned());
    let is_plain = value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyTuple>()
        || value.is_exact_instance_of::<PyDict>()
        || value.is_exact_instance_of::<PySet>()
        || value.is_exact_instance_of::<PyFrozenSet>()
        || value.is_exact_instance_of::<PyBytes>();
    match is_plain.then(|| value.len()) {
        Some(Ok(length)) => format!("{name} of {length}"),
        _ => name.chars().take(TEXT_BYTES / 4).collect(),
    }
}

/// Passes on a text's first bytes, without looking at the rest of a long one.
fn cut<T>(text: &Bound<'_, PyString>, f: impl FnOnce(&[u8]) -> T) -> T {
    let length = text.len().unwrap_or(0);
    let head = if length > TEXT_BYTES {
        let first = PySlice::new(text.py(), 0, TEXT_BYTES as isize + 1, 1);
        text.get_item(first).ok().and_then(|head| head.cast_into::<PyString>().ok())
    } else {
        Some(text.clone())
    };
    let Some(head) = head else { return f(b"") };
    let text = head.to_string_lossy();
    if text.len() <= TEXT_BYTES {
        return f(text.as_bytes());
    }
    let mut kept = text[..text.floor_char_boundary(TEXT_BYTES - MARK.len())].to_owned();
    kept.push_str(MARK);
    f(kept.as_bytes())
}
