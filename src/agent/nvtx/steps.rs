//! Ranges as iterations: the range that the pattern takes begins one, its end ends it.
//!
//! An engine steps on one thread at a time, so one iteration is followed at a time: a matching range inside it is a part
//! of it. The process joins at its first matching range, as a rank whose identity the environment tells.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::wire::capability::{Answer, Question};
use crate::wire::layout::Role;
use crate::wire::segment::Identity;
use crate::wire::system;
use crate::wire::text::FixedText;

use super::abi::Handle;
use super::pattern;
use crate::agent::{capability, hook, process, sources, state};

/// No iteration is followed.
const NOBODY: u64 = 0;

/// The thread whose push/pop range is followed, or [`NOBODY`].
static THREAD: AtomicU64 = AtomicU64::new(NOBODY);
/// Its domain.
static DOMAIN: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(std::ptr::null_mut());
/// Ranges open inside it, of its domain and thread.
static DEPTH: AtomicU32 = AtomicU32::new(0);
/// The start/end range that is followed, or 0.
static RANGE: AtomicU64 = AtomicU64::new(0);
/// Joining was tried.
static TRIED: AtomicBool = AtomicBool::new(false);
/// The steps are ours.
static CLAIMED: AtomicBool = AtomicBool::new(false);

fn thread() -> u64 {
    // SAFETY: no arguments, cannot fail. Never 0.
    unsafe { libc::pthread_self() as u64 }
}

/// A push/pop range begins on this thread; `text` is `Some` if it matches. `true`: it is an iteration.
#[inline]
pub(in crate::agent) fn pushed(domain: Handle, text: Option<&[u8]>) -> bool {
    let followed = THREAD.load(Ordering::Relaxed);
    if followed != NOBODY {
        if followed == thread() && DOMAIN.load(Ordering::Relaxed) == domain {
            DEPTH.store(DEPTH.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        return false;
    }
    let Some(text) = text else { return false };
    let is_step = RANGE.load(Ordering::Relaxed) == 0 && begin(text);
    if is_step {
        DOMAIN.store(domain, Ordering::Relaxed);
        DEPTH.store(0, Ordering::Relaxed);
        THREAD.store(thread(), Ordering::Relaxed);
    }
    is_step
}

/// The range that was pushed last on this thread, in this domain, ends. `true`: it was an iteration.
#[inline]
pub(in crate::agent) fn popped(domain: Handle) -> bool {
    let followed = THREAD.load(Ordering::Relaxed);
    if followed == NOBODY || followed != thread() || DOMAIN.load(Ordering::Relaxed) != domain {
        return false;
    }
    match DEPTH.load(Ordering::Relaxed).checked_sub(1) {
        Some(depth) => {
            DEPTH.store(depth, Ordering::Relaxed);
            false
        }
        None => {
            THREAD.store(NOBODY, Ordering::Relaxed);
            hook::step_end();
            true
        }
    }
}

/// A start/end range that matches begins. `true`: it is an iteration.
pub(in crate::agent) fn started(text: &[u8], range: u64) -> bool {
    let free = THREAD.load(Ordering::Relaxed) == NOBODY && RANGE.load(Ordering::Relaxed) == 0;
    let is_step = free && range != 0 && begin(text);
    if is_step {
        RANGE.store(range, Ordering::Relaxed);
    }
    is_step
}

/// A start/end range ends. `true`: it was an iteration.
#[inline]
pub(in crate::agent) fn ended(range: u64) -> bool {
    let is_step = range != 0 && RANGE.compare_exchange(range, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if is_step {
        hook::step_end();
    }
    is_step
}

fn begin(text: &[u8]) -> bool {
    if !CLAIMED.load(Ordering::Relaxed) && !claim() {
        return false;
    }
    if hook::step_begin() != 0
        && let Some(batch) = pattern::batch(text)
    {
        hook::step_batch(batch, false);
    }
    true
}

/// Joins and claims the steps, once; slow. `false`: the agent is off, or somebody else drives the steps.
/// `extern "C"` cannot unwind, so that the callbacks need no frame for it; what could panic is caught.
#[cold]
#[inline(never)]
extern "C" fn claim() -> bool {
    if TRIED.swap(true, Ordering::Relaxed) {
        return false;
    }
    std::panic::catch_unwind(|| {
        // A process that another hook drives has joined already.
        if !sources::claim(&"nvtx".into()) || process::join(&identity(), true).is_err() {
            return false;
        }
        if let Some(joined) = state::joined() {
            capability::tell(joined, Question::NvtxSteps, Answer::Yes);
        }
        CLAIMED.store(true, Ordering::Relaxed);
        true
    })
    .unwrap_or(false)
}

/// Who this process is, by the variables of a launcher.
fn identity() -> Identity {
    let number = |names: &[&CStr]| {
        names.iter().find_map(|name| u32::try_from(system::number(system::variable::<32>(name)?.as_bytes())?).ok())
    };
    Identity {
        job: FixedText::new(),
        group: system::variable(c"STEPSCOPE_GROUP").unwrap_or_else(|| "0".into()),
        rank: number(&[c"STEPSCOPE_RANK", c"RANK", c"LOCAL_RANK"]).unwrap_or(0),
        world_size: number(&[c"STEPSCOPE_WORLD_SIZE", c"WORLD_SIZE"]).unwrap_or(0),
        role: Role::Rank,
        engine: "nvtx".into(),
        label: FixedText::new(),
        forked_from: 0,
        tool_session: FixedText::new(),
    }
}

/// In a forked child: nothing is followed, and the child may join on its own.
pub(in crate::agent) fn forked() {
    THREAD.store(NOBODY, Ordering::Relaxed);
    RANGE.store(0, Ordering::Relaxed);
}
