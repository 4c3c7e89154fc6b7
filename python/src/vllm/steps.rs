//! `Steps`: the iterations of a worker. What is in one is worked out inside an open window alone.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyAttributeError, PyException};
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyInt, PyList};
use pyo3::{ffi, intern};

use crate::served;
use crate::table;

/// A dummy batch, as `step_batch` calls it.
const DUMMY: u32 = 1;

/// The iterations of one worker.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Steps {
    /// vLLM's count of a batch that is not of decode alone: requests and tokens of prefill, and of decode.
    count: Py<PyAny>,
    /// Tells which stream of a device an iteration works on. `None`: there is none.
    stream: Option<Py<PyAny>>,
    /// Hears what went wrong, and where.
    problem: Py<PyAny>,
    /// Tells which requests an iteration computes.
    serves: bool,
    /// An iteration has begun and not ended.
    open: AtomicBool,
}

#[pymethods]
impl Steps {
    #[new]
    fn new(count: Py<PyAny>, stream: Option<Py<PyAny>>, problem: Py<PyAny>, serves: bool) -> Self {
        Self { count, stream, problem, serves, open: AtomicBool::new(false) }
    }

    /// Before each `execute_model`: whether this batch is an iteration, which has begun then. Raises what is no error, such as the
    /// SystemExit by which vLLM ends a worker that was sent a signal; the iteration has ended then.
    fn begin(&self, scheduled: &Bound<'_, PyAny>) -> PyResult<bool> {
        let total = scheduled.getattr(intern!(scheduled.py(), "total_num_scheduled_tokens"));
        let total = match total.and_then(|total| total.extract::<i64>()) {
            Ok(total) => total,
            Err(error) => {
                self.went_wrong(scheduled.py(), "execute_model", error)?;
                return Ok(false);
            }
        };
        if total <= 0 {
            return Ok(false);
        }
        self.open.store(true, Ordering::Relaxed);
        let iteration = (table::current().step_begin)();
        if iteration != 0 {
            self.tell(scheduled, iteration, total).inspect_err(|_| self.end())?;
        }
        Ok(true)
    }

    /// A dummy batch begins.
    fn begin_dummy(&self, py: Python<'_>) -> PyResult<()> {
        self.open.store(true, Ordering::Relaxed);
        if (table::current().step_begin)() != 0 {
            (table::current().step_batch)(0, 0, 0, 0, DUMMY);
            self.tell_stream(py).inspect_err(|_| self.end())?;
        }
        Ok(())
    }

    /// The iteration that has begun ends, if one has.
    fn end(&self) {
        if self.open.load(Ordering::Relaxed) {
            self.open.store(false, Ordering::Relaxed);
            (table::current().step_end)();
        }
    }
}

impl Steps {
    fn tell(&self, scheduled: &Bound<'_, PyAny>, iteration: u64, total: i64) -> PyResult<()> {
        let py = scheduled.py();
        if let Err(error) = self.tell_batch(scheduled, iteration, total) {
            return self.went_wrong(py, "execute_model", error);
        }
        self.tell_stream(py) // last, so that nothing of ours lies between it and the work
    }

    fn tell_batch(&self, scheduled: &Bound<'_, PyAny>, iteration: u64, total: i64) -> PyResult<()> {
        let tokens = scheduled.getattr(intern!(scheduled.py(), "num_scheduled_tokens"));
        // Most batches are of nothing but decode, and that is seen without passing over every request in Python.
        let counts = match is_all_decode(scheduled) {
            Ok(true) => [0, 0, tokens.as_ref().map_or(0, |tokens| tokens.len().unwrap_or(0)) as i64, total],
            // A vLLM that calls them otherwise can count them itself.
            Err(error) if !error.is_instance_of::<PyAttributeError>(scheduled.py()) => return Err(error),
            _ => self.count.bind(scheduled.py()).call1((scheduled,))?.extract()?,
        };
        let [a, b, c, d] = counts.map(|count| u32::try_from(count.max(0)).unwrap_or(u32::MAX));
        (table::current().step_batch)(a, b, c, d, 0);
        if self.serves {
            match tokens {
                Ok(tokens) => served::tell(iteration, &tokens),
                Err(error) => self.went_wrong(scheduled.py(), "requests of an iteration", error)?,
            }
        }
        Ok(())
    }

    fn tell_stream(&self, py: Python<'_>) -> PyResult<()> {
        match self.stream.as_ref().map(|stream| stream.bind(py).call0()) {
            Some(Err(error)) => self.went_wrong(py, "time on the device", error),
            _ => Ok(()),
        }
    }

    /// Passes on what is no error.
    #[cold]
    fn went_wrong(&self, py: Python<'_>, place: &str, error: PyErr) -> PyResult<()> {
        let is_error = |error: &PyErr| error.is_instance_of::<PyException>(py);
        if !is_error(&error) {
            return Err(error);
        }
        match self.problem.bind(py).call1((place, error.into_value(py))) {
            Err(error) if !is_error(&error) => Err(error),
            // It only counts and logs: if that fails too, there is nobody left to tell.
            _ => Ok(()),
        }
    }
}

fn is_all_decode(scheduled: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = scheduled.py();
    if scheduled.getattr(intern!(py, "scheduled_new_reqs"))?.is_truthy()? {
        return Ok(false);
    }
    let made = scheduled.getattr(intern!(py, "scheduled_cached_reqs"))?.getattr(intern!(py, "num_output_tokens"))?;
    let are_numbers = made.is_empty()? || made.get_item(0)?.is_exact_instance_of::<PyInt>();
    match made.cast_exact::<PyList>() {
        Ok(made) if are_numbers => Ok(!has(made, PyInt::new(py, 0).as_ptr())),
        _ => Ok(!made.contains(0)?),
    }
}

/// Whether this very object is in a list: Python has one 0, and to compare the others they would all be touched.
fn has(list: &Bound<'_, PyList>, object: *mut ffi::PyObject) -> bool {
    #[allow(unsafe_code, reason = "PyO3's way to an item touches it, to own it")]
    // SAFETY: a list, and places in it; what lies there is not looked at.
    let item = |place| unsafe { ffi::PyList_GetItem(list.as_ptr(), place) };
    with_critical_section(list, || (0..list.len() as isize).any(|place| item(place) == object))
}
