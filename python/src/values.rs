//! What arguments say: Python's values as the table's, at a bounded cost whatever they are.
//!
//! Numbers, flags and texts are told as what they are; numbers of other libraries as numbers. Containers, arrays and what
//! has no text of its own are told by their type: to spell them out may take for ever, or wait for a device. Texts are cut
//! to [`TEXT_BYTES`] and then end in an ellipsis. Nothing here raises.

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PySlice, PyString, PyTuple, PyType,
};

use crate::table::{Argument, argument};
use crate::texts;

/// Most bytes of a text.
const TEXT_BYTES: usize = 240;
/// Stands at the end of what was cut.
const MARK: &str = "…";
/// Most arguments of an event.
const MOST: usize = 16;
/// Whole numbers of more bits are not spelled out.
const SPELLED_BITS: usize = 1024;

/// The arguments of one event.
pub(crate) struct Arguments {
    list: [Argument; MOST],
    count: usize,
    /// The bytes of texts, one behind the other: until [`Arguments::get`] a text's value is its place in here.
    texts: Vec<u8>,
}

impl Arguments {
    pub(crate) fn new() -> Self {
        Self { list: [Argument { key: 0, kind: 0, bytes: 0, value: 0 }; MOST], count: 0, texts: Vec::new() }
    }

    /// Takes these, and of an equal key the last.
    pub(crate) fn extend(&mut self, arguments: &Bound<'_, PyDict>) {
        for (key, value) in arguments {
            self.push(texts::handle(&key), &value);
        }
    }

    pub(crate) fn push(&mut self, key: u64, value: &Bound<'_, PyAny>) {
        let (kind, value, bytes) = self.value(value);
        if key == 0 {
            return;
        }
        let same = self.list[..self.count].iter().position(|argument| argument.key == key);
        let index = same.unwrap_or(self.count);
        if let Some(place) = self.list.get_mut(index) {
            *place = Argument { key, kind, bytes, value };
            self.count = self.count.max(index + 1);
        }
    }

    /// As the table takes them.
    pub(crate) fn get(&mut self) -> &[Argument] {
        let texts = self.texts.as_ptr() as u64;
        let list = &mut self.list[..self.count];
        list.iter_mut().filter(|argument| argument.kind == argument::TEXT).for_each(|text| text.value += texts);
        list
    }

    fn value(&mut self, value: &Bound<'_, PyAny>) -> (u32, u64, u32) {
        if let Ok(flag) = value.cast_exact::<PyBool>() {
            return (argument::FLAG, flag.is_true().into(), 0);
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            return (argument::NUMBER, number.value().to_bits(), 0);
        }
        let is_number = value.is_instance_of::<PyInt>();
        if (is_number || is_foreign_number(value))
            && let Some(told) = number(value)
        {
            return told;
        }
        let place = self.texts.len();
        text_of(value, |text| self.texts.extend_from_slice(text));
        (argument::TEXT, place as u64, (self.texts.len() - place) as u32)
    }
}

fn number(value: &Bound<'_, PyAny>) -> Option<(u32, u64, u32)> {
    if let Ok(number) = value.extract::<i64>() {
        let kind = if number < 0 { argument::SIGNED } else { argument::UNSIGNED };
        return Some((kind, number as u64, 0));
    }
    if let Ok(number) = value.extract::<u64>() {
        return Some((argument::UNSIGNED, number, 0));
    }
    if value.is_instance_of::<PyInt>() {
        return None; // too long
    }
    value.extract::<f64>().ok().map(|number| (argument::NUMBER, number.to_bits(), 0))
}

/// A scalar of NumPy's, say; no array, whose one number may still be computed on a device.
fn is_foreign_number(value: &Bound<'_, PyAny>) -> bool {
    let kind = value.get_type();
    let has = |name| kind.hasattr(name).unwrap_or(false);
    !kind.is(value.py().get_type::<PyString>()) && (has("__float__") || has("__index__")) && !has("__len__")
}

/// Passes on what a value says of itself, cut.
pub(crate) fn text_of<T>(value: &Bound<'_, PyAny>, f: impl FnOnce(&[u8]) -> T) -> T {
    if let Ok(text) = value.cast::<PyString>() {
        return cut(text, f);
    }
    match said(value) {
        Some(text) => cut(&text, f),
        None => f(about(value).as_bytes()),
    }
}

/// What `str` makes of it, where that is not the long way of showing an object.
fn said<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
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
    match value.len() {
        Ok(length) if is_plain => format!("{name} of {length}"),
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
