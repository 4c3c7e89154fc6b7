//! The gate's moves in this process: arm, open, record, close.
//!
//! [`Window`] is the hook's own state and only the hook touches it. What the helper thread must see is in the segment:
//! the gate word, the facts, `begun` and `ended`. Both sides close through [`close`], which only the winner of the claim
//! runs. After a window's last iteration the hook sets `quiet`, and steps are cheap again.

use std::sync::atomic::Ordering;

use crate::wire::atomics::Native;
use crate::wire::clock::monotonic_ns;
use crate::wire::control::{self, Parameters};
use crate::wire::gate::{self, Cause, State, claim, facts, word};
use crate::wire::layout::{Anchor, NONE, Status};
use crate::wire::record::{Batch, Iteration, Record, flags};

use super::state::{HOT, Joined};
use super::threads;

/// The hook's view of the window it works on.
#[derive(Debug)]
pub(super) struct Window {
    parameters: Parameters,
    iteration: u64,
    begin_ticks: u64,
    batch: Batch,
    flags: u16,
    /// When the lease was last looked at.
    lease_seen_ticks: u64,
}

/// How often the hook looks at the lease: under a millisecond of a processor's time stamps, tens of a slow counter's.
const LEASE_LOOK_TICKS: u64 = 1 << 20;

const NOTHING: Parameters =
    Parameters { generation: 0, armed: false, profiler: 0, first_iteration: 0, last_iteration: 0 };

impl Window {
    pub(super) const NEW: Self = Self {
        parameters: NOTHING,
        iteration: 0,
        begin_ticks: 0,
        batch: Batch { context_requests: 0, context_tokens: 0, generation_requests: 0, generation_tokens: 0 },
        flags: 0,
        lease_seen_ticks: 0,
    };

    /// Iteration `n` begins and the generation is not the quiet one. Returns `n` if it lies in an open window.
    pub(super) fn begin(&mut self, joined: &'static Joined, n: u64, seen: u64) -> u64 {
        if HOT.engaged.load(Ordering::Relaxed) != 0 {
            self.flags |= flags::UNENDED;
            self.end(joined);
            joined.segment.status().ended.store(n - 1, Ordering::Release);
        }
        if seen != self.parameters.generation
            && let Some(parameters) = control::read(&joined.segment.control().words())
        {
            self.take_up(joined, parameters);
        }
        // A torn block (the sidecar is writing): what we took up before still holds for this iteration.
        if !self.parameters.armed || !self.is_inside(joined, n) {
            return 0;
        }
        self.iteration = n;
        self.batch = Batch::default();
        self.flags = flags::NO_BATCH;
        self.begin_ticks = joined.clock.ticks();
        joined.segment.status().facts.running_since_ticks.store(self.begin_ticks, Ordering::Relaxed);
        HOT.engaged.store(1, Ordering::Relaxed);
        n
    }

    /// A new generation: whatever an older one opened is closed first. While the helper is at it, the next step tries again.
    fn take_up(&mut self, joined: &'static Joined, parameters: Parameters) {
        let gate = &joined.segment.status().gate;
        let mut found = gate.load(Ordering::Acquire);
        match gate::split(found) {
            Some((generation, State::Open)) => {
                if !claim::<Native>(gate, generation, State::Open, State::Closing) {
                    return;
                }
                close(joined, generation, Cause::Superseded, self.iteration, 0);
                found = word(generation, State::Closed);
            }
            Some((_, State::Opening | State::Closing)) | None => return,
            Some((_, State::Idle | State::Armed | State::Closed)) => {}
        }
        let state = if parameters.armed { State::Armed } else { State::Idle };
        let next = word(parameters.generation, state);
        if gate.compare_exchange(found, next, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        self.parameters = parameters;
        if !parameters.armed {
            HOT.quiet.store(parameters.generation, Ordering::Relaxed);
        }
    }

    fn is_inside(&mut self, joined: &'static Joined, n: u64) -> bool {
        let Parameters { generation, first_iteration, last_iteration, .. } = self.parameters;
        let (status, control) = (joined.segment.status(), joined.segment.control());
        // SYNC close: pairs with the sidecar's release store.
        let close_last = control.close_last.load(Ordering::Acquire);
        let cause = Cause::from_word(control.close_cause.load(Ordering::Relaxed));
        let Some((at, state)) = gate::split(status.gate.load(Ordering::Acquire)) else { return false };
        if at != generation {
            return false;
        }
        match state {
            State::Armed if close_last < first_iteration => self.never_opens(joined, cause),
            State::Armed if n < first_iteration => false,
            State::Armed if n > first_iteration => self.never_opens(joined, Cause::Missed),
            State::Armed => {
                if monotonic_ns() > control.lease_deadline_ns.load(Ordering::Relaxed) {
                    return self.never_opens(joined, Cause::Lease);
                }
                open(joined, generation, first_iteration)
            }
            State::Open if n > last_iteration.min(close_last) => {
                // Lowered after the iteration before this one had looked.
                self.close_at(joined, n - 1, last_iteration, close_last, cause);
                false
            }
            State::Open => true,
            State::Opening => false,
            State::Closing => {
                status.facts.flags.fetch_or(facts::OVERLAPPED, Ordering::Relaxed);
                false
            }
            State::Idle | State::Closed => {
                HOT.quiet.store(generation, Ordering::Relaxed);
                false
            }
        }
    }

    fn never_opens(&mut self, joined: &'static Joined, cause: Cause) -> bool {
        let generation = self.parameters.generation;
        let status = joined.segment.status();
        if claim::<Native>(&status.gate, generation, State::Armed, State::Closing) {
            status.facts.first_iteration.store(self.parameters.first_iteration, Ordering::Relaxed);
            status.facts.dropped_at_open.store(joined.segment.dropped(), Ordering::Relaxed);
            store_anchor(&status.facts.open, Anchor::default());
            status.facts.flags.store(0, Ordering::Relaxed);
            close(joined, generation, cause, self.parameters.first_iteration.saturating_sub(1), 0);
        }
        HOT.quiet.store(generation, Ordering::Relaxed);
        false
    }

    pub(super) fn batch(&mut self, batch: Batch, extra: u16) {
        self.batch = batch;
        self.flags = (self.flags & !flags::NO_BATCH) | extra;
    }

    /// The iteration that lies in the window ends: records it, and closes if it was the last.
    pub(super) fn end(&mut self, joined: &'static Joined) {
        let end_ticks = joined.clock.ticks();
        HOT.engaged.store(0, Ordering::Relaxed);
        let (status, control) = (joined.segment.status(), joined.segment.control());
        let Parameters { generation, last_iteration, .. } = self.parameters;
        if status.gate.load(Ordering::Acquire) != word(generation, State::Open) {
            // The helper closed while it ran: it is outside, or was recorded as cut off.
            return;
        }
        threads::push(
            joined,
            generation,
            &Record::Iteration(Iteration {
                generation: generation as u32,
                flags: self.flags,
                iteration: self.iteration,
                begin_ticks: self.begin_ticks,
                end_ticks,
                batch: self.batch,
                device_ns: None,
            }),
        );
        status.facts.running_since_ticks.store(0, Ordering::Relaxed);
        let close_last = control.close_last.load(Ordering::Acquire);
        if self.iteration >= last_iteration.min(close_last) {
            let cause = Cause::from_word(control.close_cause.load(Ordering::Relaxed));
            self.close_at(joined, self.iteration, last_iteration, close_last, cause);
        } else if end_ticks.wrapping_sub(self.lease_seen_ticks) > LEASE_LOOK_TICKS {
            self.look_at_lease(joined, end_ticks);
        }
    }

    /// Here rather than by the helper: an engine without a gap between its iterations is then not cut off in one.
    #[cold]
    #[inline(never)]
    fn look_at_lease(&mut self, joined: &'static Joined, now_ticks: u64) {
        self.lease_seen_ticks = now_ticks;
        let generation = self.parameters.generation;
        if monotonic_ns() > joined.segment.control().lease_deadline_ns.load(Ordering::Relaxed) {
            if claim::<Native>(&joined.segment.status().gate, generation, State::Open, State::Closing) {
                close(joined, generation, Cause::Lease, self.iteration, 0);
            }
            HOT.quiet.store(generation, Ordering::Relaxed);
        }
    }

    /// Closes after iteration `ended`, of which those beyond the agreed last one are trimmed.
    fn close_at(&mut self, joined: &'static Joined, ended: u64, last: u64, close_last: u64, cause: Cause) {
        let generation = self.parameters.generation;
        if claim::<Native>(&joined.segment.status().gate, generation, State::Open, State::Closing) {
            let cause = if close_last < last { cause } else { Cause::MaxIterations };
            let agreed = last.min(close_last).max(self.parameters.first_iteration.saturating_sub(1));
            let kept = ended.min(agreed);
            close(joined, generation, cause, kept, ended - kept);
        }
        HOT.quiet.store(generation, Ordering::Relaxed);
    }
}

fn open(joined: &'static Joined, generation: u64, first_iteration: u64) -> bool {
    let status = joined.segment.status();
    if !claim::<Native>(&status.gate, generation, State::Armed, State::Opening) {
        return false;
    }
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
    // SYNC gate: the facts are whole before the window counts as open.
    status.gate.store(word(generation, State::Open), Ordering::Release);
    // The sidecar may have died before it woke the helper, which alone closes an idle engine's window by its lease.
    joined.segment.wake();
    true
}

/// Writes the facts and moves on to closed. Only for the winner of the claim to `Closing`.
fn close(joined: &'static Joined, generation: u64, cause: Cause, last_iteration: u64, overrun: u64) {
    let status = joined.segment.status();
    let facts = &status.facts;
    store_anchor(&facts.close, joined.clock.anchor());
    facts.last_iteration.store(last_iteration, Ordering::Relaxed);
    facts.overrun.store(overrun, Ordering::Relaxed);
    facts.cause.store(cause as u64, Ordering::Relaxed);
    // SYNC gate: the facts are final before the window counts as closed.
    status.gate.store(word(generation, State::Closed), Ordering::Release);
}

fn store_anchor(words: &[std::sync::atomic::AtomicU64; 3], anchor: Anchor) {
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
    if !claim::<Native>(&status.gate, generation, State::Open, State::Closing) {
        return false;
    }
    let first = status.facts.first_iteration.load(Ordering::Relaxed);
    let mut last = ended;
    let mut bits = facts::BY_HELPER;
    if let Some(iteration) = running {
        bits |= facts::MID_ITERATION;
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
        bits |= facts::OVERLAPPED;
    }
    let kept = last.min(agreed).max(first.saturating_sub(1));
    status.facts.flags.fetch_or(bits, Ordering::Relaxed);
    close(joined, generation, cause, kept, last.saturating_sub(kept));
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
        };
        let folder = tempfile::tempdir().unwrap();
        let segment = Segment::create(&folder.path().into(), &identity, 128 << 10).unwrap();
        let clock = segment.clock();
        let joined: &Joined = Box::leak(Box::new(Joined { segment, identity, clock, epoch: 1 }));
        joined.segment.control().publish(&Parameters {
            generation: 4,
            armed: true,
            profiler: 1,
            first_iteration: 1,
            last_iteration: NONE,
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
