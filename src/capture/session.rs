//! One capture while it runs: a state machine without clock, thread or memory of others.
//!
//! [`Session::observe`] is told what each rank's status block says and answers with orders; [`Session::stop`] is told
//! that the window is to close, and why. `now_ns` is CLOCK_MONOTONIC. The manager does what the orders say, and ends the
//! session when [`Session::is_over`].

use crate::collector::profiling::ProfilerCalls;
use crate::collector::source::{Observation, SourceId, SourceIdentity, WindowFacts};
use crate::wire::gate::{Cause, State as Gate};

use super::manifest::{ClosedBy, Pace, State};
use super::profiling::Lead;
use super::progress::Kept;
use super::window;

/// How long ranks may take to reach an agreed last iteration before they are closed where they stand.
pub const STOP_PATIENCE_NS: u64 = 2_000_000_000;
/// How long they may take on top of that to answer at all.
pub const FORCE_PATIENCE_NS: u64 = 700_000_000;
/// How long a leader may take to stop its profiler once it is released: a tool writes what it recorded inside that call,
/// which takes nsys seconds on a busy machine.
pub const RELEASE_PATIENCE_NS: u64 = 60_000_000_000;
/// A group in which nothing began for this long counts as idle.
pub const IDLE_NS: u64 = 20_000_000;

/// Limits of one capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest window.
    pub duration_ns: u64,
    /// Longest wait for it to open.
    pub wait_ns: u64,
    /// Most records; 0: no limit.
    pub events: u64,
    /// Most bytes in fragments; 0: no limit.
    pub bytes: u64,
}

/// A group's window.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its job and name.
    pub key: (String, String),
    /// What was agreed.
    pub opening: window::Opening,
    /// Last iteration; `None` while open-ended.
    pub last_iteration: Option<u64>,
    /// How many openings were withdrawn.
    pub withdrawn: u32,
    /// Ranks it should have; 0: not known.
    pub world_size: u32,
    /// Ranks it should have that were not attached.
    pub missing_ranks: Vec<u32>,
    begun: u64,
    begun_at_ns: u64,
}

/// How one rank stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its first iteration is not reached.
    Waiting,
    /// Its window is open.
    Open,
    /// Its window is closed; the facts are final.
    Closed,
    /// It saw the window too late.
    Missed,
    /// Its window was called off before it opened.
    Cancelled,
    /// Its process died, its memory is gone, or it did not answer.
    Gone(ClosedBy),
}

impl Phase {
    fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Open)
    }
}

/// One rank of the session.
#[derive(Debug, Clone)]
pub struct Rank {
    /// Its segment.
    pub source: SourceId,
    /// Who it is.
    pub identity: SourceIdentity,
    /// Index of its group.
    pub group: usize,
    /// The generation its window was asked for in.
    pub generation: u64,
    /// How it stands.
    pub phase: Phase,
    /// What its window did, as far as it is known.
    pub facts: Option<WindowFacts>,
    /// Iterations recorded, first and last number among them.
    pub recorded: (u64, u64, u64),
    /// All records kept.
    pub records: u64,
    /// Records dropped in the window.
    pub dropped: u64,
    /// Records that died with a sidecar.
    pub lost: u64,
    /// How fast it stepped before anything was switched on.
    pub pace_before: Option<Pace>,
    /// What it does for its tool's session.
    pub lead: Lead,
    /// What its profiler did.
    pub calls: ProfilerCalls,
}

/// What the manager is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Lower the last iteration of this rank's window.
    CloseAt {
        /// Index of the rank.
        rank: usize,
        /// The last iteration.
        last: u64,
        /// Why.
        cause: Cause,
    },
    /// This rank leads its tool's session, in which every window is closed: it may stop the profiler.
    ReleaseProfiler {
        /// Index of the rank.
        rank: usize,
    },
    /// Close this rank's window where it stands.
    ForceClose {
        /// Index of the rank.
        rank: usize,
    },
}

#[derive(Debug, Clone, Copy)]
struct Stop {
    by: ClosedBy,
    at_ns: u64,
    ordered: bool,
    forced: bool,
}

/// The running capture.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its groups.
    pub groups: Vec<Group>,
    /// Its ranks.
    pub ranks: Vec<Rank>,
    limits: Limits,
    accepted_ns: u64,
    absent_until_ns: u64,
    opened_ns: Option<u64>,
    began: bool,
    stop: Option<Stop>,
    bytes: u64,
    /// Since when every rank is through and only profilers run.
    through_ns: Option<u64>,
    /// Leaders are not waited for any longer.
    given_up: bool,
}

impl Group {
    /// A group whose opening was agreed.
    pub fn new(
        key: (String, String),
        opening: window::Opening,
        last_iteration: Option<u64>,
        withdrawn: u32,
        world_size: u32,
        missing_ranks: Vec<u32>,
        begun: u64,
    ) -> Self {
        Self { key, opening, last_iteration, withdrawn, world_size, missing_ranks, begun, begun_at_ns: 0 }
    }

    /// The largest iteration that any of its ranks has begun, when they were last looked at.
    pub fn begun(&self) -> u64 {
        self.begun
    }
}

impl Session {
    /// A session in which every rank has just been armed.
    pub fn new(groups: Vec<Group>, ranks: Vec<Rank>, limits: Limits, now_ns: u64) -> Self {
        Self {
            groups,
            ranks,
            limits,
            accepted_ns: now_ns,
            absent_until_ns: 0,
            opened_ns: None,
            began: false,
            stop: None,
            bytes: 0,
            through_ns: None,
            given_up: false,
        }
    }

    /// Until then a rank that is not there may still come: the sidecar that had it may only just have died.
    pub fn expect_absent_until(&mut self, now_ns: u64) {
        self.absent_until_ns = now_ns;
    }

    /// What is kept of each rank by now.
    pub fn kept(&mut self, kept: &[Kept]) {
        self.bytes = kept.iter().map(|k| k.bytes).sum();
        for (rank, kept) in self.ranks.iter_mut().zip(kept) {
            (rank.records, rank.recorded, rank.lost) = (kept.records, kept.iterations, kept.lost);
        }
    }

    /// Bytes were kept that are no rank's; said behind [`Self::kept`].
    pub fn kept_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Bytes written to fragments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All records kept.
    pub fn records(&self) -> u64 {
        self.ranks.iter().map(|r| r.records).sum()
    }

    /// Why it is being stopped, if it is.
    pub fn stopped_by(&self) -> Option<ClosedBy> {
        self.stop.map(|s| s.by)
    }

    /// Every rank has reached its end, and no profiler runs any more.
    pub fn is_over(&self) -> bool {
        self.is_through() && (self.given_up || !self.ranks.iter().any(profiles))
    }

    fn is_through(&self) -> bool {
        self.ranks.iter().all(|r| r.phase.is_final())
    }

    /// It is over, or its windows are about to close. Not while they are closed and a profiler still runs: a tool may write
    /// for a minute.
    pub fn is_ending(&self) -> bool {
        self.is_over() || self.stop.is_some() && !self.is_through()
    }

    /// It is over, and no window ever opened.
    pub fn is_cancelled(&self) -> bool {
        self.ranks.iter().all(|r| r.phase == Phase::Cancelled)
    }

    /// Releases leaders whose session's windows are all closed, and gives up those that do not stop.
    fn release(&mut self, now_ns: u64) -> Vec<Order> {
        if self.is_through() {
            let through = *self.through_ns.get_or_insert(now_ns);
            self.given_up = now_ns.saturating_sub(through) >= RELEASE_PATIENCE_NS;
        }
        let waits = |leader: &Rank| {
            let session = |r: &&Rank| r.identity.tool_session == leader.identity.tool_session;
            self.ranks.iter().filter(session).all(|r| r.phase.is_final())
        };
        let released = |(_, r): &(usize, &Rank)| r.lead.shared && profiles(r) && waits(r);
        let ranks = self.ranks.iter().enumerate().filter(released);
        ranks.map(|(rank, _)| Order::ReleaseProfiler { rank }).collect()
    }

    /// Where the capture stands, as long as it is not over.
    pub fn state(&self) -> State {
        if self.is_over() {
            State::Draining
        } else if self.ranks.iter().any(|r| !matches!(r.phase, Phase::Waiting | Phase::Missed | Phase::Cancelled)) {
            State::Recording
        } else if self.began {
            State::Delaying
        } else {
            State::Armed
        }
    }

    /// Every window is open and has been for a while, and no end is near: nobody asked for one, and no limit is reached
    /// within `soon_ns` at these rates.
    pub fn is_steady(&self, now_ns: u64, rates: &[f64], soon_ns: u64) -> bool {
        let Limits { duration_ns, events, bytes, .. } = self.limits;
        let Some(open_ns) = self.opened_ns.map(|opened| now_ns.saturating_sub(opened)) else { return false };
        let goes_on = |(index, group): (usize, &Group)| {
            let soon = rates.get(index).copied().unwrap_or(0.0) * soon_ns as f64 / 1e9;
            group.last_iteration.is_none_or(|last| last.saturating_sub(group.begun) as f64 > soon + 1.0)
        };
        self.stop.is_none()
            && self.ranks.iter().all(|r| r.phase == Phase::Open)
            && (soon_ns..duration_ns.saturating_sub(soon_ns)).contains(&open_ns)
            && self.groups.iter().enumerate().all(goes_on)
            && (events == 0 || self.records() < events / 2)
            && (bytes == 0 || self.bytes < bytes / 2)
    }

    /// The window is to close. Only the first call counts.
    pub fn stop(&mut self, by: ClosedBy, now_ns: u64) {
        if self.stop.is_none() {
            self.stop = Some(Stop { by, at_ns: now_ns, ordered: false, forced: false });
        }
    }

    /// What the ranks' status blocks say now (`None`: the source is gone), and how fast each group runs.
    pub fn observe(&mut self, now_ns: u64, seen: &[Option<Observation>], rates: &[f64]) -> Vec<Order> {
        if now_ns < self.absent_until_ns && seen.iter().any(Option::is_none) {
            return Vec::new();
        }
        for (rank, seen) in self.ranks.iter_mut().zip(seen) {
            advance(rank, seen.as_ref());
        }
        for (index, group) in self.groups.iter_mut().enumerate() {
            let begun = largest_begun(&self.ranks, seen, index);
            if begun > group.begun {
                self.began = true;
                (group.begun, group.begun_at_ns) = (begun, now_ns);
            }
        }
        if self.opened_ns.is_none() && self.ranks.iter().any(|r| r.facts.is_some()) {
            self.opened_ns = Some(now_ns);
        }
        self.apply_limits(now_ns);
        let mut orders = self.close(now_ns, seen, rates);
        orders.append(&mut self.release(now_ns));
        orders
    }

    fn apply_limits(&mut self, now_ns: u64) {
        let Limits { duration_ns, wait_ns, events, bytes } = self.limits;
        match self.opened_ns {
            Some(opened) if now_ns.saturating_sub(opened) >= duration_ns => self.stop(ClosedBy::MaxDuration, now_ns),
            None if now_ns.saturating_sub(self.accepted_ns) >= wait_ns => self.stop(ClosedBy::MaxWait, now_ns),
            _ => {}
        }
        if events > 0 && self.records() >= events {
            self.stop(ClosedBy::MaxEvents, now_ns);
        }
        if bytes > 0 && self.bytes >= bytes {
            self.stop(ClosedBy::MaxBytes, now_ns);
        }
    }

    fn close(&mut self, now_ns: u64, seen: &[Option<Observation>], rates: &[f64]) -> Vec<Order> {
        let mut orders = Vec::new();
        let Some(mut stop) = self.stop else { return orders };
        let waited = now_ns.saturating_sub(stop.at_ns);
        let cause = wire_cause(stop.by);
        for (index, group) in self.groups.iter_mut().enumerate() {
            let members: Vec<usize> = (0..self.ranks.len()).filter(|&i| self.ranks[i].group == index).collect();
            if members.iter().all(|&i| self.ranks[i].phase.is_final()) {
                continue;
            }
            let running = members.iter().filter_map(|&i| seen[i].as_ref()).any(|o| o.alive && o.begun != o.ended);
            let idle = !running && now_ns.saturating_sub(group.begun_at_ns) >= IDLE_NS;
            let ahead = window::ahead_of_closing(idle, rates.get(index).copied().unwrap_or(0.0));
            let first = group.opening.first_iteration;
            let last = window::closing(first, group.last_iteration, group.begun, idle, ahead)
                .unwrap_or(first.saturating_sub(1));
            // The first order of a stop, then only a group that went idle short of it: never raised.
            if !stop.ordered || idle && group.last_iteration.is_none_or(|agreed| last < agreed) {
                group.last_iteration = Some(last);
                orders.extend(members.iter().map(|&rank| Order::CloseAt { rank, last, cause }));
            }
            let called_off = group.last_iteration.is_some_and(|last| last < first);
            for &i in &members {
                let rank = &mut self.ranks[i];
                if rank.phase == Phase::Waiting && (called_off || waited >= STOP_PATIENCE_NS + FORCE_PATIENCE_NS) {
                    // A rank whose records are there was open, whatever its gate says by now (a capture that was taken up).
                    rank.phase = if rank.recorded.0 > 0 { Phase::Gone(ClosedBy::Lost) } else { Phase::Cancelled };
                }
                if rank.phase == Phase::Open && waited >= STOP_PATIENCE_NS {
                    if !stop.forced {
                        orders.push(Order::ForceClose { rank: i });
                    }
                    if waited >= STOP_PATIENCE_NS + FORCE_PATIENCE_NS {
                        rank.phase = Phase::Gone(ClosedBy::Lost);
                    }
                }
            }
        }
        stop.ordered = true;
        stop.forced |= waited >= STOP_PATIENCE_NS;
        self.stop = Some(stop);
        orders
    }
}

fn largest_begun(ranks: &[Rank], seen: &[Option<Observation>], group: usize) -> u64 {
    let of_group = ranks.iter().zip(seen).filter(|(r, _)| r.group == group);
    of_group.filter_map(|(_, o)| o.as_ref()).map(|o| o.begun).max().unwrap_or(0)
}

/// Whether its profiler is on, as far as can be seen.
fn profiles(rank: &Rank) -> bool {
    rank.lead.leads
        && rank.calls.running
        && !matches!(rank.phase, Phase::Gone(ClosedBy::Died | ClosedBy::Exit | ClosedBy::Lost))
}

/// Moves one rank on, by what its status block says.
fn advance(rank: &mut Rank, seen: Option<&Observation>) {
    if let Some(seen) = seen.filter(|s| s.gate.0 == rank.generation) {
        rank.calls = seen.calls;
    }
    if rank.phase.is_final() {
        return;
    }
    let Some(seen) = seen else {
        rank.phase = Phase::Gone(ClosedBy::Died);
        return;
    };
    if seen.gate.0 == rank.generation {
        match seen.gate.1 {
            Gate::Open => {
                rank.phase = Phase::Open;
                rank.facts = Some(seen.facts);
                rank.dropped = seen.dropped_total.wrapping_sub(seen.facts.dropped_at_open);
            }
            Gate::Closed => {
                let opened = seen.facts.open != crate::trace::event::Anchor::default();
                rank.phase = match seen.facts.cause {
                    Cause::Missed => Phase::Missed,
                    Cause::Lease if !opened => Phase::Gone(ClosedBy::Lease),
                    _ if seen.facts.last_iteration < seen.facts.first_iteration => Phase::Cancelled,
                    _ => Phase::Closed,
                };
                if opened {
                    rank.facts = Some(seen.facts);
                    rank.dropped = seen.dropped_total.wrapping_sub(seen.facts.dropped_at_open);
                }
                return;
            }
            Gate::Idle | Gate::Armed | Gate::Opening | Gate::Closing => {}
        }
    }
    if seen.broken {
        rank.phase = Phase::Gone(ClosedBy::Lost);
    } else if !seen.alive {
        rank.phase = Phase::Gone(if seen.exited { ClosedBy::Exit } else { ClosedBy::Died });
    }
}

fn wire_cause(by: ClosedBy) -> Cause {
    match by {
        ClosedBy::MaxDuration => Cause::MaxDuration,
        ClosedBy::MaxEvents => Cause::MaxEvents,
        ClosedBy::MaxBytes => Cause::MaxBytes,
        ClosedBy::Shutdown => Cause::Shutdown,
        ClosedBy::Failed => Cause::Failed,
        ClosedBy::Lease | ClosedBy::SidecarDied => Cause::Lease,
        _ => Cause::Stop,
    }
}
