//! What arguments say: Python's values as the table's, at a bounded cost whatever they are.
//!
//! Numbers, flags and texts are told as what they are; numbers of other libraries as numbers; everything else by what it says
//! of itself. Nothing here raises.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

use crate::said;
use crate::table::{Argument, argument};
use crate::texts;

/// Most arguments of an event.
const MOST: usize = 16;

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
        if is_number(value)
            && let Some(told) = number(value)
        {
            return told;
        }
        let place = self.texts.len();
        said::text_of(value, |text| self.texts.extend_from_slice(text));
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

/// A number of Python's or of another library's. Whatever else can be made a number is not: to read a tensor, its device is
/// waited for.
pub(crate) fn is_number(value: &Bound<'_, PyAny>) -> bool {
    let is_pythons = value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>();
    is_pythons || !value.is_none() && is_foreign_number(value)
}

/// A scalar of NumPy's, say; no array, whose one number may still be computed on a device.
fn is_foreign_number(value: &Bound<'_, PyAny>) -> bool {
    let kind = value.get_type();
    let has = |name| kind.hasattr(name).unwrap_or(false);
    !kind.is(value.py().get_type::<PyString>()) && (has("__float__") || has("__index__")) && !has("__len__")
}
