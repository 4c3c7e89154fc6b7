//! One segment, as the sidecar works with it: who it is, what its window does, and how it is ordered about.
//!
//! Its records are another end, [`Rings`], which may be drained by another thread: one that waits for a disk never
//! keeps this end from renewing a lease.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::trace::event::Anchor;
use crate::wire::control::{Parameters, profiler};
use crate::wire::gate::{self, Cause, State, facts};
use crate::wire::layout::{Facts, Role, unpack};
use crate::wire::segment::Segment;

use super::events;
use super::profiling::{Abilities, ProfilerCalls};
use super::rings::Rings;

const CUT_SHORT: &str = "the segment's file was cut short while it was in use: restart its engine";
/// The rate is taken over this long.
const RATE_SPAN: Duration = Duration::from_secs(2);

/// Tells two segments apart, also two of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u64);

/// Who a source is; cleaned of what a stranger might have put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIdentity {
    /// All groups of one engine.
    pub job: String,
    /// The ranks that step together.
    pub group: String,
    /// Rank within the group.
    pub rank: u32,
    /// Ranks of the group; 0 when not known.
    pub world_size: u32,
    /// Runs iterations.
    pub is_rank: bool,
    /// Engine and version.
    pub engine: String,
    /// What people call it.
    pub label: String,
    /// Version of the agent.
    pub agent: String,
    /// Process id in its own pid namespace.
    pub pid: u32,
    /// The tool's session that it runs in; empty for none.
    pub tool_session: String,
}

/// A window, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arming {
    /// First iteration.
    pub first_iteration: u64,
    /// Last one, or [`NONE`](crate::wire::layout::NONE).
    pub last_iteration: u64,
    /// [`profiler`] bits.
    pub profiler: u64,
    /// The iteration that the profiler starts before.
    pub profiler_iteration: u64,
}

/// No window.
const NOTHING: Arming =
    Arming { first_iteration: 0, last_iteration: 0, profiler: profiler::STEPS, profiler_iteration: 0 };

/// What a source's status block says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Iterations begun.
    pub begun: u64,
    /// Iterations ended.
    pub ended: u64,
    /// Generation and state of its gate.
    pub gate: (u64, State),
    /// Facts of that generation's window; whole once the state is open, final once it is closed.
    pub facts: WindowFacts,
    /// Its process lives.
    pub alive: bool,
    /// Its process said goodbye.
    pub exited: bool,
    /// Its memory makes no sense, or is gone.
    pub broken: bool,
    /// Records dropped since it was made.
    pub dropped_total: u64,
    /// What the profiler did, of the gate's generation.
    pub calls: ProfilerCalls,
}

/// [`Facts`], copied out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in wire::layout::Facts")]
pub struct WindowFacts {
    pub first_iteration: u64,
    pub last_iteration: u64,
    pub overrun: u64,
    pub cause: Cause,
    pub mid_iteration: bool,
    pub overlapped: bool,
    pub dropped_at_open: u64,
    pub open: Anchor,
    pub close: Anchor,
}

/// What the two ends of a source share: whoever orders its window about, and whoever drains its rings.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) segment: Segment,
    problem: OnceLock<String>,
    records_total: AtomicU64,
    invalid_total: AtomicU64,
}

impl Shared {
    /// It is of no use any more; the first reason stays.
    pub(super) fn spoiled(&self, reason: String) {
        let _ = self.problem.set(if self.segment.lost() { CUT_SHORT.into() } else { reason });
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.problem.get().is_some()
    }

    pub(super) fn taken(&self, records: u64) {
        self.records_total.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn invalid(&self) {
        self.invalid_total.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn anchor(&self) -> Anchor {
        events::anchor(self.segment.clock().anchor())
    }
}

/// A segment that this sidecar drains, as whoever orders its window about sees it.
#[derive(Debug)]
pub struct Source {
    shared: Arc<Shared>,
    identity: SourceIdentity,
    rings: Arc<Mutex<Rings>>,
    alive: bool,
    samples: VecDeque<(Instant, u64)>,
}

impl Source {
    pub(super) fn new(segment: Segment, now: Instant) -> Self {
        let header = *segment.header();
        let identity = SourceIdentity {
            job: unpack(&header.job),
            group: unpack(&header.group),
            rank: header.rank,
            world_size: header.world_size,
            is_rank: header.role == Role::Rank as u32,
            engine: unpack(&header.engine),
            label: unpack(&header.label),
            agent: unpack(&header.agent),
            pid: header.pid,
            tool_session: unpack(&header.tool_session),
        };
        let begun = segment.status().begun.load(Ordering::Relaxed);
        let alive = segment.alive();
        let shared = Arc::new(Shared {
            segment,
            problem: OnceLock::new(),
            records_total: AtomicU64::new(0),
            invalid_total: AtomicU64::new(0),
        });
        let rings = Arc::new(Mutex::new(Rings::new(shared.clone())));
        Self { shared, identity, rings, alive, samples: VecDeque::from([(now, begun)]) }
    }

    /// Its name among sources.
    pub fn id(&self) -> SourceId {
        SourceId(self.shared.segment.header().instance)
    }

    /// Who it is.
    pub fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        self.shared.segment.path()
    }

    /// Its process id as our pid namespace has it; `None` where that can't see it.
    pub fn pid_here(&self) -> Option<u32> {
        self.shared.segment.agent_pid()
    }

    /// Whether its process lived when last looked.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Why it is of no use any more.
    pub fn problem(&self) -> Option<&str> {
        self.shared.problem.get().map(String::as_str)
    }

    /// Records taken by this sidecar.
    pub fn records_total(&self) -> u64 {
        self.shared.records_total.load(Ordering::Relaxed)
    }

    /// Records that no agent of ours writes.
    pub fn invalid_total(&self) -> u64 {
        self.shared.invalid_total.load(Ordering::Relaxed)
    }

    /// Its rings, to be drained by whoever puts the records somewhere safe.
    pub fn rings(&self) -> Arc<Mutex<Rings>> {
        self.rings.clone()
    }

    /// Records dropped since it was made.
    pub fn dropped_total(&self) -> u64 {
        self.shared.segment.dropped()
    }

    /// Whether its process registered for expedited barriers.
    pub fn has_membarrier(&self) -> bool {
        self.shared.segment.header().membarrier != 0
    }

    /// Looks whether the process lives and the memory is there, and samples the rate.
    pub(super) fn refresh(&mut self, now: Instant) {
        self.alive = self.shared.segment.alive();
        if self.shared.segment.lost() {
            self.shared.spoiled(CUT_SHORT.into());
        }
        self.samples.push_back((now, self.begun()));
        while self.samples.len() > 2 && self.samples[1].0 + RATE_SPAN < now {
            self.samples.pop_front();
        }
    }

    /// Iterations begun.
    pub fn begun(&self) -> u64 {
        self.shared.segment.status().begun.load(Ordering::Acquire)
    }

    /// Iterations ended.
    pub fn ended(&self) -> u64 {
        self.shared.segment.status().ended.load(Ordering::Acquire)
    }

    /// Whether no iteration runs at this moment.
    pub fn is_between_iterations(&self) -> bool {
        let ended = self.ended();
        ended == self.begun()
    }

    /// Iterations per second, lately.
    pub fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return 0.0 };
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        if seconds > 0.0 { last.1.saturating_sub(first.1) as f64 / seconds } else { 0.0 }
    }

    /// For how long no iteration has begun, as far as it was looked at.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        let begun = self.begun();
        let same = self.samples.iter().rev().take_while(|&&(_, seen)| seen == begun);
        same.last().map_or(Duration::ZERO, |&(then, _)| now.saturating_duration_since(then))
    }

    /// How many iterations began in the last seconds, and in how long.
    pub fn paced(&self, now: Instant) -> (Duration, u64) {
        let Some(&(then, before)) = self.samples.front() else { return (Duration::ZERO, 0) };
        (now.saturating_duration_since(then), self.begun().saturating_sub(before))
    }

    /// What the status block says now.
    pub fn observe(&self) -> Observation {
        let status = self.shared.segment.status();
        // SYNC gate: acquire, so that the facts below are at least as new.
        let gate = gate::split(status.gate.load(Ordering::Acquire));
        // What ended is read first: if as much had begun then, nothing ran.
        let ended = self.ended();
        Observation {
            begun: self.begun(),
            ended,
            gate: gate.unwrap_or((0, State::Idle)),
            facts: copy(&status.facts),
            alive: self.alive,
            exited: status.exited.load(Ordering::Acquire) == 1,
            broken: self.shared.is_spoiled() || gate.is_none(),
            dropped_total: self.shared.segment.dropped(),
            calls: ProfilerCalls::of(status, gate.map_or(0, |(generation, _)| generation)),
        }
    }

    /// What its agent says it can do.
    pub fn abilities(&self) -> Abilities {
        Abilities::of(&self.shared.segment.status().capabilities)
    }

    /// Asks the agent to look again at what it can do; [`Source::has_answered`] tells when it has.
    pub fn probe(&self) {
        self.shared.segment.control().probe.fetch_add(1, Ordering::Release);
        self.shared.segment.wake();
    }

    /// Whether the last [`Source::probe`] was answered.
    pub fn has_answered(&self) -> bool {
        let asked = self.shared.segment.control().probe.load(Ordering::Relaxed);
        // SYNC probe: acquire, so that the answers are at least as new.
        self.shared.segment.status().capabilities.probed.load(Ordering::Acquire) == asked
    }

    /// The leader of `generation` may stop its profiler.
    pub fn release_profiler(&self, generation: u64) {
        self.shared.segment.control().profiler_release.store(generation, Ordering::Release);
        self.shared.segment.wake();
    }

    /// Asks for a window in a generation of its own, which is returned. Does not wake the helper thread.
    pub fn arm(&mut self, window: &Arming) -> u64 {
        self.publish(true, window)
    }

    /// Begins a generation that asks for no window, and returns it: for the events of a process that runs no iterations.
    pub fn begin_generation(&mut self) -> u64 {
        self.publish(false, &NOTHING)
    }

    /// Wants the events of `generation` up to a level, and one request in 2^`request_shift`; 0: none.
    pub fn want_events(&self, generation: u64, level: u64, request_shift: u32) {
        let control = self.shared.segment.control();
        control.level.store(level, Ordering::Relaxed);
        control.request_shift.store(request_shift.into(), Ordering::Relaxed);
        // What the recorder finds behind it is whole.
        control.events.store(generation, Ordering::Release);
    }

    /// Takes back whatever was asked for.
    pub fn withdraw(&mut self) {
        self.publish(false, &NOTHING);
        self.shared.segment.wake();
    }

    fn publish(&mut self, armed: bool, window: &Arming) -> u64 {
        let Arming { first_iteration, last_iteration, profiler, profiler_iteration } = *window;
        let control = self.shared.segment.control();
        // Even, and larger than what a sidecar that died in the middle of this may have left.
        let generation = (control.generation.load(Ordering::Acquire) | 1).wrapping_add(1);
        control.publish(&Parameters {
            generation,
            armed,
            profiler,
            first_iteration,
            last_iteration,
            profiler_iteration,
        });
        generation
    }

    /// Lets the agent go on until `deadline_ns` (CLOCK_MONOTONIC).
    pub fn renew_lease(&self, deadline_ns: u64) {
        self.shared.segment.control().lease_deadline_ns.store(deadline_ns, Ordering::Release);
    }

    /// Orders the window closed at the end of iteration `last`, or never opened if that is before its first one. Only
    /// ever lowers.
    pub fn close_at(&self, last: u64, cause: Cause) {
        let control = self.shared.segment.control();
        if last < control.close_last.load(Ordering::Relaxed) {
            control.close_cause.store(cause as u64, Ordering::Relaxed);
            // SYNC close: pairs with the agent's acquire loads; the cause is there first.
            control.close_last.store(last, Ordering::Release);
        }
        self.shared.segment.wake();
    }

    /// Orders the window of `generation` closed at once, mid-iteration if need be.
    pub fn force_close(&self, generation: u64) {
        self.shared.segment.control().force_close.store(generation, Ordering::Release);
        self.shared.segment.wake();
    }

    /// Wakes the helper thread, so that it sees what was asked.
    pub fn wake(&self) {
        self.shared.segment.wake();
    }

    /// Now, on its clock.
    pub fn anchor(&self) -> Anchor {
        self.shared.anchor()
    }

    /// How fast its clock ticks, by what has passed since it joined; 0 when that is too little to tell.
    pub fn ticks_per_second(&self) -> u64 {
        let (then, now) = (self.shared.segment.header().attach, self.anchor());
        let ns = u128::from(now.monotonic_ns.saturating_sub(then.monotonic_ns));
        let ticks = u128::from(now.ticks.saturating_sub(then.ticks));
        if ns < 1_000_000 { 0 } else { u64::try_from(ticks * 1_000_000_000 / ns).unwrap_or(0) }
    }

    /// Frees every record unread. Not while somebody drains it: then there is no need.
    pub(super) fn discard_backlog(&self) {
        if let Ok(mut rings) = self.rings.try_lock() {
            rings.discard();
        }
    }

    /// Removes its file.
    pub(super) fn unlink(&self) {
        self.shared.segment.unlink();
    }
}

fn copy(facts: &Facts) -> WindowFacts {
    let flags = facts.flags.load(Ordering::Relaxed);
    let anchor = |words: &[std::sync::atomic::AtomicU64; 3]| Anchor {
        ticks: words[0].load(Ordering::Relaxed),
        monotonic_ns: words[1].load(Ordering::Relaxed),
        realtime_ns: words[2].load(Ordering::Relaxed),
    };
    WindowFacts {
        first_iteration: facts.first_iteration.load(Ordering::Relaxed),
        last_iteration: facts.last_iteration.load(Ordering::Relaxed),
        overrun: facts.overrun.load(Ordering::Relaxed),
        cause: Cause::from_word(facts.cause.load(Ordering::Relaxed)),
        mid_iteration: flags & facts::MID_ITERATION != 0,
        overlapped: flags & facts::OVERLAPPED != 0,
        dropped_at_open: facts.dropped_at_open.load(Ordering::Relaxed),
        open: anchor(&facts.open),
        close: anchor(&facts.close),
    }
}
