//! `Section`: a span of the plugin's own, made once, entered and left by hand, with a number as its argument.

use pyo3::prelude::*;

use crate::span::Span;
use crate::table::Argument;
use crate::texts;

/// A span that is told with one number.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Section {
    span: Span,
    key: u64,
}

#[pymethods]
impl Section {
    #[new]
    fn new(name: Py<PyAny>, category: Py<PyAny>, level: u32, key: &Bound<'_, PyAny>) -> Self {
        Self { span: Span::own(name, category, level), key: texts::handle(key) }
    }

    /// Whether a capture wants it: then it is open, until `end` or `failed`.
    fn begin(&self, py: Python<'_>) -> bool {
        self.span.enter(py)
    }

    /// It ends, and its number is known.
    fn end(&self, py: Python<'_>, number: u64) {
        self.span.leave(py, &[Argument::unsigned(self.key, number)], None);
    }

    /// It ends with an exception.
    fn failed(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        self.span.leave(py, &[], Some(error.get_type().as_any()));
    }
}
