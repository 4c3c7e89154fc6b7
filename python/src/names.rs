//! What threads and tasks are called.
//!
//! The agent knows a thread by the name that the system has for it, which Python sets from 3.14 on. Before that a thread
//! has inherited its process's: it gets the one that Python knows.
//!
//! Names are interned for ever. Tasks that nobody named are called after their coroutine, and so are those whose names are
//! too many: a server may have a task for each request.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::texts;

/// Names of tasks that are told.
const MANY_NAMES: usize = 1024;

/// A module that is there already.
pub(crate) fn imported<'py>(py: Python<'py>, name: &Bound<'py, PyString>) -> Option<Bound<'py, PyAny>> {
    static MODULES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || PyResult::Ok(py.import("sys")?.getattr("modules")?.unbind())).ok()?;
    modules.bind(py).cast::<PyDict>().ok()?.get_item(name).ok()?.filter(|module| !module.is_none())
}

/// The handle of a task's name.
pub(crate) fn of_task(task: &Bound<'_, PyAny>) -> u64 {
    let py = task.py();
    let name = task.call_method0(intern!(py, "get_name")).ok().and_then(|name| name.cast_into::<PyString>().ok());
    if let Some(name) = name.filter(is_told) {
        return texts::handle(&name);
    }
    let coroutine = task.call_method0(intern!(py, "get_coro"));
    let name = coroutine.and_then(|coroutine| coroutine.getattr(intern!(py, "__qualname__")));
    name.map_or_else(|_| texts::handle(PyString::new(py, "task").as_any()), |name| texts::handle(&name))
}

/// Whether somebody gave this name, and there are not too many.
fn is_told(name: &Bound<'_, PyString>) -> bool {
    static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let text = name.to_string_lossy();
    if text.strip_prefix("Task-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if text.len() > 240 {
        return false;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    told.contains(text.as_ref()) || (told.len() < MANY_NAMES && told.insert(text.into_owned()))
}

/// Gives the calling thread the name that Python has for it, if the system has none of its own.
pub(crate) fn name_thread(py: Python<'_>) {
    let Some(named) = os_name("thread-self").filter(|name| Some(name) == os_name("self").as_ref()) else { return };
    let Some(name) = python_name(py).filter(|name| *name != named) else { return };
    let Ok(name) = CString::new(name) else { return };
    #[allow(unsafe_code, reason = "see SAFETY")]
    // SAFETY: a NUL-terminated text, of which the kernel takes 15 bytes.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
}

fn os_name(of: &str) -> Option<String> {
    let name = std::fs::read(format!("/proc/{of}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// `None`: it is the main one, or none of Python's own.
fn python_name(py: Python<'_>) -> Option<String> {
    let threading = imported(py, intern!(py, "threading"))?;
    let ident = threading.call_method0("get_ident").ok()?;
    // Not `current_thread`, which makes a stand-in for a thread that is not there.
    let thread = threading.getattr("_active").ok()?.cast::<PyDict>().ok()?.get_item(ident).ok()??;
    if thread.is(&threading.call_method0("main_thread").ok()?) {
        return None;
    }
    let name = thread.getattr("name").ok()?.cast_into::<PyString>().ok()?.to_string_lossy().into_owned();
    // Cut by the kernel in the middle of a character otherwise.
    Some(name[..name.floor_char_boundary(15)].to_owned()).filter(|name| !name.is_empty())
}
