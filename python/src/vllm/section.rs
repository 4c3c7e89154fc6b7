//! `Section`: a span of the plugin's own, with one number as its argument.

use pyo3::prelude::*;

use crate::recorder;
use crate::table::Argument;
use crate::texts;

use super::own_span::OwnSpan;

/// A span whose argument is known at its end.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Section {
    span: OwnSpan,
    key: u64,
}

#[pymethods]
impl Section {
    #[new]
    fn new(name: &Bound<'_, PyAny>, category: &Bound<'_, PyAny>, level: u32, key: &Bound<'_, PyAny>) -> Self {
        Self { span: OwnSpan::new(name, category, level), key: texts::handle(key) }
    }

    /// Whether a capture wants it: then it is open, until `end` or `failed`.
    fn begin(&self, py: Python<'_>) -> bool {
        self.span.begin(py, recorder::recording())
    }

    /// It ends; its number is how many of these there are.
    #[pyo3(signature = (counted, /))]
    fn end(&self, counted: &Bound<'_, PyAny>) {
        self.span.end(counted.py(), &[Argument::unsigned(self.key, counted.len().unwrap_or(0) as u64)]);
    }

    /// It ends with an exception.
    #[pyo3(signature = (error, /))]
    fn failed(&self, error: &Bound<'_, PyAny>) {
        self.span.fail(error);
    }
}
