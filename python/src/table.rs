//! The function table of `include/stepscope.h`, and the one that this process uses.
//!
//! [`current`] always gives a table that may be called: the agent's, or [`INERT`], whose functions do nothing. So no
//! call asks whether there is a library. Called by [`crate::functions`]; set once by [`crate::library`].

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The interface version that this module speaks.
pub(crate) const ABI: u32 = 1;

/// What `join` returns while there is no library: `STEPSCOPE_OFF`.
const OFF: c_int = -1;

/// `stepscope_identity`.
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) size: u32,
    pub(crate) role: u32,
    pub(crate) rank: u32,
    pub(crate) world_size: u32,
    pub(crate) job: *const c_char,
    pub(crate) group: *const c_char,
    pub(crate) engine: *const c_char,
    pub(crate) label: *const c_char,
}

/// `stepscope_api`.
#[repr(C)]
pub(crate) struct Api {
    pub(crate) abi: u32,
    pub(crate) size: u32,
    pub(crate) join: extern "C" fn(*const Identity) -> i32,
    pub(crate) claim_steps: extern "C" fn(*const c_char) -> i32,
    pub(crate) step_begin: extern "C" fn() -> u64,
    pub(crate) step_batch: extern "C" fn(u32, u32, u32, u32, u32),
    pub(crate) step_end: extern "C" fn(),
    pub(crate) leave: extern "C" fn(),
    pub(crate) reason: extern "C" fn() -> *const c_char,
    pub(crate) describe: extern "C" fn(*mut c_char, usize) -> usize,
}

extern "C" fn no_join(_: *const Identity) -> i32 {
    OFF
}
extern "C" fn no_claim(_: *const c_char) -> i32 {
    0
}
extern "C" fn no_begin() -> u64 {
    0
}
extern "C" fn no_batch(_: u32, _: u32, _: u32, _: u32, _: u32) {}
extern "C" fn nothing() {}
extern "C" fn no_reason() -> *const c_char {
    c"".as_ptr()
}
extern "C" fn no_describe(_: *mut c_char, _: usize) -> usize {
    0
}

/// The table of a process without an agent.
static INERT: Api = Api {
    abi: 0,
    size: size_of::<Api>() as u32,
    join: no_join,
    claim_steps: no_claim,
    step_begin: no_begin,
    step_batch: no_batch,
    step_end: nothing,
    leave: nothing,
    reason: no_reason,
    describe: no_describe,
};

static CURRENT: AtomicPtr<Api> = AtomicPtr::new((&raw const INERT).cast_mut());

/// The table in use.
#[inline]
pub(crate) fn current() -> &'static Api {
    #[allow(unsafe_code, reason = "see SAFETY")]
    // SAFETY: CURRENT holds INERT's address or one that `set` was given; both are valid for ever, and nobody writes
    // behind them. Relaxed is enough: the table was complete before this process could see it (dlopen returned).
    unsafe {
        &*CURRENT.load(Ordering::Relaxed)
    }
}

/// Uses the agent's table from now on.
pub(crate) fn set(api: &'static Api) {
    CURRENT.store((&raw const *api).cast_mut(), Ordering::Relaxed);
}
