//! Staying the NVTX injection library where a tool puts itself in that place: nsys sets `NVTX_INJECTION64_PATH` anew in
//! every process that it starts, from a library of its own that the system loads first.
//!
//! So `stepscope exec` has ours loaded first too (`LD_PRELOAD`), and this runs behind the tool's: it takes the place back
//! and remembers the tool in `STEPSCOPE_NVTX_NEXT`, which gets every call. It does nothing unless the variables ask for it,
//! and nothing in a program that has the agent compiled in.
//!
//! The one place that writes to the environment: before `main`, where nobody reads it yet.

use std::ffi::{CStr, c_void};

use crate::wire::system;
use crate::wire::text::PathText;

const INJECTION: &CStr = c"NVTX_INJECTION64_PATH";
const NEXT: &CStr = c"STEPSCOPE_NVTX_NEXT";

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    let Some(own) = system::variable::<1024>(c"STEPSCOPE_LIBRARY") else { return };
    let off: Option<PathText> = system::variable(c"STEPSCOPE_AGENT");
    let is_off = off.is_some_and(|word| matches!(word.as_bytes(), b"off" | b"0"));
    let preloaded: Option<PathText> = system::variable(c"LD_PRELOAD");
    let names = |list: PathText| list.as_bytes().split(|byte| b": ".contains(byte)).any(|path| path == own.as_bytes());
    if is_off || !preloaded.is_some_and(names) || own.is_cut() || !is_this_library(&own) {
        return;
    }
    let tool: Option<PathText> = system::variable(INJECTION);
    if tool.is_some_and(|tool| tool == own) {
        return;
    }
    // SAFETY: NUL-terminated names and values; nothing else runs yet.
    unsafe {
        if let Some(tool) = tool.filter(|tool| !tool.is_cut()) {
            libc::setenv(NEXT.as_ptr(), tool.as_ptr(), 1);
        }
        libc::setenv(INJECTION.as_ptr(), own.as_ptr(), 1);
    }
}

/// Whether the code that runs here came from this file.
fn is_this_library(path: &PathText) -> bool {
    // SAFETY: all-zero is valid; filled in by the C library for an address of ours.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(loaded as *const c_void, &mut found) == 0 || found.dli_fname.is_null() {
            return false;
        }
        let (mut ours, mut named) = (std::mem::zeroed::<libc::stat>(), std::mem::zeroed::<libc::stat>());
        libc::stat(found.dli_fname, &mut ours) == 0
            && libc::stat(path.as_ptr(), &mut named) == 0
            && (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)
    }
}
