//! The hook's own view of the window: what it was asked for, and the iteration that runs.
//!
//! [`Window`] is the hook's own state and only the hook touches it (the helper once, at a close, behind the same try-lock).
//! What the helper thread must see is in the segment: the gate word, the facts, `begun` and `ended`. Both sides close
//! through [`super::edges`], which only the winner of the claim runs. After a window's last iteration the hook sets
//! `quiet`, and steps are cheap again.

use std::sync::atomic::Ordering;

use crate::wire::atomics::Native;
use crate::wire::clock::monotonic_ns;
use crate::wire::control::{self, Parameters, profiler as bits};
use crate::wire::gate::{self, Cause, State, claim, facts, word};
use crate::wire::layout::Anchor;
use crate::wire::profiler::{State as ProfilerState, split};
use crate::wire::record::{Batch, Iteration, Record, flags};

use super::capability;
use super::cuda::driver::{Stream, driver};
use super::cuda::events::DeviceTimes;
use super::edges::{self, Closing};
use super::nvtx::client::{Client, client};
use super::nvtx::range;
use super::profiler::{self, Caller};
use super::state::{HOT, Joined, fall_quiet};
use super::threads;

/// The hook's view of the window it works on.
#[derive(Debug)]
pub(super) struct Window {
    parameters: Parameters,
    iteration: u64,
    begin_ticks: u64,
    batch: Batch,
    flags: u16,
    /// The iteration that runs is a range in a tool.
    ranged: bool,
    /// The iteration that runs lies in no window, and is only a range.
    outside: bool,
    /// This engine says what is in an iteration after it began, so its range waits for that to have its name.
    tells_batch: bool,
    device: DeviceTimes,
    /// When the lease was last looked at.
    lease_seen_ticks: u64,
}

/// How often the hook and the recorder look at the lease: some milliseconds of a processor's time stamps, a third of a second of
/// the slowest counters. Not at each iteration: the system's clock is far away from all else that is touched.
pub(super) const LEASE_LOOK_TICKS: u64 = 1 << 23;

const NOTHING: Parameters = Parameters {
    generation: 0,
    armed: false,
    profiler: 0,
    first_iteration: 0,
    last_iteration: 0,
    profiler_iteration: 0,
};

impl Window {
    pub(super) const NEW: Self = Self {
        parameters: NOTHING,
        iteration: 0,
        begin_ticks: 0,
        batch: Batch { context_requests: 0, context_tokens: 0, generation_requests: 0, generation_tokens: 0 },
        flags: 0,
        ranged: false,
        outside: false,
        tells_batch: true,
        device: DeviceTimes::NEW,
        lease_seen_ticks: 0,
    };

    /// For a process that has just joined.
    pub(super) fn reset(&mut self, tells_batch: bool) {
        *self = Self { tells_batch, ..Self::NEW };
    }

    /// Iteration `n` begins and the generation is not the quiet one. Returns `n` if it lies in an open window, or is a range
    /// all the same.
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
        if self.parameters.armed && self.parameters.profiler & bits::LEADER != 0 {
            self.lead(joined, n);
        }
        self.outside = !self.parameters.armed || !self.is_inside(joined, n);
        if self.outside && !joined.always_ranges {
            return 0;
        }
        self.iteration = n;
        self.batch = Batch::default();
        self.flags = flags::NO_BATCH;
        if let (Some(client), false) = (client(), self.tells_batch) {
            range::begin_unnamed(client, n);
            self.ranged = true;
        }
        HOT.engaged.store(1, Ordering::Relaxed);
        if !self.outside {
            self.begin_ticks = joined.clock.ticks();
            joined.segment.status().facts.running_since_ticks.store(self.begin_ticks, Ordering::Relaxed);
        }
        n
    }

    /// A new generation: whatever an older one opened is closed first. While the helper is at it, the next step tries again.
    #[cold]
    #[inline(never)]
    fn take_up(&mut self, joined: &'static Joined, parameters: Parameters) {
        let status = joined.segment.status();
        let gate = &status.gate;
        let mut found = gate.load(Ordering::Acquire);
        match gate::split(found) {
            Some((generation, State::Open)) => {
                if !edges::claim_closing(status, generation) {
                    return;
                }
                self.close(joined, generation, Cause::Superseded, self.iteration, 0);
                found = word(generation, State::Closed);
            }
            Some((_, State::Opening | State::Closing)) | None => return,
            Some((_, State::Idle | State::Armed | State::Closed)) => {}
        }
        match split(status.profiler.load(Ordering::Acquire)) {
            Some((generation, ProfilerState::On)) => {
                profiler::stop(joined, generation, Caller::Engine);
            }
            Some((_, ProfilerState::Starting | ProfilerState::Stopping)) => return,
            _ => {}
        }
        let state = if parameters.armed { State::Armed } else { State::Idle };
        let next = word(parameters.generation, state);
        if parameters.armed {
            profiler::reset(joined, parameters.generation);
        }
        if gate.compare_exchange(found, next, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        self.parameters = parameters;
        if !parameters.armed {
            fall_quiet(joined, parameters.generation);
            return;
        }
        range::mark(c"armed", parameters.generation);
        if parameters.profiler & bits::CUDA != 0
            && let Some(driver) = driver()
        {
            capability::look_at_context(joined, profiler::remember_context(driver));
        }
    }

    /// This rank makes its session's calls: starts the profiler when its iteration has come, and stops it once nobody needs
    /// it any more.
    #[inline(never)]
    fn lead(&mut self, joined: &'static Joined, n: u64) {
        let Parameters { generation, first_iteration, profiler_iteration, .. } = self.parameters;
        let control = joined.segment.control();
        let gate = gate::split(joined.segment.status().gate.load(Ordering::Acquire));
        // Looked at only at an edge: inside the window a step reads no system clock.
        let late = || monotonic_ns() > control.lease_deadline_ns.load(Ordering::Relaxed);
        match gate {
            Some((at, State::Armed)) if at == generation => {
                let due = (profiler_iteration..=first_iteration).contains(&n);
                if due && !late() && control.close_last.load(Ordering::Acquire) >= first_iteration {
                    profiler::start(joined, &self.parameters, n);
                }
            }
            Some((at, State::Closed))
                if at == generation && (control.profiler_release.load(Ordering::Acquire) == generation || late()) =>
            {
                profiler::stop(joined, generation, Caller::Engine);
            }
            _ => {}
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
            State::Armed => self.opens(joined),
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
                self.fall_quiet(joined);
                false
            }
        }
    }

    /// The window's first iteration begins: it opens, if anybody is there to close it.
    #[cold]
    #[inline(never)]
    fn opens(&mut self, joined: &'static Joined) -> bool {
        if monotonic_ns() > joined.segment.control().lease_deadline_ns.load(Ordering::Relaxed) {
            return self.never_opens(joined, Cause::Lease);
        }
        edges::open(joined, &self.parameters)
    }

    /// Steps are cheap again, unless this rank's profiler waits to be released.
    #[cold]
    #[inline(never)]
    fn fall_quiet(&self, joined: &Joined) {
        if !profiler::is_on(joined, self.parameters.generation) {
            fall_quiet(joined, self.parameters.generation);
        }
    }

    #[cold]
    #[inline(never)]
    fn never_opens(&mut self, joined: &'static Joined, cause: Cause) -> bool {
        let generation = self.parameters.generation;
        let status = joined.segment.status();
        if claim::<Native>(&status.gate, generation, State::Armed, State::Closing) {
            status.facts.first_iteration.store(self.parameters.first_iteration, Ordering::Relaxed);
            status.facts.dropped_at_open.store(joined.segment.dropped(), Ordering::Relaxed);
            edges::store_anchor(&status.facts.open, Anchor::default());
            status.facts.flags.store(0, Ordering::Relaxed);
            self.close(joined, generation, cause, self.parameters.first_iteration.saturating_sub(1), 0);
        }
        self.fall_quiet(joined);
        false
    }

    pub(super) fn batch(&mut self, joined: &Joined, batch: Batch, extra: u16) {
        self.batch = batch;
        self.flags = (self.flags & !flags::NO_BATCH) | extra;
        self.tells_batch = true;
        if let Some(client) = client() {
            self.begin_range(joined, client, extra & flags::DUMMY != 0);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_range(&mut self, joined: &Joined, client: &Client, dummy: bool) {
        if !self.ranged {
            range::begin_iteration(client, self.iteration, &self.batch, dummy);
            self.ranged = true;
            self.tell_ranged(joined);
        }
    }

    /// The iteration that runs puts its work on this stream.
    pub(super) fn stream(&mut self, stream: Stream) {
        if self.parameters.profiler & bits::CUDA != 0
            && !self.outside
            && let Some(driver) = driver()
        {
            self.device.begin(driver, stream);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_range(&mut self, joined: &Joined, client: &Client) {
        if !self.ranged {
            // No batch came: from now on its ranges do not wait for one.
            self.tells_batch = false;
            range::begin_unnamed(client, self.iteration);
        }
        client.pop();
        self.ranged = false;
        self.tell_ranged(joined);
    }

    fn tell_ranged(&self, joined: &Joined) {
        if !self.outside {
            profiler::ranged(joined);
        }
    }

    /// The iteration that lies in the window ends: records it, and closes if it was the last.
    pub(super) fn end(&mut self, joined: &'static Joined) {
        let end_ticks = joined.clock.ticks();
        if let Some(client) = client() {
            self.end_range(joined, client);
        }
        HOT.engaged.store(0, Ordering::Relaxed);
        if self.outside {
            return;
        }
        let (status, control) = (joined.segment.status(), joined.segment.control());
        let Parameters { generation, last_iteration, .. } = self.parameters;
        if status.gate.load(Ordering::Acquire) != word(generation, State::Open) {
            // The helper closed while it ran: it is outside, or was recorded as cut off.
            self.let_go(joined, generation);
            return;
        }
        self.record(joined, end_ticks);
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
            if edges::claim_closing(joined.segment.status(), generation) {
                self.close(joined, generation, Cause::Lease, self.iteration, 0);
            }
            self.fall_quiet(joined);
        }
    }

    fn record(&mut self, joined: &'static Joined, end_ticks: u64) {
        let generation = self.parameters.generation;
        let record = Iteration {
            generation: generation as u32,
            flags: self.flags,
            iteration: self.iteration,
            begin_ticks: self.begin_ticks,
            end_ticks,
            batch: self.batch,
            device_ns: None,
        };
        let push = |record: &Iteration| threads::push(joined, generation, &Record::Iteration(*record));
        match driver() {
            Some(driver) if self.device.is_used() => self.device.end(driver, record, push),
            _ => push(&record),
        }
    }

    /// Hands out the records that waited for the device.
    pub(super) fn let_go(&mut self, joined: &'static Joined, generation: u64) {
        self.device.flush(driver(), |record| threads::push(joined, generation, &Record::Iteration(*record)));
        joined.segment.status().calls.device_times_missed.store(self.device.missed, Ordering::Relaxed);
        self.device.missed = 0;
    }

    /// Closes after iteration `ended`, of which those beyond the agreed last one are trimmed.
    #[cold]
    #[inline(never)]
    fn close_at(&mut self, joined: &'static Joined, ended: u64, last: u64, close_last: u64, cause: Cause) {
        let generation = self.parameters.generation;
        if edges::claim_closing(joined.segment.status(), generation) {
            let cause = if close_last < last { cause } else { Cause::MaxIterations };
            let agreed = last.min(close_last).max(self.parameters.first_iteration.saturating_sub(1));
            let kept = ended.min(agreed);
            self.close(joined, generation, cause, kept, ended - kept);
        }
        self.fall_quiet(joined);
    }

    /// Closes what this thread has claimed: waits for the device if that was asked for, and lets every record go.
    #[cold]
    #[inline(never)]
    fn close(&mut self, joined: &'static Joined, generation: u64, cause: Cause, last_iteration: u64, overrun: u64) {
        let profiler = self.parameters.profiler;
        let at = joined.clock.anchor();
        let opened = last_iteration >= self.parameters.first_iteration;
        if profiler & (bits::CUDA | bits::SYNCHRONIZE_CLOSE) == bits::CUDA | bits::SYNCHRONIZE_CLOSE
            && opened
            && let Some(driver) = driver()
        {
            profiler::synchronize_close(joined, driver);
        }
        self.let_go(joined, generation);
        let caller = Caller::Engine;
        edges::close(joined, &Closing { generation, cause, last_iteration, overrun, profiler, at, caller });
    }
}
