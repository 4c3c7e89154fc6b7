//! Which requests an iteration computes, and how many tokens of each.
//!
//! It is asked in each iteration, of every request in it, and behind the work of an iteration what belongs to a request is out of
//! the caches. So a request's id is told apart by where it lies, and neither it nor its count is touched if it is the one that
//! stood at this place before.

use std::sync::Mutex;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyInt, PyString};

use crate::event::Number;
use crate::recorder;
use crate::table;

/// Requests that may end in one iteration without those behind them being looked at anew.
const MOST_ENDED: usize = 16;

/// Requests of an iteration, as they were told last: most stand at the same place in the next one.
struct Served {
    /// Kept alive: another object lies elsewhere.
    ids: Vec<Py<PyString>>,
    numbers: Vec<u64>,
    counts: Vec<u32>,
}

static SERVED: Mutex<Served> = Mutex::new(Served::new());

/// The iteration whose number `step_begin` just returned computes so many tokens of each of these requests: `{id: tokens}`.
#[pyfunction]
pub(crate) fn served(iteration: Number, tokens: &Bound<'_, PyAny>) {
    tell(iteration.or_zero(), tokens);
}

pub(crate) fn tell(iteration: u64, tokens: &Bound<'_, PyAny>) {
    let Ok(tokens) = tokens.cast_exact::<PyDict>() else { return };
    if recorder::recording() == 0 || iteration == 0 {
        return;
    }
    // Nobody waits: another thread may hold it while it waits for Python's lock, which this one has.
    match SERVED.try_lock() {
        Ok(mut served) => served.tell(iteration, tokens),
        Err(_) => Served::new().tell(iteration, tokens),
    }
}

impl Served {
    const fn new() -> Self {
        Self { ids: Vec::new(), numbers: Vec::new(), counts: Vec::new() }
    }

    fn tell(&mut self, iteration: u64, tokens: &Bound<'_, PyDict>) {
        self.counts.clear();
        with_critical_section(tokens, || self.look_at(tokens));
        let count = self.counts.len();
        self.ids.truncate(count);
        self.numbers.truncate(count);
        (table::current().served)(iteration, self.numbers.as_ptr(), self.counts.as_ptr(), count);
    }

    fn look_at(&mut self, tokens: &Bound<'_, PyDict>) {
        let py = tokens.py();
        let (mut position, mut id, mut count) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        let (mut known_at, mut known) = (std::ptr::null_mut(), 0);
        loop {
            #[allow(unsafe_code, reason = "PyO3's iterator touches each id and each count, to own them")]
            // SAFETY: a dictionary and three places for the answer. Nothing of Python's runs meanwhile, which could change the
            // dictionary: only texts and whole numbers are asked.
            let is_there =
                unsafe { ffi::PyDict_Next(tokens.as_ptr(), &raw mut position, &raw mut id, &raw mut count) } != 0;
            if !is_there {
                return;
            }
            // Most often it is the one token of a decode, and Python has one 1.
            if count != known_at {
                let Some(number) = number(&borrowed(py, count)) else { continue };
                (known_at, known) = (count, number);
            }
            let place = self.counts.len();
            if self.ids.get(place).is_none_or(|known| known.as_ptr() != id) {
                let Ok(id) = borrowed(py, id).cast_into::<PyString>() else { continue };
                self.put(place, id);
            }
            self.counts.push(known);
        }
    }

    #[cold]
    fn put(&mut self, place: usize, id: Bound<'_, PyString>) {
        // A request that ended leaves a gap, into which the others move up.
        let ahead = self.ids.iter().enumerate().skip(place).take(MOST_ENDED);
        if let Some((at, _)) = ahead.into_iter().find(|(_, known)| known.as_ptr() == id.as_ptr()) {
            self.ids.drain(place..at);
            self.numbers.drain(place..at);
            return;
        }
        let mut number = 0;
        recorder::with_id(id.as_any(), |_, made| number = made);
        self.ids.truncate(place);
        self.numbers.truncate(place);
        self.ids.push(id.unbind());
        self.numbers.push(number);
    }
}

fn number(count: &Bound<'_, PyAny>) -> Option<u32> {
    count.cast::<PyInt>().ok()?.extract().ok()
}

/// What a dictionary holds and Python said is there.
fn borrowed(py: Python<'_>, object: *mut ffi::PyObject) -> Bound<'_, PyAny> {
    #[allow(unsafe_code, reason = "see SAFETY")]
    // SAFETY: PyDict_Next has just given it: an object, which the dictionary holds.
    unsafe {
        Bound::from_borrowed_ptr(py, object)
    }
}
