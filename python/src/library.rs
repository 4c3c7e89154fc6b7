//! Finds the agent library.
//!
//! One agent per process, whoever loads it: first the one that is there already, by its soname; then what
//! `STEPSCOPE_LIBRARY` names; then the one in the package. It is never closed: the engine keeps pointers into it.
//! Whatever goes wrong is a reason in words, never an error.

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::unix::ffi::OsStringExt;

use crate::table::{self, ABI, Api, FIRST_BYTES};

/// The name by which every loader knows the agent.
const SONAME: &CStr = c"libstepscope.so.1";

/// Where the table was found.
pub(crate) struct Found {
    /// What to call.
    pub(crate) api: Api,
    /// The library's file, or its soname when it was there already.
    pub(crate) path: String,
}

/// Finds the agent, or says why there is none. `packaged` is the path of the one that the package brought.
pub(crate) fn find(packaged: &CStr) -> Result<Found, String> {
    if let Some(handle) = open(SONAME, libc::RTLD_NOLOAD | libc::RTLD_NOW) {
        return table_of(handle, SONAME);
    }
    let named = std::env::var_os("STEPSCOPE_LIBRARY").filter(|value| !value.is_empty());
    let path = match named {
        Some(value) => CString::new(value.into_vec()).map_err(|_| "STEPSCOPE_LIBRARY holds a NUL".to_owned())?,
        None => packaged.to_owned(),
    };
    match open(&path, libc::RTLD_NOW | libc::RTLD_GLOBAL) {
        Some(handle) => table_of(handle, &path),
        None => Err(format!("no agent library: {}", last_error())),
    }
}

#[allow(unsafe_code, reason = "the dynamic loader")]
fn open(path: &CStr, flags: i32) -> Option<*mut c_void> {
    // SAFETY: a NUL-terminated path; the agent's constructors, if it has any, are ours.
    let handle = unsafe { libc::dlopen(path.as_ptr(), flags) };
    (!handle.is_null()).then_some(handle)
}

#[allow(unsafe_code, reason = "the dynamic loader")]
fn table_of(handle: *mut c_void, path: &CStr) -> Result<Found, String> {
    let shown = path.to_string_lossy().into_owned();
    // SAFETY: a live handle that is never closed, and a NUL-terminated name.
    let symbol = unsafe { libc::dlsym(handle, c"stepscope_get_api".as_ptr()) };
    if symbol.is_null() {
        return Err(format!("{shown} has no stepscope_get_api: it is not an agent library"));
    }
    // SAFETY: the header fixes this symbol's type for every version of the library.
    let get_api: extern "C" fn(u32) -> *const Api = unsafe { std::mem::transmute(symbol) };
    let table = get_api(ABI);
    if table.is_null() {
        return Err(format!("{shown} does not speak interface version {ABI}: install one version of stepscope"));
    }
    // SAFETY: a table that is valid for ever, says the header; it begins with its version and its size.
    let (abi, size) = unsafe { ((&raw const (*table).abi).read(), (&raw const (*table).size).read()) };
    if abi != ABI || (size as usize) < FIRST_BYTES {
        return Err(format!("{shown} gave a table of version {abi} with {size} bytes"));
    }
    // SAFETY: as many bytes as it says.
    let api = unsafe { table::whole(table) };
    Ok(Found { api, path: file_of(symbol).unwrap_or(shown) })
}

/// The file that a symbol comes from.
#[allow(unsafe_code, reason = "the dynamic loader")]
fn file_of(symbol: *const c_void) -> Option<String> {
    // SAFETY: Dl_info is plain pointers, for which zero is a value; dladdr fills it or returns 0.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is ours, `symbol` any address.
    let known = unsafe { libc::dladdr(symbol, &raw mut info) } != 0 && !info.dli_fname.is_null();
    // SAFETY: a NUL-terminated string of the loader's, which lives as long as the library: for ever.
    known.then(|| unsafe { CStr::from_ptr(info.dli_fname) }.to_string_lossy().into_owned())
}

#[allow(unsafe_code, reason = "the dynamic loader")]
fn last_error() -> String {
    // SAFETY: NULL, or a string of this thread that stays until the next call to the loader.
    let text: *const c_char = unsafe { libc::dlerror() };
    if text.is_null() {
        return "unknown error".to_owned();
    }
    // SAFETY: see above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
