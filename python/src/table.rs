//! The function table of `include/stepscope.h`, and the one that this process uses.
//!
//! [`current`] always gives a table that may be called: the agent's, or [`INERT`], whose functions do nothing. So no
//! call asks whether there is a library, nor whether a library of an older version has a member. Called by
//! [`crate::functions`]; set once by [`crate::library`].

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;
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
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
}

/// `stepscope_argument`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Argument {
    pub(crate) key: u64,
    pub(crate) kind: u32,
    pub(crate) bytes: u32,
    /// A number's bits, or a text's address.
    pub(crate) value: u64,
}

impl Argument {
    /// A whole number.
    pub(crate) fn unsigned(key: u64, value: u64) -> Self {
        Self { key, kind: argument::UNSIGNED, bytes: 0, value }
    }
}

/// Kinds of an [`Argument`].
pub(crate) mod argument {
    pub(crate) const UNSIGNED: u32 = 1;
    pub(crate) const SIGNED: u32 = 2;
    pub(crate) const NUMBER: u32 = 3;
    pub(crate) const FLAG: u32 = 4;
    pub(crate) const TEXT: u32 = 5;
}

/// `STEPSCOPE_NONE`.
pub(crate) const NONE: u64 = u64::MAX;

/// Shapes of an [`Event`].
pub(crate) mod shape {
    pub(crate) const SPAN: u16 = 1;
    pub(crate) const INSTANT: u16 = 2;
    pub(crate) const COUNTER: u16 = 3;
    pub(crate) const DURATION: u16 = 4;
}

/// `stepscope_event`.
#[repr(C)]
pub(crate) struct Event {
    pub(crate) size: u32,
    pub(crate) shape: u16,
    pub(crate) depth: u16,
    pub(crate) level: u32,
    pub(crate) flow_step: u32,
    pub(crate) name: u64,
    pub(crate) category: u64,
    pub(crate) track: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) value: f64,
    pub(crate) device_ns: u64,
    pub(crate) flow: u64,
    pub(crate) arguments: *const Argument,
    pub(crate) argument_count: u64,
}

/// `stepscope_request`.
#[repr(C)]
pub(crate) struct Request {
    pub(crate) size: u32,
    pub(crate) moment: u32,
    pub(crate) request: u64,
    pub(crate) at: u64,
    pub(crate) iteration: u64,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
    pub(crate) cached_tokens: u32,
    pub(crate) id_bytes: u32,
    pub(crate) id: *const c_char,
}

const _: () = {
    assert!(size_of::<Argument>() == 24 && size_of::<Event>() == 96 && size_of::<Request>() == 56);
    assert!(offset_of!(Event, arguments) == 80 && offset_of!(Request, id) == 48);
};

/// `stepscope_api`, as far as it is called from here.
#[derive(Clone, Copy)]
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
    pub(crate) step_stream: extern "C" fn(*mut c_void),
    /// Holds the place of a member that is not called from here.
    pub(crate) initialize_nvtx: usize,
    pub(crate) recording: extern "C" fn() -> u64,
    pub(crate) intern: extern "C" fn(*const c_char, usize) -> u64,
    pub(crate) now: extern "C" fn() -> u64,
    pub(crate) ticks_at: extern "C" fn(u64) -> u64,
    /// Spans of a thread's own stack: here they have stacks of their own, which tasks have too.
    pub(crate) span_begin: usize,
    pub(crate) span_end: usize,
    pub(crate) event: extern "C" fn(*const Event),
    pub(crate) track: extern "C" fn(u64, u64),
    pub(crate) request_number: extern "C" fn(*const c_char, usize) -> u64,
    pub(crate) request: extern "C" fn(*const Request),
    pub(crate) served: extern "C" fn(u64, *const u64, *const u32, usize),
    pub(crate) until_window: extern "C" fn() -> u64,
}

/// Bytes of the first version's table: every library has them.
pub(crate) const FIRST_BYTES: usize = offset_of!(Api, step_stream);

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
extern "C" fn no_stream(_: *mut c_void) {}
extern "C" fn no_intern(_: *const c_char, _: usize) -> u64 {
    0
}
extern "C" fn no_ticks_at(_: u64) -> u64 {
    0
}
extern "C" fn no_event(_: *const Event) {}
extern "C" fn no_track(_: u64, _: u64) {}
extern "C" fn no_number(_: *const c_char, _: usize) -> u64 {
    0
}
extern "C" fn no_request(_: *const Request) {}
extern "C" fn no_served(_: u64, _: *const u64, _: *const u32, _: usize) {}

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
    step_stream: no_stream,
    initialize_nvtx: 0,
    recording: no_begin,
    intern: no_intern,
    now: no_begin,
    ticks_at: no_ticks_at,
    span_begin: 0,
    span_end: 0,
    event: no_event,
    track: no_track,
    request_number: no_number,
    request: no_request,
    served: no_served,
    until_window: no_begin,
};

static CURRENT: AtomicPtr<Api> = AtomicPtr::new((&raw const INERT).cast_mut());

/// The table in use.
#[inline]
pub(crate) fn current() -> &'static Api {
    #[allow(unsafe_code, reason = "see SAFETY")]
    // SAFETY: CURRENT holds the address of INERT or of a table that `set` leaked; nobody writes behind them.
    // Acquire: pairs with `set`, so that the table is complete.
    unsafe {
        &*CURRENT.load(Ordering::Acquire)
    }
}

/// An agent's table as this module calls it: what the agent's does not have does nothing.
///
/// # Safety
/// `table` has as many bytes as its `size` says.
#[allow(unsafe_code, reason = "see SAFETY")]
pub(crate) unsafe fn whole(table: *const Api) -> Api {
    let mut whole = INERT;
    // SAFETY: integers and functions, copied from within what there is; the rest is INERT's. Members are as long as a
    // pointer from the third on, so half of one is left out.
    unsafe {
        let bytes = ((&raw const (*table).size).read() as usize).min(size_of::<Api>()) & !(size_of::<usize>() - 1);
        std::ptr::copy_nonoverlapping(table.cast::<u8>(), (&raw mut whole).cast(), bytes);
    }
    whole
}

/// Uses these functions from now on.
pub(crate) fn set(api: Api) {
    CURRENT.store(Box::leak(Box::new(api)), Ordering::Release);
}
