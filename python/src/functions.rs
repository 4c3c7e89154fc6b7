//! The functions that Python calls.
//!
//! `step_*` never raise: a count that is no number is 0, one out of range is clamped, a stream that is no address is left
//! out. The others raise only for wrong argument types. Cost: `step_begin` and `step_end` are one load and one call through the table.

use std::ffi::{CStr, CString};
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::library::{self, Found};
use crate::table::{self, Identity};

static OUTCOME: OnceLock<Result<Found, String>> = OnceLock::new();

/// Finds the agent, once per process; `packaged` is the path of the package's own library. Returns whether there is one.
#[pyfunction]
pub(crate) fn load(packaged: &str) -> bool {
    let outcome = OUTCOME.get_or_init(|| {
        let path = CString::new(packaged).map_err(|_| "the package's path holds a NUL".to_owned())?;
        let found = library::find(&path)?;
        table::set(found.api);
        Ok(found)
    });
    outcome.is_ok()
}

/// Whether an agent was found.
#[pyfunction]
pub(crate) fn available() -> bool {
    matches!(OUTCOME.get(), Some(Ok(_)))
}

/// The agent library's file, or None.
#[pyfunction]
pub(crate) fn library_path() -> Option<&'static str> {
    OUTCOME.get()?.as_ref().ok().map(|found| found.path.as_str())
}

/// Joins as a rank (1) or a source (2). Returns STEPSCOPE_OK (0), STEPSCOPE_ALREADY_JOINED (1) or a negative number.
#[pyfunction]
#[pyo3(signature = (role, rank, world_size, job=None, group=None, engine=None, label=None, flags=0))]
#[allow(clippy::too_many_arguments, reason = "the members of an identity")]
pub(crate) fn join(
    role: u32,
    rank: u32,
    world_size: u32,
    job: Option<&str>,
    group: Option<&str>,
    engine: Option<&str>,
    label: Option<&str>,
    flags: u32,
) -> i32 {
    const BAD_ARGUMENT: i32 = -3;
    let Ok([job, group, engine, label]) = strings([job, group, engine, label]) else { return BAD_ARGUMENT };
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    let identity = Identity {
        size: size_of::<Identity>() as u32,
        role,
        rank,
        world_size,
        job: pointer(&job),
        group: pointer(&group),
        engine: pointer(&engine),
        label: pointer(&label),
        flags,
        reserved: 0,
    };
    (table::current().join)(&raw const identity)
}

fn strings<const N: usize>(texts: [Option<&str>; N]) -> Result<[Option<CString>; N], std::ffi::NulError> {
    let mut out = [const { None }; N];
    for (slot, text) in out.iter_mut().zip(texts) {
        *slot = text.map(CString::new).transpose()?;
    }
    Ok(out)
}

/// Claims to be this process's source of steps. False: somebody else is; then don't call `step_*`.
#[pyfunction]
pub(crate) fn claim_steps(name: &str) -> bool {
    CString::new(name).is_ok_and(|name| (table::current().claim_steps)(name.as_ptr()) == 1)
}

/// An iteration begins. Returns its number when it lies in an open window, else 0.
#[pyfunction]
pub(crate) fn step_begin() -> u64 {
    (table::current().step_begin)()
}

/// What the iteration that `step_begin` just returned holds.
#[pyfunction]
#[pyo3(signature = (context_requests, context_tokens, generation_requests, generation_tokens, flags=Count(0)))]
pub(crate) fn step_batch(
    context_requests: Count,
    context_tokens: Count,
    generation_requests: Count,
    generation_tokens: Count,
    flags: Count,
) {
    (table::current().step_batch)(
        context_requests.0,
        context_tokens.0,
        generation_requests.0,
        generation_tokens.0,
        flags.0,
    );
}

/// The iteration that `step_begin` just returned puts its work onto this CUDA stream, whose address is an int. Anything else
/// is not passed on.
#[pyfunction]
pub(crate) fn step_stream(stream: Address) {
    if let Some(address) = stream.0 {
        (table::current().step_stream)(std::ptr::without_provenance_mut(address));
    }
}

/// The iteration that began last ends.
#[pyfunction]
pub(crate) fn step_end() {
    (table::current().step_end)();
}

/// An iteration around one call of a function, whatever it is called with: to pass arguments on costs less here than in
/// Python. `inside` is called first if it lies in an open window.
#[pyfunction]
pub(crate) fn iterate<'py>(
    function: &Bound<'py, PyAny>,
    inside: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    keywords: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    if (table::current().step_begin)() != 0 {
        inside.call0().inspect_err(|_| (table::current().step_end)())?;
    }
    let result = function.call(arguments, Some(keywords).filter(|keywords| !keywords.is_empty()));
    (table::current().step_end)();
    result
}

/// How many iterations on the first one of a window lies that the engine's own profiler is to cover too: 1 is the next one. 0:
/// there is none, it has begun, or it will not open.
#[pyfunction]
pub(crate) fn until_window() -> u64 {
    (table::current().until_window)()
}

/// The process says goodbye.
#[pyfunction]
pub(crate) fn leave() {
    (table::current().leave)();
}

/// Why there is no agent, or why the last join failed; empty when nothing is wrong.
#[pyfunction]
pub(crate) fn reason() -> String {
    match OUTCOME.get() {
        None => "the agent library was not looked for yet".to_owned(),
        Some(Err(reason)) => reason.clone(),
        Some(Ok(_)) => text((table::current().reason)()),
    }
}

/// The agent's JSON about itself; empty without an agent.
#[pyfunction]
pub(crate) fn describe() -> String {
    let mut buffer = vec![0u8; 1024];
    loop {
        let needed = (table::current().describe)(buffer.as_mut_ptr().cast(), buffer.len());
        if needed < buffer.len() {
            buffer.truncate(needed);
            return String::from_utf8_lossy(&buffer).into_owned();
        }
        buffer = vec![0u8; needed + 64];
    }
}

#[allow(unsafe_code, reason = "a C string of the agent's")]
fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the header promises a NUL-terminated string that stays until this thread's next join.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// A count from Python that is taken as it comes.
pub(crate) struct Count(u32);

impl<'a, 'py> FromPyObject<'a, 'py> for Count {
    type Error = std::convert::Infallible;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        let number = object.extract::<i64>().unwrap_or(0);
        Ok(Self(u32::try_from(number.max(0)).unwrap_or(u32::MAX)))
    }
}

/// An address from Python, if it is one.
pub(crate) struct Address(Option<usize>);

impl<'a, 'py> FromPyObject<'a, 'py> for Address {
    type Error = std::convert::Infallible;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self(object.extract::<usize>().ok()))
    }
}
