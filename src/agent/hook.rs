//! The step hook: what an engine calls around each iteration.
//!
//! Idle: one store, one load, one branch; no allocation, lock, system call, fence or clock read. While a window is armed
//! or open, [`super::window`] decides.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use crate::wire::atomics::Native;
use crate::wire::clock::monotonic_ns;
use crate::wire::control;
use crate::wire::gate;
use crate::wire::record::{Batch, flags};

use super::guard::with;
use super::process;
use super::state::{HOT, joined};

/// An iteration begins. Its number, if it lies in an open window; else 0.
#[inline(always)]
pub(super) fn step_begin() -> u64 {
    // SAFETY: the pointers are to statics, or into a segment that stays mapped for ever.
    let (begun, generation) =
        unsafe { (&*HOT.begun.load(Ordering::Relaxed), &*HOT.generation.load(Ordering::Relaxed)) };
    let n = begun.load(Ordering::Relaxed).wrapping_add(1);
    let seen = gate::announce::<Native>(begun, n, generation);
    if seen == HOT.quiet.load(Ordering::Relaxed) {
        return 0;
    }
    begin_slowly(n, seen)
}

/// `extern "C"` cannot unwind, so that the idle path needs no frame: the call is a jump. What could panic is caught.
#[cold]
#[inline(never)]
extern "C" fn begin_slowly(n: u64, seen: u64) -> u64 {
    if let Some(joined) = joined() {
        return with(|window| window.begin(joined, n, seen)).unwrap_or(0);
    }
    // A forked child's first step: announced in the segment of its own, where a sidecar may have asked already.
    let joined = std::panic::catch_unwind(process::join_anew).unwrap_or(false);
    if joined { step_begin() } else { 0 }
}

/// What the iteration that [`step_begin`] just returned holds.
#[inline]
pub(super) fn step_batch(batch: Batch, dummy: bool) {
    if HOT.engaged.load(Ordering::Relaxed) != 0
        && let Some(joined) = joined()
    {
        with(|window| window.batch(joined, batch, if dummy { flags::DUMMY } else { 0 }));
    }
}

/// The iteration that [`step_begin`] just returned puts its work on this CUDA stream.
#[inline]
pub(super) fn step_stream(stream: *mut c_void) {
    if HOT.engaged.load(Ordering::Relaxed) != 0 {
        with(|window| window.stream(stream));
    }
}

/// The iteration that began last ends.
#[inline(always)]
pub(super) fn step_end() {
    if HOT.engaged.load(Ordering::Relaxed) != 0 {
        return end_slowly();
    }
    count_end();
}

/// How many iterations on the first one of a window lies that the engine's own profiler is to cover too: 1 is the next one. 0:
/// there is none, or it has begun, or it will not open, since it was called off or nobody is there any more to close it.
pub(super) fn until_window() -> u64 {
    let Some(joined) = joined() else { return 0 };
    let (control, begun) = (joined.segment.control(), joined.segment.status().begun.load(Ordering::Relaxed));
    let wanted = control::read(&control.words());
    let wanted = wanted.filter(|wanted| wanted.armed && wanted.profiler & control::profiler::ENGINE != 0);
    let opens = |first_iteration| {
        // SYNC close: pairs with the sidecar's release store.
        control.close_last.load(Ordering::Acquire) >= first_iteration
            && monotonic_ns() <= control.lease_deadline_ns.load(Ordering::Relaxed)
    };
    wanted
        .filter(|wanted| opens(wanted.first_iteration))
        .map_or(0, |wanted| wanted.first_iteration.saturating_sub(begun))
}

#[inline(always)]
fn count_end() {
    // SAFETY: as in `step_begin`.
    let (begun, ended) = unsafe { (&*HOT.begun.load(Ordering::Relaxed), &*HOT.ended.load(Ordering::Relaxed)) };
    // SYNC ended: the record of this iteration is in the ring before it counts as ended.
    ended.store(begun.load(Ordering::Relaxed), Ordering::Release);
}

/// See [`begin_slowly`].
#[cold]
#[inline(never)]
extern "C" fn end_slowly() {
    if let Some(joined) = joined() {
        with(|window| window.end(joined));
    }
    count_end();
}
