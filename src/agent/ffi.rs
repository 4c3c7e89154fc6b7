//! The C border: the function table of `include/stepscope.h`, and how one library finds another that was there first.
//!
//! Nothing unwinds across it. Strings are read once and copied. `stepscope_get_api` is the library's only exported
//! symbol.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;

use crate::wire::landmark;
use crate::wire::layout::Role;
use crate::wire::record::Batch;
use crate::wire::segment::Identity;
use crate::wire::text::{FixedText, Message};

use super::nvtx::abi::GetExportTable;
use super::nvtx::injection;
use super::process::{self, JoinError};
use super::{describe, hook, sources};

pub mod recorder;
use recorder::{CArgument, CEvent, CRequest};

/// Version of the table.
pub const ABI: u32 = 1;
/// Flag of [`Api::step_batch`]: a dummy batch.
pub const BATCH_DUMMY: u32 = 1;
/// Flag of [`CIdentity`]: this engine never calls [`Api::step_batch`].
pub const IDENTITY_NO_BATCH: u32 = 1;

/// `stepscope_identity`.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "documented in include/stepscope.h")]
pub struct CIdentity {
    pub size: u32,
    pub role: u32,
    pub rank: u32,
    pub world_size: u32,
    pub job: *const c_char,
    pub group: *const c_char,
    pub engine: *const c_char,
    pub label: *const c_char,
    pub flags: u32,
    pub reserved: u32,
}

/// `stepscope_api`.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "documented in include/stepscope.h")]
pub struct Api {
    pub abi: u32,
    pub size: u32,
    pub join: unsafe extern "C" fn(*const CIdentity) -> i32,
    pub claim_steps: unsafe extern "C" fn(*const c_char) -> i32,
    pub step_begin: extern "C" fn() -> u64,
    pub step_batch: extern "C" fn(u32, u32, u32, u32, u32),
    pub step_end: extern "C" fn(),
    pub leave: extern "C" fn(),
    pub reason: extern "C" fn() -> *const c_char,
    pub describe: unsafe extern "C" fn(*mut c_char, usize) -> usize,
    pub step_stream: extern "C" fn(*mut c_void),
    pub initialize_nvtx: extern "C" fn(GetExportTable) -> i32,
    pub recording: extern "C" fn() -> u64,
    pub intern: unsafe extern "C" fn(*const c_char, usize) -> u64,
    pub now: extern "C" fn() -> u64,
    pub ticks_at: extern "C" fn(u64) -> u64,
    pub span_begin: extern "C" fn(u64, u64, u32),
    pub span_end: unsafe extern "C" fn(*const CArgument, usize, u64),
    pub event: unsafe extern "C" fn(*const CEvent),
    pub track: extern "C" fn(u64, u64),
    pub request_number: unsafe extern "C" fn(*const c_char, usize) -> u64,
    pub request: unsafe extern "C" fn(*const CRequest),
    pub served: unsafe extern "C" fn(u64, *const u64, *const u32, usize),
    pub until_window: extern "C" fn() -> u64,
}

impl Api {
    /// Whether the member at this offset is there: another copy's table may be an older one.
    pub fn has(&self, offset: usize) -> bool {
        offset < self.size as usize
    }
}

/// This library's own table.
pub static OWN: Api = Api {
    abi: ABI,
    size: size_of::<Api>() as u32,
    join,
    claim_steps,
    step_begin,
    step_batch,
    step_end,
    leave,
    reason,
    describe: describe_into,
    step_stream,
    initialize_nvtx,
    recording: recorder::recording,
    intern: recorder::intern,
    now: recorder::now,
    ticks_at: recorder::ticks_at,
    span_begin: recorder::span_begin,
    span_end: recorder::span_end,
    event: recorder::event,
    track: recorder::track,
    request_number: recorder::request_number,
    request: recorder::request,
    served: recorder::served,
    until_window,
};

/// The table for an interface version, or null. A second copy of the library, opened by its path, hands out the first
/// one's: the C library tells copies apart by their files, and a process has one agent.
#[unsafe(no_mangle)]
pub extern "C" fn stepscope_get_api(abi: u32) -> *const Api {
    if abi == ABI { loaded_before().unwrap_or(&OWN) } else { std::ptr::null() }
}

/// What makes this library an NVTX injection library, see [`injection`]. A second copy hands over to the first one.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the protocol's name")]
pub extern "C" fn InitializeInjectionNvtx2(get: GetExportTable) -> i32 {
    let first = stepscope_get_api(ABI);
    // SAFETY: null, or a table that lives for ever.
    match unsafe { first.as_ref() }.filter(|api| api.has(offset_of!(Api, initialize_nvtx))) {
        Some(api) => (api.initialize_nvtx)(get),
        None => 0,
    }
}

thread_local! {
    static REASON: RefCell<Message> = const { RefCell::new(Message::new()) };
}

fn set_reason(why: &Message) {
    let _ = REASON.try_with(|r| r.try_borrow_mut().map(|mut r| *r = *why));
}

/// # Safety
/// `text` is null or NUL-terminated.
unsafe fn text<const N: usize>(text: *const c_char, default: &str) -> FixedText<N> {
    if text.is_null() {
        return default.into();
    }
    // SAFETY: by contract.
    FixedText::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())
}

const BAD_ARGUMENT: i32 = -3;

/// The identity with whatever an older caller's does not have zeroed.
///
/// # Safety
/// `identity` is null, or begins with the bytes that it says it has.
unsafe fn whole(identity: *const CIdentity) -> Option<CIdentity> {
    if identity.is_null() {
        return None;
    }
    // SAFETY: the first member, by contract.
    let size = unsafe { identity.cast::<u32>().read() } as usize;
    if size < offset_of!(CIdentity, flags) {
        return None;
    }
    // SAFETY: integers and pointers, for which zero is valid; copied from within what the caller has.
    unsafe {
        let mut whole = std::mem::zeroed::<CIdentity>();
        let bytes = size.min(size_of::<CIdentity>());
        std::ptr::copy_nonoverlapping(identity.cast::<u8>(), (&raw mut whole).cast(), bytes);
        Some(whole)
    }
}

unsafe extern "C" fn join(identity: *const CIdentity) -> i32 {
    std::panic::catch_unwind(|| {
        let refuse = |why: &str| {
            set_reason(&why.into());
            BAD_ARGUMENT
        };
        // SAFETY: the caller passes a valid identity or null.
        let Some(given) = (unsafe { whole(identity) }) else {
            return refuse("identity is NULL, or smaller than the first version's: set its size member");
        };
        let role = match given.role {
            1 => Role::Rank,
            2 => Role::Source,
            other => {
                let mut why = Message::from("role ");
                set_reason(why.push_decimal(u64::from(other)).push(" is neither 1 (rank) nor 2 (source)"));
                return BAD_ARGUMENT;
            }
        };
        // SAFETY: the header asks for NUL-terminated strings or NULL.
        let identity = unsafe {
            Identity {
                job: text(given.job, ""),
                group: text(given.group, "0"),
                rank: given.rank,
                world_size: given.world_size,
                role,
                engine: text(given.engine, ""),
                label: text(given.label, ""),
                forked_from: 0,
                tool_session: FixedText::new(),
            }
        };
        match process::join(&identity, given.flags & IDENTITY_NO_BATCH == 0) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(error) => {
                let mut why = Message::new();
                error.tell(&mut why);
                set_reason(&why);
                if matches!(error, JoinError::Off) { -1 } else { -2 }
            }
        }
    })
    .unwrap_or(-4)
}

unsafe extern "C" fn claim_steps(source: *const c_char) -> i32 {
    std::panic::catch_unwind(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let name = unsafe { text(source, "") };
        i32::from(!name.is_empty() && sources::claim(&name))
    })
    .unwrap_or(0)
}

extern "C" fn step_begin() -> u64 {
    hook::step_begin()
}

extern "C" fn step_batch(
    context_requests: u32,
    context_tokens: u32,
    generation_requests: u32,
    generation_tokens: u32,
    flags: u32,
) {
    let batch = Batch { context_requests, context_tokens, generation_requests, generation_tokens };
    hook::step_batch(batch, flags & BATCH_DUMMY != 0);
}

extern "C" fn initialize_nvtx(get: GetExportTable) -> i32 {
    std::panic::catch_unwind(|| injection::initialize(get)).unwrap_or(0)
}

extern "C" fn step_stream(stream: *mut c_void) {
    hook::step_stream(stream);
}

extern "C" fn until_window() -> u64 {
    std::panic::catch_unwind(hook::until_window).unwrap_or(0)
}

extern "C" fn step_end() {
    hook::step_end();
}

extern "C" fn leave() {
    let _ = std::panic::catch_unwind(process::leave);
}

extern "C" fn reason() -> *const c_char {
    REASON.try_with(|r| r.try_borrow().map_or(c"".as_ptr(), |r| r.as_ptr())).unwrap_or(c"".as_ptr())
}

unsafe extern "C" fn describe_into(buffer: *mut c_char, bytes: usize) -> usize {
    std::panic::catch_unwind(|| {
        // SAFETY: the caller says that `bytes` can be written, or that there is no buffer.
        unsafe { describe::describe(ABI, buffer, bytes) }
    })
    .unwrap_or(0)
}

/// The table of an agent that this process has already: of a library by its name, or of one that was compiled into some
/// part of the process (see [`announce`]). It asks nobody in turn: being the first, it finds itself.
pub(super) fn loaded_before() -> Option<&'static Api> {
    named().or_else(compiled_in)
}

fn named() -> Option<&'static Api> {
    // SAFETY: looks up a library that is in this process already; the symbol has the type that its name stands for.
    unsafe {
        let library = libc::dlopen(c"libstepscope.so.1".as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_NOW);
        if library.is_null() {
            return None;
        }
        let symbol = libc::dlsym(library, c"stepscope_get_api".as_ptr());
        // Our own: we are the first.
        if symbol.is_null() || std::ptr::eq(symbol, stepscope_get_api as *const libc::c_void) {
            return None;
        }
        let get: extern "C" fn(u32) -> *const Api = std::mem::transmute(symbol);
        get(ABI).as_ref()
    }
}

/// Where a compiled-in agent leaves the address of its table; the number is [`ABI`].
const LANDMARK: &CStr = c"stepscope-agent-1";

fn compiled_in() -> Option<&'static Api> {
    let table = landmark::find(LANDMARK)? as *const Api;
    // SAFETY: null, or the address of another copy's `OWN`: the name tells its version, and code is never unloaded.
    unsafe { table.as_ref() }.filter(|table| !std::ptr::eq(*table, &OWN))
}

/// Says that this copy is the process's agent: one that is compiled into an engine has no name by which a library that
/// is loaded later could find it.
pub(super) fn announce() {
    landmark::leave(LANDMARK, (&raw const OWN) as usize);
}
