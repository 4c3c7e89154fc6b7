//! The C border: the function table of `include/stepscope.h`, and how one library finds another that was there first.
//!
//! Nothing unwinds across it. Strings are read once and copied. `stepscope_get_api` is the library's only exported
//! symbol.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use crate::wire::layout::Role;
use crate::wire::record::Batch;
use crate::wire::segment::Identity;

use super::process::{self, JoinError};
use super::{describe, hook, sources};

/// Version of the table.
pub const ABI: u32 = 1;
/// Flag of [`Api::step_batch`]: a dummy batch.
pub const BATCH_DUMMY: u32 = 1;

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
};

/// The table for an interface version, or null. A second copy of the library, opened by its path, hands out the first
/// one's: the C library tells copies apart by their files, and a process has one agent.
#[unsafe(no_mangle)]
pub extern "C" fn stepscope_get_api(abi: u32) -> *const Api {
    if abi == ABI { loaded_before().unwrap_or(&OWN) } else { std::ptr::null() }
}

thread_local! {
    static REASON: RefCell<CString> = RefCell::new(CString::default());
}

fn set_reason(why: &str) {
    let text = CString::new(why.replace('\0', " ")).unwrap_or_default();
    let _ = REASON.try_with(|r| r.try_borrow_mut().map(|mut r| *r = text));
}

/// # Safety
/// `text` is null or NUL-terminated.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: by contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn join(identity: *const CIdentity) -> i32 {
    std::panic::catch_unwind(|| {
        // SAFETY: the caller passes a valid identity or null; `size` tells an older struct.
        let Some(given) = (unsafe { identity.as_ref() }) else {
            set_reason("identity is NULL");
            return -3;
        };
        let role = match given.role {
            1 => Role::Rank,
            2 => Role::Source,
            other => {
                set_reason(&format!("role {other} is neither 1 (rank) nor 2 (source)"));
                return -3;
            }
        };
        if (given.size as usize) < size_of::<CIdentity>() {
            set_reason("identity is smaller than this library's: set its size member");
            return -3;
        }
        // SAFETY: the header asks for NUL-terminated strings or NULL.
        let (job, group, engine, label) =
            unsafe { (text(given.job), text(given.group), text(given.engine), text(given.label)) };
        let identity = Identity {
            job: job.unwrap_or_default(),
            group: group.unwrap_or_else(|| "0".into()),
            rank: given.rank,
            world_size: given.world_size,
            role,
            engine: engine.unwrap_or_default(),
            label: label.unwrap_or_default(),
            forked_from: 0,
        };
        match process::join(identity) {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(error) => {
                set_reason(&error.to_string());
                if matches!(error, JoinError::Off) { -1 } else { -2 }
            }
        }
    })
    .unwrap_or(-4)
}

unsafe extern "C" fn claim_steps(source: *const c_char) -> i32 {
    std::panic::catch_unwind(|| {
        // SAFETY: the header asks for a NUL-terminated string.
        let Some(name) = (unsafe { text(source) }) else { return 0 };
        i32::from(sources::claim(name))
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
        let text = describe::describe(ABI);
        if !buffer.is_null() && bytes > 0 {
            let count = text.len().min(bytes - 1);
            // SAFETY: the caller says that `bytes` can be written.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), count);
                buffer.add(count).write(0);
            }
        }
        text.len()
    })
    .unwrap_or(0)
}

/// The table of an agent library that was loaded before us, if there is one. It asks nobody in turn: being the first of
/// its name, it finds itself.
pub(super) fn loaded_before() -> Option<&'static Api> {
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
