//! Which segment this process writes: joining, leaving, forking.
//!
//! A fork swaps the child's pointers for inert ones whose generation differs from `quiet`, so that the child's first
//! step takes the slow path and joins anew with a segment of its own. Nothing here takes a lock that a fork could leave
//! held: the try-locks are reset in the child.

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::wire::clock::ClockKind;
use crate::wire::gate::Cause;
use crate::wire::layout::{DEFAULT_SEGMENT_BYTES, Role};
use crate::wire::left_over;
use crate::wire::names;
use crate::wire::segment::{self, Identity, Segment};

use super::state::{self, Joined, joined};
use super::{guard, helper, window};

static JOINING: AtomicBool = AtomicBool::new(false);
static HANDLERS: AtomicBool = AtomicBool::new(false);
/// Set in a forked child: the parent's identity, to join anew with.
static PARENT: AtomicPtr<Joined> = AtomicPtr::new(std::ptr::null_mut());

/// Why a process could not join.
#[derive(Debug)]
pub(super) enum JoinError {
    /// Switched off by `STEPSCOPE_AGENT=off`.
    Off,
    /// Another thread is joining right now.
    Busy,
    /// No segment could be made.
    Segment(segment::CreateError),
}

impl std::fmt::Display for JoinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("switched off by STEPSCOPE_AGENT=off"),
            Self::Busy => f.write_str("another thread is joining"),
            Self::Segment(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for JoinError {}

/// Makes this process's segment. `Ok(false)`: it had joined already, and its first identity stays.
///
/// # Errors
/// See [`JoinError`]; the process stays as it was.
pub(super) fn join(identity: Identity) -> Result<bool, JoinError> {
    if std::env::var_os("STEPSCOPE_AGENT").is_some_and(|v| v == "off" || v == "0") {
        return Err(JoinError::Off);
    }
    if JOINING.swap(true, Ordering::Acquire) {
        return Err(JoinError::Busy);
    }
    let made = match joined() {
        Some(joined) => {
            // It may have said goodbye meanwhile (an engine that was shut down, and another one in the same process).
            joined.segment.status().exited.store(0, Ordering::Release);
            Ok(false)
        }
        None => make(identity).map_err(JoinError::Segment).map(|()| true),
    };
    JOINING.store(false, Ordering::Release);
    made
}

fn make(mut identity: Identity) -> Result<(), segment::CreateError> {
    let folder = segment::default_folder();
    segment::prepare_folder(&folder)?;
    left_over::sweep(&folder);
    if identity.job.is_empty() {
        identity.job = inherited_job();
    }
    let bytes =
        std::env::var("STEPSCOPE_SEGMENT_BYTES").ok().and_then(|v| v.parse().ok()).unwrap_or(DEFAULT_SEGMENT_BYTES);
    let segment = Segment::create(&folder, &identity, bytes)?;
    let clock = segment.clock();
    let epoch = state::next_epoch();
    let is_rank = identity.role == Role::Rank;
    let joined: &'static Joined = Box::leak(Box::new(Joined { segment, identity, clock, epoch }));
    if !HANDLERS.swap(true, Ordering::Relaxed) {
        // SAFETY: handlers of ours with the right signatures; the library is never unloaded.
        unsafe {
            libc::pthread_atfork(None, None, Some(forked));
            libc::atexit(leaving);
        }
    }
    guard::reset();
    PARENT.store(std::ptr::null_mut(), Ordering::Relaxed);
    state::attach(joined);
    if is_rank {
        helper::start(joined);
    }
    Ok(())
}

/// `STEPSCOPE_JOB`, or a random one that children of this process inherit.
fn inherited_job() -> String {
    if let Ok(job) = std::env::var("STEPSCOPE_JOB")
        && !job.is_empty()
    {
        return job;
    }
    let clock = ClockKind::detect();
    let random = clock.ticks() ^ crate::wire::clock::realtime_ns().rotate_left(23) ^ u64::from(std::process::id());
    let job = format!("job-{:08x}", random as u32 ^ (random >> 32) as u32);
    if let Ok(value) = std::ffi::CString::new(job.clone()) {
        // SAFETY: both strings are NUL-terminated; the C library locks its own environment.
        unsafe { libc::setenv(c"STEPSCOPE_JOB".as_ptr(), value.as_ptr(), 0) };
    }
    job
}

/// In a forked child, before anything else runs there: only stores, nothing that could hang.
extern "C" fn forked() {
    let parent = state::detach();
    if !parent.is_null() {
        PARENT.store(parent, Ordering::Relaxed);
    }
    JOINING.store(false, Ordering::Relaxed);
    guard::unlock();
    names::unlock();
}

/// The first step of a forked child: joins with its parent's identity and a segment of its own. `false`: it could not,
/// and the agent of this process is inert from now on.
pub(super) fn join_anew() -> bool {
    state::silence();
    // SAFETY: null, or the parent's leaked box, of which this process has a copy.
    let Some(parent) = (unsafe { PARENT.load(Ordering::Relaxed).as_ref() }) else { return false };
    let mut identity = parent.identity.clone();
    // A group of its own: its iterations are counted from 1, and nobody waits for it to reach its parent's numbers.
    identity.forked_from = parent.segment.header().pid;
    identity.group = format!("{}.fork{}", identity.group, std::process::id());
    matches!(join(identity), Ok(true))
}

/// The engine ends in order: closes its window and says so. The segment stays: the process may join again.
pub(super) fn leave() {
    let Some(joined) = joined() else { return };
    window::close_now(joined, Cause::Exit);
    joined.segment.status().exited.store(1, Ordering::Release);
}

/// The process ends: a segment that nobody has to read any more goes with it.
fn remove() {
    let Some(joined) = joined() else { return };
    let consumer = crate::wire::lock::Party::Consumer;
    if joined.segment.drained() && joined.segment.held_by_other(consumer) == Some(false) {
        joined.segment.unlink();
    }
}

extern "C" fn leaving() {
    // A forked child that never joined anew has nothing to leave.
    let _ = std::panic::catch_unwind(|| {
        leave();
        remove();
    });
}
