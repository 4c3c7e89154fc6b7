//! `stepscope.instant`, called with no more than a name and a category, as most calls are.
//!
//! A function that takes any keyword is given a tuple and a dictionary, which Python makes for each call: more than all the rest
//! costs. This one looks at its arguments where they lie, and while nobody captures not at all. Whatever else they are goes to
//! [`crate::recorder::instant`], which is kept as what this function is bound to.

use std::ffi::CString;
use std::panic::catch_unwind;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::event::Told;
use crate::recorder;
use crate::table::shape;
use crate::texts;
use crate::tracks;

/// Puts the quick function in the place of the one that takes everything.
#[allow(unsafe_code, reason = "see SAFETY")]
pub(crate) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let whole = module.getattr("instant")?;
    let text = |of| whole.getattr(of).and_then(|text| text.extract::<String>());
    let doc = CString::new(format!("instant{}\n--\n\n{}", text("__text_signature__")?, text("__doc__")?))?;
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: c"instant".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: instant },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.into_raw(),
    }));
    let name = module.name()?;
    // SAFETY: a definition that lives for ever, and objects that are alive; a new reference or an error comes back.
    let quick = unsafe {
        let function = ffi::PyCFunction_NewEx(definition, whole.as_ptr(), name.as_ptr());
        Bound::from_owned_ptr_or_err(module.py(), function)?
    };
    module.setattr("instant", quick)
}

/// # Safety
/// As Python calls it: `count` positional arguments, and behind them one for each of `keywords`, a tuple or null.
#[allow(unsafe_code, reason = "see SAFETY")]
unsafe extern "C" fn instant(
    whole: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let is_positional = count == 1 || count == 2;
    if is_positional && recorder::recording() == 0 {
        return nothing();
    }
    let is_plain = is_positional && keywords.is_null();
    let called = catch_unwind(|| {
        // SAFETY: Python calls us. The arguments are borrowed for the time of the call.
        unsafe {
            let py = Python::assume_attached();
            if is_plain && tell(py, *arguments, if count == 2 { *arguments.add(1) } else { ffi::Py_None() }) {
                return nothing();
            }
            pass_on(py, whole, arguments, count as usize, keywords)
        }
    });
    called.unwrap_or_else(|_| nothing())
}

fn nothing() -> *mut ffi::PyObject {
    #[allow(unsafe_code, reason = "see SAFETY")]
    // SAFETY: Python calls us; None is always there, and the caller gets a reference of its own.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_IncRef(none);
        none
    }
}

/// `false`: a text is not known yet, or it is on the track of a task.
fn tell(py: Python<'_>, name: *mut ffi::PyObject, category: *mut ffi::PyObject) -> bool {
    #[allow(unsafe_code, reason = "see SAFETY")]
    // SAFETY: the address of None.
    let has_category = category != unsafe { ffi::Py_None() };
    let category = if has_category { texts::known(category as usize) } else { Some(0) };
    let (Some(name), Some(category), true) = (texts::known(name as usize), category, tracks::is_threads_own(py)) else {
        return false;
    };
    Told { shape: shape::INSTANT, level: 1, name, category, ..Told::NOTHING }.tell(&[]);
    true
}

/// # Safety
/// As for [`instant`].
#[cold]
#[allow(unsafe_code, reason = "see SAFETY")]
unsafe fn pass_on(
    py: Python<'_>,
    whole: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: by contract: so many objects, which outlive the call.
    let (whole, keywords, given) = unsafe {
        let keywords = Bound::from_borrowed_ptr_or_opt(py, keywords);
        let named = keywords.as_ref().map_or(0, |keywords| keywords.len().unwrap_or(0));
        // Without any there may be no list.
        let list = if count + named == 0 { &[] } else { std::slice::from_raw_parts(arguments, count + named) };
        let given: Vec<_> = list.iter().map(|&argument| Bound::from_borrowed_ptr(py, argument)).collect();
        (Bound::from_borrowed_ptr(py, whole), keywords, given)
    };
    let call = || {
        let (positional, named) = given.split_at(count);
        let by_name = PyDict::new(py);
        if let Some(keywords) = &keywords {
            for (keyword, value) in keywords.try_iter()?.zip(named) {
                by_name.set_item(keyword?, value)?;
            }
        }
        whole.call(PyTuple::new(py, positional)?, Some(&by_name))
    };
    match call() {
        Ok(result) => result.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}
