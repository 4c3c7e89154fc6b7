//! `Section`: what the plugin has run from here to there, told with one number.

use pyo3::prelude::*;

use crate::recorder;
use crate::table::Argument;
use crate::texts;

use super::stretch::Stretch;

/// A span of the plugin's own, whose one argument is known at its end.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Section {
    stretch: Stretch,
    key: u64,
}

#[pymethods]
impl Section {
    #[new]
    fn new(name: &Bound<'_, PyAny>, category: &Bound<'_, PyAny>, level: u32, key: &Bound<'_, PyAny>) -> Self {
        Self { stretch: Stretch::new(name, category, level), key: texts::handle(key) }
    }

    /// Whether a capture wants it: then it is open, until `end` or `failed`.
    fn begin(&self, py: Python<'_>) -> bool {
        let recording = recorder::recording();
        recording != 0 && self.stretch.begin(py, recording)
    }

    /// It ends, and its number is known.
    #[pyo3(signature = (number, /))]
    fn end(&self, number: u64) {
        self.stretch.end(&[Argument::unsigned(self.key, number)]);
    }

    /// It ends with an exception.
    #[pyo3(signature = (error, /))]
    fn failed(&self, error: &Bound<'_, PyAny>) {
        self.stretch.fail(error);
    }
}
