//! Which segment this process writes: joining, leaving, forking.
//!
//! `HOT` holds the words that the hook touches, as pointers: into the segment once the process has joined, at inert
//! words of our own before that, after a failure, and in a forked child. Everything else about the joined process hangs
//! off one leaked [`Joined`], so that a pointer to it never dangles, whoever still holds one.
//!
//! A fork swaps the child's pointers for inert ones whose generation differs from `quiet`, so that the child's first
//! step takes the slow path and joins anew with a segment of its own. Nothing here takes a lock that a fork could leave
//! held: the try-locks are reset in the child.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::wire::clock::ClockKind;
use crate::wire::gate::Cause;
use crate::wire::layout::{DEFAULT_SEGMENT_BYTES, Role};
use crate::wire::left_over;
use crate::wire::names;
use crate::wire::segment::{self, Identity, Segment};

use super::{helper, hook, window};

/// The words of the idle step, on one line. Aligned to half a page, so that no load of it has the lower twelve address
/// bits of a store to `begun` or `ended` (at 1024 and 1088 of the segment): the processor would take it for that store's
/// reader and wait, which doubles the cost of an idle step.
#[repr(C, align(2048))]
pub(super) struct Hot {
    /// `Status::begun`.
    pub(super) begun: AtomicPtr<AtomicU64>,
    /// `Status::ended`.
    pub(super) ended: AtomicPtr<AtomicU64>,
    /// `Control::generation`.
    pub(super) generation: AtomicPtr<AtomicU64>,
    /// The generation that asks nothing of the hook any more.
    pub(super) quiet: AtomicU64,
    /// 1 while the iteration that runs lies in an open window.
    pub(super) engaged: AtomicU64,
}

static INERT_BEGUN: AtomicU64 = AtomicU64::new(0);
static INERT_ENDED: AtomicU64 = AtomicU64::new(0);
/// Equal to `quiet`: nothing ever happens.
static INERT: AtomicU64 = AtomicU64::new(0);
/// Odd, so never equal to `quiet`: the next step looks closer.
static FORKED: AtomicU64 = AtomicU64::new(u64::MAX);

// Used: else the optimiser takes it apart, and the line with it.
#[used]
pub(super) static HOT: Hot = Hot {
    begun: AtomicPtr::new((&raw const INERT_BEGUN).cast_mut()),
    ended: AtomicPtr::new((&raw const INERT_ENDED).cast_mut()),
    generation: AtomicPtr::new((&raw const INERT).cast_mut()),
    quiet: AtomicU64::new(0),
    engaged: AtomicU64::new(0),
};

/// A process that has joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) segment: Segment,
    pub(super) identity: Identity,
    pub(super) clock: ClockKind,
    /// Counts joins and forks, so that a thread knows a ring of another segment when it sees one.
    pub(super) epoch: u64,
}

static JOINED: AtomicPtr<Joined> = AtomicPtr::new(std::ptr::null_mut());
static EPOCH: AtomicU64 = AtomicU64::new(0);
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

/// The joined process, if it has.
pub(super) fn joined() -> Option<&'static Joined> {
    // SAFETY: null, or a leaked box that is never freed.
    unsafe { JOINED.load(Ordering::Acquire).as_ref() }
}

/// Changes with every join and fork.
pub(super) fn epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

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
    let epoch = EPOCH.fetch_add(1, Ordering::Relaxed) + 1;
    let is_rank = identity.role == Role::Rank;
    let joined: &'static Joined = Box::leak(Box::new(Joined { segment, identity, clock, epoch }));
    if !HANDLERS.swap(true, Ordering::Relaxed) {
        // SAFETY: handlers of ours with the right signatures; the library is never unloaded.
        unsafe {
            libc::pthread_atfork(None, None, Some(forked));
            libc::atexit(leaving);
        }
    }
    window::reset();
    JOINED.store(std::ptr::from_ref(joined).cast_mut(), Ordering::Release);
    PARENT.store(std::ptr::null_mut(), Ordering::Relaxed);
    let status = joined.segment.status();
    HOT.quiet.store(0, Ordering::Relaxed);
    HOT.ended.store((&raw const status.ended).cast_mut(), Ordering::Relaxed);
    HOT.begun.store((&raw const status.begun).cast_mut(), Ordering::Relaxed);
    HOT.generation.store((&raw const joined.segment.control().generation).cast_mut(), Ordering::Release);
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
    EPOCH.fetch_add(1, Ordering::Relaxed);
    HOT.begun.store((&raw const INERT_BEGUN).cast_mut(), Ordering::Relaxed);
    HOT.ended.store((&raw const INERT_ENDED).cast_mut(), Ordering::Relaxed);
    HOT.engaged.store(0, Ordering::Relaxed);
    let parent = JOINED.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if !parent.is_null() {
        PARENT.store(parent, Ordering::Relaxed);
        HOT.generation.store((&raw const FORKED).cast_mut(), Ordering::Relaxed);
    }
    HOT.quiet.store(0, Ordering::Relaxed);
    JOINING.store(false, Ordering::Relaxed);
    hook::unlock();
    names::unlock();
}

/// The first step of a forked child: joins with its parent's identity and a segment of its own. `false`: it could not,
/// and the agent of this process is inert from now on.
pub(super) fn join_anew() -> bool {
    HOT.generation.store((&raw const INERT).cast_mut(), Ordering::Relaxed);
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
