//! The two edges of a window, whoever runs into them: the hook on the engine's thread, or the helper.
//!
//! What happens at an edge beside the gate's own move: waiting for the device (`cuda` only, the engine's thread only), the
//! profiler's calls where this rank leads and is alone in its tool's session, and a mark for a tool that listens.

use std::sync::atomic::Ordering;

use crate::wire::atomics::Native;
use crate::wire::control::{self, Parameters, profiler as bits};
use crate::wire::gate::{Cause, State, claim, facts, word};
use crate::wire::layout::{Anchor, NONE, Status};
use crate::wire::record::{Batch, Iteration, Record, flags};

use super::cuda::driver::driver;
use super::guard::with;
use super::nvtx::{range, spans};
use super::profiler::{self, Caller};
use super::state::Joined;
use super::threads;

/// Opens the window before its first iteration. On the engine's thread.
pub(super) fn open(joined: &'static Joined, parameters: &Parameters) -> bool {
    let Parameters { generation, first_iteration, profiler, .. } = *parameters;
    let status = joined.segment.status();
    if !claim::<Native>(&status.gate, generation, State::Armed, State::Opening) {
        return false;
    }
    // A profiler that starts with the window has waited already.
    let waited =
        profiler::is_on(joined, generation) && status.calls.iteration.load(Ordering::Relaxed) == first_iteration;
    if profiler & (bits::CUDA | bits::SYNCHRONIZE_OPEN) == bits::CUDA | bits::SYNCHRONIZE_OPEN
        && !waited
        && let Some(driver) = driver()
    {
        profiler::synchronize_open(joined, driver);
    }
    range::mark(c"window opens", generation);
    let facts = &status.facts;
    facts.first_iteration.store(first_iteration, Ordering::Relaxed);
    facts.last_iteration.store(NONE, Ordering::Relaxed);
    facts.overrun.store(0, Ordering::Relaxed);
    facts.cause.store(Cause::None as u64, Ordering::Relaxed);
    facts.flags.store(0, Ordering::Relaxed);
    facts.dropped_at_open.store(joined.segment.dropped(), Ordering::Relaxed);
    store_anchor(&facts.close, Anchor::default());
    store_anchor(&facts.open, joined.clock.anchor());
    facts.running_since_ticks.store(0, Ordering::Relaxed);
    spans::open(generation);
    // SYNC gate: the facts are whole before the window counts as open.
    status.gate.store(word(generation, State::Open), Ordering::Release);
    // The sidecar may have died before it woke the helper, which alone closes an idle engine's window by its lease.
    joined.segment.wake();
    true
}

/// Claims the closing of an open window. The winner goes on to [`close`].
pub(super) fn claim_closing(status: &Status, generation: u64) -> bool {
    let is_claimed = claim::<Native>(&status.gate, generation, State::Open, State::Closing);
    if is_claimed {
        spans::close(generation);
    }
    is_claimed
}

/// How a window ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) generation: u64,
    pub(super) cause: Cause,
    /// Last iteration inside.
    pub(super) last_iteration: u64,
    /// Iterations that ran on beyond it.
    pub(super) overrun: u64,
    /// The window's profiler bits.
    pub(super) profiler: u64,
    /// The moment, before anything was waited for.
    pub(super) at: Anchor,
    pub(super) caller: Caller,
}

/// Writes the facts and moves on to closed. Only for the winner of the claim to `Closing`.
pub(super) fn close(joined: &'static Joined, closing: &Closing) {
    let Closing { generation, cause, last_iteration, overrun, profiler, at, caller } = *closing;
    let status = joined.segment.status();
    let facts = &status.facts;
    if profiler & bits::SHARED == 0 {
        profiler::stop(joined, generation, caller);
    }
    range::mark(c"window closes", generation);
    store_anchor(&facts.close, at);
    facts.last_iteration.store(last_iteration, Ordering::Relaxed);
    facts.overrun.store(overrun, Ordering::Relaxed);
    facts.cause.store(cause as u64, Ordering::Relaxed);
    // SYNC gate: the facts are final before the window counts as closed.
    status.gate.store(word(generation, State::Closed), Ordering::Release);
}

pub(super) fn store_anchor(words: &[std::sync::atomic::AtomicU64; 3], anchor: Anchor) {
    words[0].store(anchor.ticks, Ordering::Relaxed);
    words[1].store(anchor.monotonic_ns, Ordering::Relaxed);
    words[2].store(anchor.realtime_ns, Ordering::Relaxed);
}

/// Closes the open window of a generation from a thread that is not stepping: the helper, or the process's end. `true` if
/// it was open; another generation's is left alone, since the caller decided about this one.
///
/// The last iteration is the last one that ended, trimmed to what was agreed; one that still runs is recorded as cut
/// off and counts as the last (`mid_iteration`), or, unless `cuts`, keeps the window open.
pub(super) fn close_now(joined: &'static Joined, generation: u64, cause: Cause, cuts: bool) -> bool {
    let status = joined.segment.status();
    if status.gate.load(Ordering::Acquire) != word(generation, State::Open) {
        return false;
    }
    let parameters = control::read(&joined.segment.control().words()).filter(|p| p.generation == generation);
    let close_last = joined.segment.control().close_last.load(Ordering::Acquire);
    let agreed = parameters.map_or(close_last, |p| p.last_iteration.min(close_last));
    let (ended, running, since) = progress(status);
    let running = running.filter(|&n| n <= agreed && since != 0);
    if running.is_some() && !cuts {
        return false; // it began since the caller looked, and may take its time
    }
    if !claim_closing(status, generation) {
        return false;
    }
    let at = joined.clock.anchor();
    let first = status.facts.first_iteration.load(Ordering::Relaxed);
    let mut last = ended;
    let mut told = facts::BY_HELPER;
    if let Some(iteration) = running {
        told |= facts::MID_ITERATION;
        last = iteration;
        threads::push(
            joined,
            generation,
            &Record::Iteration(Iteration {
                generation: generation as u32,
                flags: flags::MID_ITERATION | flags::NO_BATCH,
                iteration,
                begin_ticks: since,
                end_ticks: joined.clock.ticks(),
                batch: Batch::default(),
                device_ns: None,
            }),
        );
    } else if status.begun.load(Ordering::Acquire) > ended {
        told |= facts::OVERLAPPED;
    }
    let kept = last.min(agreed).max(first.saturating_sub(1));
    status.facts.flags.fetch_or(told, Ordering::Relaxed);
    let profiler = parameters.map_or(0, |p| p.profiler);
    if profiler & bits::CUDA != 0 {
        // Unless the hook is at it: it then finds the window closed, and lets go of them itself.
        profiler::enter_context();
        with(|window| window.let_go(joined, generation));
    }
    let overrun = last.saturating_sub(kept);
    close(joined, &Closing { generation, cause, last_iteration: kept, overrun, profiler, at, caller: Caller::Helper });
    true
}

/// What ended last, what runs since then, and since when, in ticks (0: outside the window): all of one moment, unless the
/// engine steps faster than we look; then nothing counts as running.
fn progress(status: &Status) -> (u64, Option<u64>, u64) {
    for _ in 0..16 {
        // SYNC ended: acquire, so that the records of what ended are in the ring.
        let ended = status.ended.load(Ordering::Acquire);
        let running = (status.begun.load(Ordering::Acquire) > ended).then_some(ended.wrapping_add(1));
        let since = status.facts.running_since_ticks.load(Ordering::Acquire);
        if status.ended.load(Ordering::Relaxed) == ended {
            return (ended, running, since);
        }
    }
    (status.ended.load(Ordering::Acquire), None, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::layout::Role;
    use crate::wire::segment::{Identity, Segment};

    /// A process whose window of generation 4 is open from iteration 1 on; iteration 3 runs in it.
    fn stepping() -> &'static Joined {
        let identity = Identity {
            job: "job".into(),
            group: "0".into(),
            rank: 0,
            world_size: 1,
            role: Role::Rank,
            engine: "test".into(),
            label: "".into(),
            forked_from: 0,
            tool_session: "".into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let segment = Segment::create(&folder.path().into(), &identity, 128 << 10).unwrap();
        let clock = segment.clock();
        let joined: &Joined =
            Box::leak(Box::new(Joined { segment, identity, clock, epoch: 1, tells_batch: true, always_ranges: false }));
        joined.segment.control().publish(&Parameters {
            generation: 4,
            armed: true,
            profiler: 1,
            first_iteration: 1,
            last_iteration: NONE,
            profiler_iteration: 1,
        });
        let status = joined.segment.status();
        status.gate.store(word(4, State::Open), Ordering::Relaxed);
        status.facts.first_iteration.store(1, Ordering::Relaxed);
        status.begun.store(3, Ordering::Relaxed);
        status.ended.store(2, Ordering::Relaxed);
        status.facts.running_since_ticks.store(clock.ticks(), Ordering::Relaxed);
        joined
    }

    /// The helper may be held up between its look and its deed for as long as a whole window takes.
    #[test]
    fn what_was_decided_about_one_window_never_closes_the_next() {
        let joined = stepping();
        assert!(!close_now(joined, 2, Cause::Lease, true));
        assert_eq!(joined.segment.status().gate.load(Ordering::Relaxed), word(4, State::Open));
        assert!(close_now(joined, 4, Cause::Lease, true));
        assert_eq!(joined.segment.status().gate.load(Ordering::Relaxed), word(4, State::Closed));
    }

    #[test]
    fn an_iteration_that_began_meanwhile_is_cut_off_only_by_those_who_may() {
        let joined = stepping();
        let facts = &joined.segment.status().facts;
        assert!(!close_now(joined, 4, Cause::Lease, false));
        assert!(close_now(joined, 4, Cause::Lease, true));
        assert_eq!(facts.last_iteration.load(Ordering::Relaxed), 3);
        assert_ne!(facts.flags.load(Ordering::Relaxed) & facts::MID_ITERATION, 0);
    }
}
