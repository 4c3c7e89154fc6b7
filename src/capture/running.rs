//! A capture while it runs, with its hands: the session's state machine, the sources it orders about, the fragments it
//! fills, the manifest it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::collector::source::{Drained, Observation, Source, SourceId};
use crate::trace::event::Event;
use crate::trace::fragment::{FragmentError, FragmentIdentity, FragmentWriter};
use crate::wire::clock::monotonic_ns;
use crate::wire::layout::NONE;
use crate::wire::membarrier;

use super::manifest::{CaptureId, ClosedBy, Manifest, State};
use super::report;
use super::request::{Begin, Profiler, StartError};
use super::session::{Group, Limits, Order, Phase, Rank, Session};
use super::store::Store;
use super::window::{self, Opening};

/// Records in one turn from which on turns follow as closely as they can: a quarter of the smallest ring.
const BUSY_RECORDS: u64 = 32;
/// Openings that are offered before a start is given up.
const ATTEMPTS: u32 = 8;
/// A group in which nothing runs or begins for this long is idle, and opens at its very next iteration. Being wrong does
/// no harm: the opening is then withdrawn and agreed anew.
const QUIET: Duration = Duration::from_millis(20);
const QUIET_LOOK: Duration = Duration::from_millis(2);

/// What a start comes down to, with every default filled in.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub begin: Begin,
    pub max_iterations: u64,
    pub profiler: Profiler,
    pub limits: Limits,
    pub lease: Duration,
    pub sources: Vec<SourceId>,
    /// The ranks asked for; `None`: all.
    pub ranks: Option<Vec<u32>>,
}

/// The running capture.
#[derive(Debug)]
pub(super) struct Running {
    pub session: Session,
    manifest: Manifest,
    fragments: BTreeMap<SourceId, FragmentWriter>,
    failed: Option<String>,
    /// Records that the last turn fetched.
    fetched: u64,
    lease: Duration,
    saved_state: State,
}

impl Running {
    /// Agrees with every group on a window, and makes the files.
    pub(super) fn start(
        collector: &mut Collector,
        store: &Store,
        plan: &Plan,
        mut manifest: Manifest,
    ) -> Result<Self, StartError> {
        let mut groups: BTreeMap<(String, String), Vec<SourceId>> = BTreeMap::new();
        for source in collector.sources().iter().filter(|s| plan.sources.contains(&s.id())) {
            let id = source.identity();
            groups.entry((id.job.clone(), id.group.clone())).or_default().push(source.id());
        }
        let lease_ns = monotonic_ns().saturating_add(plan.lease.as_nanos() as u64);
        let (mut agreed, mut ranks) = (Vec::new(), Vec::new());
        let idle = idle_groups(collector, &groups);
        for ((key, members), idle) in groups.into_iter().zip(idle) {
            let index = agreed.len();
            match agree(collector, &key, &members, idle, plan, lease_ns) {
                Ok((group, mut members)) => {
                    members.iter_mut().for_each(|r| r.group = index);
                    agreed.push(group);
                    ranks.append(&mut members);
                }
                Err(error) => {
                    withdraw(collector, plan.sources.iter().copied());
                    return Err(error);
                }
            }
        }
        let session = Session::new(agreed, ranks, plan.limits, monotonic_ns());
        report::update(&mut manifest, &session);
        let made = make_files(collector, store, &manifest, &session);
        let fragments = match made {
            Ok(fragments) => fragments,
            Err(reason) => {
                withdraw(collector, plan.sources.iter().copied());
                let _ = store.delete(&manifest.capture_id);
                return Err(StartError::Store(reason));
            }
        };
        for source in collector.sources().iter().filter(|s| plan.sources.contains(&s.id())) {
            source.wake();
        }
        Ok(Self::new(session, manifest, fragments, plan.lease))
    }

    /// A session with its hands: one that was just agreed on, or one that a sidecar that died had running.
    pub(super) fn new(
        session: Session,
        manifest: Manifest,
        fragments: BTreeMap<SourceId, FragmentWriter>,
        lease: Duration,
    ) -> Self {
        let saved_state = manifest.state;
        Self { session, manifest, fragments, failed: None, fetched: 0, lease, saved_state }
    }

    /// Whether records come so fast that the next turn should follow soon.
    pub(super) fn is_busy(&self) -> bool {
        self.fetched >= BUSY_RECORDS
    }

    /// Which capture it is.
    pub(super) fn id(&self) -> &CaptureId {
        &self.manifest.capture_id
    }

    /// Whether it needs this source.
    pub(super) fn uses(&self, id: SourceId) -> bool {
        self.session.ranks.iter().any(|r| r.source == id)
    }

    /// Lets the agents go on.
    pub(super) fn renew_lease(&self, collector: &mut Collector) {
        let deadline = monotonic_ns().saturating_add(self.lease.as_nanos() as u64);
        for rank in &self.session.ranks {
            if let Some(source) = collector.get_mut(rank.source) {
                source.renew_lease(deadline);
            }
        }
    }

    /// The window is to close.
    pub(super) fn stop(&mut self, by: ClosedBy) {
        self.session.stop(by, monotonic_ns());
    }

    /// One turn: look, order, fetch. Returns whether the capture is over.
    pub(super) fn turn(&mut self, collector: &mut Collector, store: &Store) -> bool {
        let now_ns = monotonic_ns();
        let seen: Vec<Option<Observation>> =
            self.session.ranks.iter().map(|r| collector.get_mut(r.source).map(|s| s.observe())).collect();
        let rates = self.rates(collector);
        for order in self.session.observe(now_ns, &seen, &rates) {
            self.carry_out(collector, order);
        }
        // Looked first and fetched then: what a closed window recorded is in the rings.
        self.drain(collector);
        let over = self.session.is_over();
        if self.session.state() != self.saved_state && self.failed.is_none() {
            self.saved_state = self.session.state();
            self.refresh();
            if let Err(error) = store.save(&self.manifest) {
                self.fail(format!("the manifest could not be written: {error}"));
            }
        }
        over
    }

    /// Brings the manifest up to date. Not every turn: there are a thousand a second.
    pub(super) fn refresh(&mut self) -> Arc<Manifest> {
        self.manifest.state = self.session.state();
        report::update(&mut self.manifest, &self.session);
        Arc::new(self.manifest.clone())
    }

    fn rates(&self, collector: &Collector) -> Vec<f64> {
        let mut rates = vec![0.0f64; self.session.groups.len()];
        for rank in &self.session.ranks {
            if let Some(source) = collector.sources().iter().find(|s| s.id() == rank.source) {
                rates[rank.group] = rates[rank.group].max(source.rate());
            }
        }
        rates
    }

    fn carry_out(&mut self, collector: &mut Collector, order: Order) {
        match order {
            Order::CloseAt { rank, last, cause } => {
                if let Some(source) = collector.get_mut(self.session.ranks[rank].source) {
                    source.close_at(last, cause);
                }
            }
            Order::ForceClose { rank } => {
                let rank = &self.session.ranks[rank];
                if let Some(source) = collector.get_mut(rank.source) {
                    source.force_close(rank.generation);
                }
            }
        }
    }

    fn drain(&mut self, collector: &mut Collector) {
        let Self { session, fragments, failed, fetched, .. } = self;
        *fetched = 0;
        let mut problem = None;
        for index in 0..session.ranks.len() {
            let (id, generation) = (session.ranks[index].source, session.ranks[index].generation);
            let Some(source) = collector.get_mut(id) else { continue };
            let fragment = fragments.get_mut(&id).filter(|_| failed.is_none());
            let Some(fragment) = fragment else {
                // Nowhere to put them: the engine's rings must not fill up for that.
                let _ = source.drain(None, |_| Ok::<_, std::convert::Infallible>(()));
                continue;
            };
            let written = source.drain(Some(generation), |d: &Drained<'_>| {
                let fresh = fragment.unwritten(d.ring, d.first_index, d.events);
                let bytes = fragment.write_block(d.ring, d.first_index, d.events, d.anchor, d.dropped_total)?;
                session.kept(index, fresh.len() as u64, iterations_of(fresh), bytes);
                Ok::<_, FragmentError>(())
            });
            *fetched += written.as_ref().map_or(0, |records| *records);
            if let Err(error) = written {
                problem.get_or_insert_with(|| error.to_string());
            }
        }
        if let Some(problem) = problem {
            self.fail(problem);
        }
    }

    fn fail(&mut self, reason: String) {
        if self.failed.is_none() {
            tracing::error!(capture = %self.manifest.capture_id, reason, "capture failed");
            self.failed = Some(reason);
            self.stop(ClosedBy::Failed);
        }
    }

    /// Ends it: the last anchors are written, nothing stays armed, the manifest says what came out.
    pub(super) fn finish(mut self, collector: &mut Collector, store: &Store) -> Manifest {
        for rank in &self.session.ranks {
            if let Some(source) = collector.get_mut(rank.source)
                && let Some(fragment) = self.fragments.get_mut(&rank.source)
                && self.failed.is_none()
            {
                let (anchor, dropped) = (source.anchor(), source.dropped_total());
                if let Err(error) = fragment.write_block(0, 0, &[], anchor, dropped) {
                    self.failed = Some(error.to_string());
                }
            }
        }
        let opened = self.session.ranks.iter().any(|r| r.phase != Phase::Cancelled);
        let manifest = &mut self.manifest;
        report::update(manifest, &self.session);
        if let Some(reason) = self.failed {
            manifest.state = State::Failed;
            manifest.closed_by = Some(ClosedBy::Failed);
            manifest.reason = Some(reason);
        } else if opened {
            manifest.state = State::Exporting;
            report::judge(manifest, &self.session);
        } else {
            manifest.state = State::Cancelled;
        }
        if let Err(error) = store.save(manifest) {
            manifest.state = State::Failed;
            manifest.reason.get_or_insert_with(|| format!("the manifest could not be written: {error}"));
        }
        // Last of all: until the manifest is safe, a sidecar that finishes this in our stead needs what the gates say.
        withdraw(collector, self.session.ranks.iter().map(|r| r.source));
        self.manifest
    }
}

fn iterations_of(events: &[Event]) -> Option<(u64, u64, u64)> {
    let numbers = events.iter().filter_map(|e| match e {
        Event::Iteration(i) => Some(i.iteration),
        _ => None,
    });
    numbers.fold(None, |seen, n| {
        Some(seen.map_or((1, n, n), |(count, first, last): (u64, u64, u64)| (count + 1, first.min(n), last.max(n))))
    })
}

fn withdraw(collector: &mut Collector, sources: impl IntoIterator<Item = SourceId>) {
    for id in sources {
        if let Some(source) = collector.get_mut(id) {
            source.withdraw();
        }
    }
}

/// Offers openings to one group until one holds: written to every rank, seen for certain, and not yet reached by any.
fn agree(
    collector: &mut Collector,
    key: &(String, String),
    members: &[SourceId],
    idle: bool,
    plan: &Plan,
    lease_ns: u64,
) -> Result<(Group, Vec<Rank>), StartError> {
    for attempt in 0..ATTEMPTS {
        let mut sources: Vec<&mut Source> =
            collector.sources_mut().iter_mut().filter(|s| members.contains(&s.id())).collect();
        sources.sort_by_key(|s| (s.identity().rank, s.identity().pid));
        let begun = largest_begun(sources.iter().map(|s| &**s));
        let rate = sources.iter().map(|s| s.rate()).fold(0.0, f64::max);
        let ahead = window::ahead(idle, rate, attempt);
        let opening = window::opening(plan.begin, begun, ahead).map_err(|past| StartError::Past {
            requested: if let Begin::At(at) = plan.begin { at } else { 0 },
            group: key.1.clone(),
            job: key.0.clone(),
            next: past.next,
        })?;
        let last = window::last(opening.first_iteration, plan.max_iterations);
        let mut ranks = Vec::new();
        for source in &mut sources {
            source.renew_lease(lease_ns);
            let generation = source.arm(opening.first_iteration, last.unwrap_or(NONE));
            ranks.push(new_rank(source, generation));
        }
        membarrier::heavy(sources.iter().all(|s| s.has_membarrier()));
        if sources.iter().all(|s| s.begun() < opening.first_iteration) {
            return Ok((new_group(key, opening, last, attempt, &sources, plan, begun), ranks));
        }
    }
    Err(StartError::NotAgreed(ATTEMPTS))
}

fn largest_begun<'a>(sources: impl Iterator<Item = &'a Source>) -> u64 {
    sources.map(Source::begun).max().unwrap_or(0)
}

/// Looks for a moment, at all groups at once, in which of them nothing runs and nothing begins.
fn idle_groups(collector: &Collector, groups: &BTreeMap<(String, String), Vec<SourceId>>) -> Vec<bool> {
    let of = |ids: &Vec<SourceId>| collector.sources().iter().filter(|s| ids.contains(&s.id())).collect();
    let members: Vec<Vec<&Source>> = groups.values().map(of).collect();
    let begun: Vec<u64> = members.iter().map(|m| largest_begun(m.iter().copied())).collect();
    let mut idle = vec![true; members.len()];
    let began = Instant::now();
    loop {
        for (idle, (sources, begun)) in idle.iter_mut().zip(members.iter().zip(&begun)) {
            let quiet = sources.iter().all(|s| s.is_between_iterations());
            *idle &= quiet && largest_begun(sources.iter().copied()) == *begun;
        }
        if !idle.contains(&true) || began.elapsed() >= QUIET {
            return idle;
        }
        std::thread::sleep(QUIET_LOOK);
    }
}

fn new_group(
    key: &(String, String),
    opening: Opening,
    last: Option<u64>,
    withdrawn: u32,
    sources: &[&mut Source],
    plan: &Plan,
    begun: u64,
) -> Group {
    let world_size = sources.iter().map(|s| s.identity().world_size).max().unwrap_or(0);
    let present: BTreeSet<u32> = sources.iter().map(|s| s.identity().rank).collect();
    // A world size is a stranger's word: no list as long as it likes. Ranks that nobody asked for are not missing.
    let wanted = (0..world_size.min(65_536)).filter(|r| plan.ranks.as_ref().is_none_or(|ranks| ranks.contains(r)));
    let missing_ranks = wanted.filter(|r| !present.contains(r)).collect();
    Group::new(key.clone(), opening, last, withdrawn, world_size, missing_ranks, begun)
}

fn new_rank(source: &Source, generation: u64) -> Rank {
    Rank {
        source: source.id(),
        identity: source.identity().clone(),
        group: 0,
        generation,
        phase: Phase::Waiting,
        facts: None,
        recorded: (0, 0, 0),
        records: 0,
        dropped: 0,
    }
}

fn make_files(
    collector: &mut Collector,
    store: &Store,
    manifest: &Manifest,
    session: &Session,
) -> Result<BTreeMap<SourceId, FragmentWriter>, String> {
    store.create(&manifest.capture_id).map_err(|e| e.to_string())?;
    let mut fragments = BTreeMap::new();
    for rank in &session.ranks {
        let Some(source) = collector.get_mut(rank.source) else { continue };
        let path = store.fragments(&manifest.capture_id).join(format!("{:016x}.frag", rank.source.0));
        let identity = FragmentIdentity {
            capture_id: manifest.capture_id.0.clone(),
            job: rank.identity.job.clone(),
            group: rank.identity.group.clone(),
            rank: rank.identity.rank,
            world_size: rank.identity.world_size,
            label: rank.identity.label.clone(),
            engine: rank.identity.engine.clone(),
            pid: rank.identity.pid,
            role: "rank".into(),
            segment_instance: rank.source.0,
            generation: rank.generation,
            first_iteration: session.groups[rank.group].opening.first_iteration,
            ticks_per_second: source.ticks_per_second(),
        };
        let mut fragment = FragmentWriter::create(&path, &identity).map_err(|e| e.to_string())?;
        let (anchor, dropped) = (source.anchor(), source.dropped_total());
        fragment.write_block(0, 0, &[], anchor, dropped).map_err(|e| e.to_string())?;
        fragments.insert(rank.source, fragment);
    }
    store.save(manifest).map_err(|e| e.to_string())?;
    Ok(fragments)
}
