//! The recorder's functions but for spans: instants, counters, durations, requests.
//!
//! Not wanted, each is one look at the agent's word. A moment that does not exist is an error; nothing else raises.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString};

use crate::event::{Flow, Level, Number, Told};
use crate::said;
use crate::table::{self, NONE, Request, shape};
use crate::texts;
use crate::tracks;
use crate::values::{self, Arguments};

/// What can happen to a request; its number is its place, from 1 on.
const MOMENTS: [&str; 8] =
    ["arrived", "queued", "scheduled", "first_token", "preempted", "last_token", "finished", "aborted"];

/// The first of those by which all tokens are out.
const LAST_TOKEN: u64 = 6;

/// 0: nothing is recorded. Else another number for each capture, with the highest level that is wanted in its low byte.
#[pyfunction]
pub(crate) fn recording() -> u64 {
    (table::current().recording)()
}

#[inline]
fn is_wanted(level: &Level) -> bool {
    let recording = recording();
    recording != 0 && level.0 <= recording as u32 & 0xff
}

/// A moment: `stepscope.instant("cache full", cat="engine", blocks=3)`.
#[pyfunction]
#[pyo3(signature = (name, /, cat=None, *, level=Level::BASIC, track=None, flow_begin=Number::ZERO, flow_step=Number::ZERO,
    flow_end=Number::ZERO, **arguments))]
#[allow(clippy::too_many_arguments, reason = "Python's keywords")]
pub(crate) fn instant(
    name: &Bound<'_, PyAny>,
    cat: Option<&Bound<'_, PyAny>>,
    level: Level,
    track: Option<&Bound<'_, PyAny>>,
    flow_begin: Number,
    flow_step: Number,
    flow_end: Number,
    arguments: Option<&Bound<'_, PyDict>>,
) {
    if !is_wanted(&level) {
        return;
    }
    let flow = Flow::of(flow_begin, flow_step, flow_end);
    let begin = (table::current().now)();
    tell(Told { shape: shape::INSTANT, level: level.0, begin, flow, ..Told::named(name, cat) }, track, name, arguments);
}

/// A value from now on: `stepscope.counter("queue", 7)`. What is no number is not told.
#[pyfunction]
#[pyo3(signature = (name, value, /, cat=None, *, level=Level::BASIC))]
pub(crate) fn counter(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, cat: Option<&Bound<'_, PyAny>>, level: Level) {
    if is_wanted(&level) {
        tell_counter(texts::handle(name), texts::optional(cat), level.0, value);
    }
}

/// A counter that is told often: `queue = stepscope.Counter("queue")` once, then `queue.set(7)`.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Counter {
    name: u64,
    category: u64,
    level: Level,
}

#[pymethods]
impl Counter {
    #[new]
    #[pyo3(signature = (name, /, cat=None, *, level=Level::BASIC))]
    fn new(name: &Bound<'_, PyAny>, cat: Option<&Bound<'_, PyAny>>, level: Level) -> Self {
        Self { name: texts::handle(name), category: texts::optional(cat), level }
    }

    /// Its value from now on. What is no number is not told.
    #[pyo3(signature = (value, /))]
    fn set(&self, value: &Bound<'_, PyAny>) {
        if is_wanted(&self.level) {
            tell_counter(self.name, self.category, self.level.0, value);
        }
    }
}

/// A moment that is told often: `full = stepscope.Instant("cache full")` once, then `full.tell()`.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Instant {
    name: u64,
    category: u64,
    level: Level,
}

#[pymethods]
impl Instant {
    #[new]
    #[pyo3(signature = (name, /, cat=None, *, level=Level::BASIC))]
    fn new(name: &Bound<'_, PyAny>, cat: Option<&Bound<'_, PyAny>>, level: Level) -> Self {
        Self { name: texts::handle(name), category: texts::optional(cat), level }
    }

    /// It happens now, on the track of whoever calls. Arguments are a dictionary; what is none is not told.
    #[pyo3(signature = (arguments=None, /))]
    fn tell(&self, py: Python<'_>, arguments: Option<&Bound<'_, PyAny>>) {
        if !is_wanted(&self.level) {
            return;
        }
        let (begin, track) = ((table::current().now)(), tracks::number(py, None, recording()));
        let Self { name, category, level: Level(level) } = *self;
        let told = Told { shape: shape::INSTANT, level, begin, track, name, category, ..Told::NOTHING };
        // The caller's own, which may be changed while a value says what it is.
        let arguments = arguments.and_then(|arguments| arguments.cast::<PyDict>().ok()?.copy().ok());
        tell_with(told, arguments.as_ref());
    }
}

#[inline]
fn tell_counter(name: u64, category: u64, level: u32, value: &Bound<'_, PyAny>) {
    // A whole number is read at once; to read it as a float, Python makes one.
    let whole = value.cast_exact::<PyInt>().ok().and_then(|number| number.extract::<i64>().ok());
    let other = || values::is_number(value).then(|| value.extract().ok()).flatten();
    if let Some(value) = whole.map(|number| number as f64).or_else(other) {
        Told { shape: shape::COUNTER, level, name, category, value, ..Told::NOTHING }.tell(&[]);
    }
}

/// What is told afterwards: it ended at `end_ns` (of `time.monotonic_ns()`; now, unless it is said) and took `host_ns`; the
/// same work took `device_ns` on the device.
#[pyfunction]
#[pyo3(signature = (name, /, cat=None, *, host_ns=Number::NONE, device_ns=Number::NONE, end_ns=Number::NONE,
    level=Level::BASIC, track=None, flow_begin=Number::ZERO, flow_step=Number::ZERO, flow_end=Number::ZERO, **arguments))]
#[allow(clippy::too_many_arguments, reason = "Python's keywords")]
pub(crate) fn duration(
    name: &Bound<'_, PyAny>,
    cat: Option<&Bound<'_, PyAny>>,
    host_ns: Number,
    device_ns: Number,
    end_ns: Number,
    level: Level,
    track: Option<&Bound<'_, PyAny>>,
    flow_begin: Number,
    flow_step: Number,
    flow_end: Number,
    arguments: Option<&Bound<'_, PyDict>>,
) {
    if !is_wanted(&level) {
        return;
    }
    let end_ns = if end_ns.0 == NONE { monotonic_ns() } else { end_ns.0 };
    let ticks_at = table::current().ticks_at;
    let (begin, end) = (ticks_at(end_ns.saturating_sub(host_ns.or_zero())), ticks_at(end_ns));
    let told = Told {
        shape: shape::DURATION,
        level: level.0,
        begin,
        end: end.max(begin),
        device_ns: device_ns.0,
        flow: Flow::of(flow_begin, flow_step, flow_end),
        ..Told::named(name, cat)
    };
    tell(told, track, name, arguments);
}

fn tell(
    mut told: Told,
    track: Option<&Bound<'_, PyAny>>,
    name: &Bound<'_, PyAny>,
    arguments: Option<&Bound<'_, PyDict>>,
) {
    told.track = tracks::number(name.py(), track, recording());
    tell_with(told, arguments);
}

fn tell_with(told: Told, arguments: Option<&Bound<'_, PyDict>>) {
    match arguments {
        None => told.tell(&[]),
        Some(arguments) => {
            let mut list = Arguments::new();
            list.extend(arguments);
            told.tell(list.get());
        }
    }
}

/// Something happened to a request of this id: `arrived`, `queued`, `scheduled`, `first_token`, `preempted`, `last_token`,
/// `finished` or `aborted`; now, or at `at_ns` of `time.monotonic_ns()`. Never anything of what the request says.
#[pyfunction]
#[pyo3(signature = (id, moment, /, *, at_ns=Number::NONE, iteration=Number::ZERO, prompt_tokens=Number::ZERO,
    output_tokens=Number::ZERO, cached_tokens=Number::ZERO))]
pub(crate) fn request(
    id: &Bound<'_, PyAny>,
    moment: &str,
    at_ns: Number,
    iteration: Number,
    prompt_tokens: Number,
    output_tokens: Number,
    cached_tokens: Number,
) -> PyResult<()> {
    let Some(index) = MOMENTS.iter().position(|known| *known == moment) else {
        return Err(PyValueError::new_err(format!("moment {moment:?}: expected one of {MOMENTS:?}")));
    };
    if recording() != 0 {
        let tokens = [prompt_tokens, output_tokens, cached_tokens].map(Number::or_zero).map(clamped);
        let at = if at_ns.0 == NONE { 0 } else { (table::current().ticks_at)(at_ns.0) };
        with_id(id, |id, number| tell_request(number, Some(id), index as u32 + 1, at, iteration.or_zero(), tokens));
    }
    Ok(())
}

/// The moments of a request from `first` on, for one who keeps them: `[moment, at, moment, at, ...]`, in order; `tokens` are
/// the prompt's, those put out in the end and those that were cached. Its id is told with the first, if it is to be.
#[pyfunction]
pub(crate) fn moments(
    id: &Bound<'_, PyString>,
    tells_id: bool,
    moments: &Bound<'_, PyList>,
    first: usize,
    tokens: (Number, Number, Number),
) {
    if recording() == 0 {
        return;
    }
    let tokens = [tokens.0, tokens.1, tokens.2].map(Number::or_zero).map(clamped);
    with_id(id, |id, number| {
        let (mut last_ns, mut last) = (0, 0);
        let mut told = tells_id.then_some(id);
        let mut rest = moments.iter().skip(first).filter_map(|number| number.extract::<u64>().ok());
        while let (Some(moment), Some(at_ns)) = (rest.next(), rest.next()) {
            // Each look at the clocks errs a little: the order stays.
            if at_ns != last_ns {
                last = (table::current().ticks_at)(at_ns).max(last);
            }
            last_ns = at_ns;
            let output = if moment < LAST_TOKEN { 0 } else { tokens[1] };
            tell_request(number, told.take(), moment as u32, last, 0, [tokens[0], output, tokens[2]]);
        }
    });
}

pub(crate) fn with_id(id: &Bound<'_, PyAny>, f: impl FnOnce(&[u8], u64)) {
    let number_of = |id: &[u8]| (table::current().request_number)(id.as_ptr().cast(), id.len());
    said::text_of(id, |told| match said::whole(id, told) {
        // Told is its beginning, and what tells two of them apart may be their ends.
        Some(whole) => f(told, number_of(whole.as_bytes())),
        None => f(told, number_of(told)),
    });
}

fn tell_request(number: u64, id: Option<&[u8]>, moment: u32, at: u64, iteration: u64, tokens: [u32; 3]) {
    let request = Request {
        size: size_of::<Request>() as u32,
        moment,
        request: number,
        at,
        iteration,
        prompt_tokens: tokens[0],
        output_tokens: tokens[1],
        cached_tokens: tokens[2],
        id_bytes: id.map_or(0, <[u8]>::len) as u32,
        id: id.map_or(std::ptr::null(), |id| id.as_ptr().cast()),
    };
    (table::current().request)(&raw const request);
}

fn clamped(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[allow(unsafe_code, reason = "the system's clock")]
    // SAFETY: a place for the answer.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now);
    }
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32).as_nanos() as u64
}
