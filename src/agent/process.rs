//! Which segment this process writes: joining, leaving, forking.
//!
//! A fork swaps the child's pointers for inert ones whose generation differs from `quiet`, so that the child's first
//! step takes the slow path and joins anew with a segment of its own. Nothing here takes a lock that a fork could leave
//! held: the try-locks are reset in the child.

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::wire::gate::{self, Cause, State};
use crate::wire::layout::{DEFAULT_SEGMENT_BYTES, Role};
use crate::wire::left_over;
use crate::wire::names;
use crate::wire::segment::{self, Identity, Segment};
use crate::wire::system;
use crate::wire::text::Message;

use super::nvtx::{client, open_ranges, range, spans, steps};
use super::profiler::{self, Caller};
use super::state::{self, Joined, joined};
use super::{capability, edges, guard, helper, job, recorder, sources};

static JOINING: AtomicBool = AtomicBool::new(false);
/// Bytes that a forked child keeps of its parent's group, so that what tells it apart fits behind.
const FORKED_GROUP_BYTES: usize = 47;

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
    /// Not even for a few kilobytes.
    Memory,
    /// No segment could be made.
    Segment(segment::CreateError),
}

impl JoinError {
    /// The sentence.
    pub(super) fn tell(&self, out: &mut Message) {
        match self {
            Self::Off => {
                out.push("switched off by STEPSCOPE_AGENT=off");
            }
            Self::Busy => {
                out.push("another thread is joining");
            }
            Self::Memory => {
                out.push("no memory");
            }
            Self::Segment(error) => error.tell(&segment::default_folder(), out),
        }
    }
}

/// Makes this process's segment. `Ok(false)`: it had joined already, and its first identity stays.
///
/// # Errors
/// See [`JoinError`]; the process stays as it was.
pub(super) fn join(identity: &Identity, tells_batch: bool) -> Result<bool, JoinError> {
    if system::variable::<8>(c"STEPSCOPE_AGENT").is_some_and(|v| matches!(v.as_bytes(), b"off" | b"0")) {
        return Err(JoinError::Off);
    }
    alone(|| match joined() {
        Some(joined) => {
            // It may have said goodbye meanwhile (an engine that was shut down, and another one in the same process).
            joined.segment.status().exited.store(0, Ordering::Release);
            Ok(false)
        }
        None => make(*identity, tells_batch).map(|()| true),
    })
}

/// One thread at a time joins.
fn alone(join: impl FnOnce() -> Result<bool, JoinError>) -> Result<bool, JoinError> {
    if JOINING.swap(true, Ordering::Acquire) {
        return Err(JoinError::Busy);
    }
    let made = join();
    JOINING.store(false, Ordering::Release);
    made
}

fn make(mut identity: Identity, tells_batch: bool) -> Result<(), JoinError> {
    let folder = segment::default_folder();
    segment::prepare_folder(&folder).map_err(JoinError::Segment)?;
    left_over::sweep(&folder);
    if identity.job.is_empty() {
        identity.job = job::named_or_inherited(&folder);
    }
    identity.tool_session = capability::tool_session();
    let bytes = system::variable::<32>(c"STEPSCOPE_SEGMENT_BYTES").and_then(|v| system::number(v.as_bytes()));
    // Never freed: a pointer to it never dangles, whoever still holds one.
    let mut place = std::ptr::null_mut();
    // SAFETY: a valid place for the pointer; the alignment is a power of two.
    if unsafe { libc::posix_memalign(&mut place, align_of::<Joined>(), size_of::<Joined>()) } != 0 {
        return Err(JoinError::Memory);
    }
    let place: *mut Joined = place.cast();
    let segment = match Segment::create(&folder, &identity, bytes.unwrap_or(DEFAULT_SEGMENT_BYTES)) {
        Ok(segment) => segment,
        Err(error) => {
            // SAFETY: as it was allocated, and nothing is in it.
            unsafe { libc::free(place.cast()) };
            return Err(JoinError::Segment(error));
        }
    };
    let clock = segment.clock();
    let epoch = state::next_epoch();
    // Before the first step: a tool takes as long to load as it takes.
    let always_ranges = identity.role == Role::Rank && range::wanted() == range::Wanted::Always && client::look();
    // SAFETY: large enough, aligned, ours.
    let joined: &'static Joined = unsafe {
        place.write(Joined { segment, identity, clock, epoch, tells_batch, always_ranges });
        &*place
    };
    if !HANDLERS.swap(true, Ordering::Relaxed) {
        // SAFETY: handlers of ours with the right signatures; the library is never unloaded.
        unsafe {
            libc::pthread_atfork(None, None, Some(forked));
            libc::atexit(leaving);
        }
    }
    guard::reset(tells_batch);
    PARENT.store(std::ptr::null_mut(), Ordering::Relaxed);
    if identity.role == Role::Rank {
        capability::look(joined);
    }
    state::attach(joined);
    recorder::attach(joined);
    if identity.role == Role::Rank {
        helper::start(joined);
    }
    Ok(())
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
    sources::unlock();
    steps::forked();
    spans::forked();
    recorder::forked();
    open_ranges::forked();
}

/// The first step of a forked child: joins with its parent's identity and a segment of its own. `false`: it could not,
/// and the agent of this process is inert from now on.
pub(super) fn join_anew() -> bool {
    let made = alone(|| {
        if joined().is_some() {
            return Ok(true); // by another thread's first step
        }
        state::silence();
        // SAFETY: null, or what the parent joined with, of which this process has a copy.
        let Some(parent) = (unsafe { PARENT.load(Ordering::Relaxed).as_ref() }) else { return Ok(false) };
        let mut identity = parent.identity;
        // A group of its own: its iterations are counted from 1, and nobody waits for it to reach its parent's numbers.
        identity.forked_from = parent.segment.header().pid;
        identity.group = identity.group.shortened(FORKED_GROUP_BYTES);
        identity.group.push(".fork").push_decimal(u64::from(std::process::id()));
        make(identity, parent.tells_batch).map(|()| true)
    });
    matches!(made, Ok(true))
}

/// The engine ends in order: closes its window and says so. The segment stays: the process may join again.
pub(super) fn leave() {
    let Some(joined) = joined() else { return };
    if let Some((generation, State::Open)) = gate::split(joined.segment.status().gate.load(Ordering::Acquire)) {
        edges::close_now(joined, generation, Cause::Exit, true);
    }
    if let Some(generation) = profiler::on(joined) {
        profiler::stop(joined, generation, Caller::Helper);
    }
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
