//! `stepscope.span(...)`: what runs from its entry to its exit, on the track of whoever enters it.
//!
//! The object says what a span is; which ones of it are open stands beside it, so that one object may be entered again and
//! again, by many threads and tasks at once, and within itself. Not wanted, entry and exit are a look at the agent's word
//! and a count. One that is open when its capture ends is forgotten. Nothing here raises.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event::{Flow, Level, Number, Told};
use crate::table::{self, NONE, shape};
use crate::texts;
use crate::tracks::{self, Left, Place, Stack};
use crate::values::Arguments;

/// A span, and those of it that are open.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Span {
    name: Py<PyAny>,
    category: Option<Py<PyAny>>,
    /// Handles of the two, once they were asked for; 0: not yet, or none.
    handles: [AtomicU64; 2],
    level: u32,
    track: Option<Py<PyAny>>,
    flow: Flow,
    device_ns: u64,
    arguments: Option<Py<PyDict>>,
    /// Entered and not left, recorded or not.
    entered: AtomicUsize,
    open: Mutex<Vec<Open>>,
}

struct Open {
    stack: Arc<Stack>,
    place: Place,
    generation: u64,
    begin: u64,
    flow: Flow,
    device_ns: u64,
    arguments: Option<Py<PyDict>>,
}

/// What runs from here to there: `with stepscope.span("prefill", cat="engine", tokens=512):`, or a decorator.
#[pyfunction]
#[pyo3(signature = (name, /, cat=None, *, level=Level::BASIC, track=None, device_ns=Number::NONE, flow_begin=Number::ZERO,
    flow_step=Number::ZERO, flow_end=Number::ZERO, **arguments))]
#[allow(clippy::too_many_arguments, reason = "Python's keywords")]
pub(crate) fn span(
    name: Py<PyAny>,
    cat: Option<Py<PyAny>>,
    level: Level,
    track: Option<Py<PyAny>>,
    device_ns: Number,
    flow_begin: Number,
    flow_step: Number,
    flow_end: Number,
    arguments: Option<Py<PyDict>>,
) -> Span {
    let mut span = Span::plain(name, cat, level.0);
    span.track = track;
    span.flow = Flow::of(flow_begin, flow_step, flow_end);
    span.device_ns = device_ns.0;
    span.arguments = arguments;
    span
}

#[pymethods]
impl Span {
    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        let this = slf.get();
        this.entered.fetch_add(1, Ordering::Relaxed);
        let recording = (table::current().recording)();
        if recording != 0 && this.level <= recording as u32 & 0xff {
            this.begin(slf.py(), recording >> 8);
        }
        slf.clone()
    }

    #[pyo3(signature = (kind=None, _value=None, _traceback=None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Option<&Bound<'_, PyAny>>,
        _value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) {
        let entered = self.entered.fetch_sub(1, Ordering::Relaxed);
        if let Some(open) = self.take(py, entered) {
            self.end(py, open, kind);
        }
    }

    /// What is known only within the span: more arguments, `device_ns`, a flow. Of the innermost one that is open here.
    #[pyo3(signature = (*, device_ns=Number::NONE, flow_begin=Number::ZERO, flow_step=Number::ZERO, flow_end=Number::ZERO,
        **arguments))]
    fn set(
        &self,
        py: Python<'_>,
        device_ns: Number,
        flow_begin: Number,
        flow_step: Number,
        flow_end: Number,
        arguments: Option<Py<PyDict>>,
    ) {
        if self.opened().is_empty() {
            return;
        }
        let here = tracks::current(py, self.asked(py));
        let before = {
            let mut opened = self.opened();
            let Some(open) = opened.iter_mut().rfind(|open| Arc::ptr_eq(&open.stack, &here)) else { return };
            if device_ns.0 != table::NONE {
                open.device_ns = device_ns.0;
            }
            let flow = Flow::of(flow_begin, flow_step, flow_end);
            if flow.number != 0 {
                open.flow = flow;
            }
            match &open.arguments {
                Some(before) => before.clone_ref(py),
                None => {
                    open.arguments = arguments;
                    return;
                }
            }
        };
        // Behind the lock: what is replaced may have spans of its own.
        if let Some(more) = arguments {
            let _ = before.bind(py).update(more.bind(py).as_mapping());
        }
    }

    /// The same as `set`.
    #[pyo3(signature = (*, device_ns=Number::NONE, flow_begin=Number::ZERO, flow_step=Number::ZERO, flow_end=Number::ZERO,
        **arguments))]
    fn args(
        &self,
        py: Python<'_>,
        device_ns: Number,
        flow_begin: Number,
        flow_step: Number,
        flow_end: Number,
        arguments: Option<Py<PyDict>>,
    ) {
        self.set(py, device_ns, flow_begin, flow_step, flow_end, arguments);
    }

    /// The same span around each call of a function: what `@stepscope.span("x")` does.
    fn __call__<'py>(slf: &Bound<'py, Self>, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        py.import(intern!(py, "stepscope._recorder"))?.call_method1(intern!(py, "decorate"), (function, slf))
    }
}

impl Span {
    fn plain(name: Py<PyAny>, category: Option<Py<PyAny>>, level: u32) -> Self {
        Self {
            name,
            category,
            handles: [const { AtomicU64::new(0) }; 2],
            level,
            track: None,
            flow: Flow::NONE,
            device_ns: NONE,
            arguments: None,
            entered: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
        }
    }

    fn asked<'py>(&'py self, py: Python<'py>) -> Option<&'py Bound<'py, PyAny>> {
        self.track.as_ref().map(|track| track.bind(py))
    }

    /// Of its name and its category.
    fn handles(&self, py: Python<'_>) -> [u64; 2] {
        let known = [0, 1].map(|place: usize| self.handles[place].load(Ordering::Relaxed));
        if known[0] != 0 && (known[1] != 0 || self.category.is_none()) {
            return known;
        }
        let category = self.category.as_ref().map(|category| category.bind(py));
        let handles = [texts::handle(self.name.bind(py)), texts::optional(category)];
        self.handles.iter().zip(handles).for_each(|(known, handle)| known.store(handle, Ordering::Relaxed));
        handles
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, py: Python<'_>, generation: u64) {
        let stack = tracks::current(py, self.asked(py));
        let Some(place) = stack.enter(generation) else { return };
        let open = Open {
            stack,
            place,
            generation,
            begin: (table::current().now)(),
            flow: self.flow,
            device_ns: self.device_ns,
            arguments: None,
        };
        self.opened().push(open);
    }

    /// The one that is left: the last that was entered here; else, if all that were entered are open, the last of them.
    fn take(&self, py: Python<'_>, entered: usize) -> Option<Open> {
        let last = {
            let mut open = self.opened();
            match open.len() {
                0 => return None,
                1 if entered == 1 => return open.pop(),
                _ => open.len() - 1,
            }
        };
        let here = tracks::current(py, self.asked(py));
        let mut open = self.opened();
        let index = open.iter().rposition(|open| Arc::ptr_eq(&open.stack, &here));
        let index = index.or((open.len() >= entered).then_some(last))?;
        (index < open.len()).then(|| open.remove(index))
    }

    fn end(&self, py: Python<'_>, open: Open, failure: Option<&Bound<'_, PyAny>>) {
        let end = (table::current().now)();
        let left = open.stack.leave(open.place);
        if (table::current().recording)() >> 8 != open.generation {
            return;
        }
        let failure = failure.and_then(|kind| kind.getattr(intern!(py, "__name__")).ok());
        let (shape, depth) = match left {
            Left::InTurn(depth) if tracks::is_current(py, self.asked(py), &open.stack) => (shape::SPAN, depth),
            _ => (shape::DURATION, 0),
        };
        // A thread's own track has no number: from elsewhere it lands on the calling thread's.
        let track = open.stack.number(open.generation);
        let [name, category] = self.handles(py);
        let told = Told {
            shape,
            depth,
            level: self.level,
            name,
            category,
            track,
            begin: open.begin,
            end,
            device_ns: open.device_ns,
            flow: open.flow,
            ..Told::NOTHING
        };
        if self.arguments.is_none() && open.arguments.is_none() && failure.is_none() {
            return told.tell(&[]);
        }
        let mut arguments = Arguments::new();
        if let Some(given) = &self.arguments {
            arguments.extend(given.bind(py));
        }
        // A copy: a value's own `__str__` may let another thread add to these.
        if let Some(late) = open.arguments.and_then(|late| late.bind(py).copy().ok()) {
            arguments.extend(&late);
        }
        if let Some(name) = failure {
            arguments.push(texts::handle(intern!(py, "error").as_any()), &name);
        }
        told.tell(arguments.get());
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // Never left: what encloses it must not wait for it.
        for open in self.open.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            open.stack.leave(open.place);
        }
    }
}
