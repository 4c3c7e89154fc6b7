//! A capture while it runs, with its hands: the session's state machine, the sources it orders about, the manifest it
//! keeps. What goes to the disk goes by way of [`super::files`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::collector::source::{Observation, Source, SourceId};
use crate::wire::clock::{monotonic_ns, realtime_ns};

use super::agree::{agree, look_at};
use super::beside::counters::CounterQueue;
use super::beside::passed::PassedQueue;
use super::events::{self, Events};
use super::files::{Begin, Job};
use super::handle::Shared;
use super::manifest::{CaptureId, ClosedBy, Manifest, State};
use super::memory::Memory;
use super::native::driving::Driving;
use super::pace;
use super::plan::Plan;
use super::progress::{Kept, Progress};
use super::report;
use super::request::StartError;
use super::session::{Order, Session};
use super::to_record::to_record;

/// What is nearer than this keeps turns short.
const SOON_NS: u64 = 100_000_000;
/// Where the one that writes looks more often than this, records come too fast for us to look seldom: it may stall.
const WRITERS_TURN: Duration = Duration::from_millis(10);

/// The running capture.
#[derive(Debug)]
pub(super) struct Running {
    session: Session,
    manifest: Manifest,
    progress: Arc<Progress>,
    lease: Duration,
    /// What the manifest on the disk says.
    saved: (State, &'static str),
    /// Its files are there.
    begun: bool,
    /// The last job was given.
    finishing: bool,
    /// Nothing more can be written.
    failed: bool,
    /// Ranks of a capture that was taken up whose rings nobody drains yet.
    detached: BTreeSet<usize>,
    /// Where GPUs' values are handed in, while the window is open.
    counters: Counters,
    /// Where requests that pass through the sidecar are handed in, unless nobody wants events.
    passed: Option<Arc<PassedQueue>>,
    /// What else is asked of the engine's processes.
    events: Events,
    /// Memory for records that the disk does not take.
    memory: Memory,
    /// How fast its ranks stepped before is known, as far as it can be.
    is_paced: bool,
    /// Nothing is to happen soon, as far as can be seen.
    is_calm: bool,
    /// The engine's own profiler.
    driving: Driving,
}

/// Whether the window was announced to whoever samples.
#[derive(Debug)]
enum Counters {
    Waiting(Arc<CounterQueue>),
    Open(Arc<CounterQueue>),
    Over,
}

impl Running {
    /// Agrees with every group on a window. What the disk is to hold of it is the second half.
    pub(super) fn start(
        collector: &mut Collector,
        plan: &Plan,
        mut manifest: Manifest,
        shared: &Shared,
    ) -> Result<(Self, Begin), StartError> {
        let mut groups: BTreeMap<(String, String), Vec<SourceId>> = BTreeMap::new();
        for source in collector.sources().iter().filter(|s| plan.sources.contains(&s.id())) {
            let id = source.identity();
            groups.entry((id.job.clone(), id.group.clone())).or_default().push(source.id());
        }
        let lease_ns = monotonic_ns().saturating_add(plan.lease.as_nanos() as u64);
        let (mut agreed, mut ranks) = (Vec::new(), Vec::new());
        let looks = look_at(collector, &groups, plan.profiling.profiler);
        for ((key, members), look) in groups.into_iter().zip(looks) {
            let index = agreed.len();
            match agree(collector, &key, &members, look, plan, lease_ns) {
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
        for source in collector.sources().iter().filter(|s| plan.sources.contains(&s.id())) {
            source.wake();
        }
        let mut session = Session::new(agreed, ranks, plan.limits, monotonic_ns());
        (manifest.held, manifest.agreed_at_ns) = (false, Some(realtime_ns()));
        report::update(&mut manifest, &session);
        let mut events = Events::new(plan.level, collector, &session);
        let ranks = to_record(collector, &manifest.capture_id, &session, &events);
        let progress = Arc::new(Progress::new(vec![Kept::default(); ranks.len()]));
        let sources: Vec<SourceId> = events.sources().map(|(id, _)| id).collect();
        for id in sources {
            if let Some(source) = collector.get_mut(id) {
                source.renew_lease(lease_ns);
            }
        }
        // The window may open with the very next iteration.
        let rates = rates(collector, &session);
        let is_paced = events::is_near(collector, &session, &rates);
        if is_paced {
            pace(collector, &mut session);
        }
        events.turn(monotonic_ns(), collector, &session, &rates, false);
        let windows = shared.counters.windows();
        let was_held = plan.was_held;
        let begin = Begin { manifest: manifest.clone(), was_held, ranks, progress: progress.clone(), windows };
        let waiting = Counters::Waiting(shared.counters.clone());
        let passed = (!events.is_nobody()).then(|| shared.passed.clone());
        let new = Self::new(session, manifest, progress, plan.lease, plan.buffer_bytes);
        Ok((Self { counters: waiting, passed, events, is_paced, ..new }, begin))
    }

    fn new(session: Session, manifest: Manifest, progress: Arc<Progress>, lease: Duration, buffer_bytes: u64) -> Self {
        Self {
            saved: (manifest.state, ""),
            session,
            manifest,
            progress,
            lease,
            begun: false,
            finishing: false,
            failed: false,
            detached: BTreeSet::new(),
            counters: Counters::Over,
            passed: None,
            events: Events::none(),
            memory: Memory::new(buffer_bytes),
            is_paced: false,
            is_calm: false,
            driving: Driving::nobody(),
        }
    }

    /// One that a sidecar that died had running.
    pub(super) fn resumed(
        (session, manifest, progress): (Session, Manifest, Arc<Progress>),
        lease: Duration,
        buffer_bytes: u64,
        driving: Driving,
    ) -> Self {
        let detached = (0..session.ranks.len()).collect();
        let new = Self::new(session, manifest, progress, lease, buffer_bytes);
        Self { begun: true, is_paced: true, detached, driving, ..new }
    }

    /// The engine's own profiler is to cover the window too.
    pub(super) fn drive(&mut self, driving: Driving) {
        self.driving = driving;
        self.driving.tell(&mut self.manifest);
    }

    /// The start may be answered: an idle engine has said whether its own profiler starts, or is not asked.
    pub(super) fn may_be_answered(&self) -> bool {
        !self.driving.is_pressing(&self.session)
    }

    /// Its folder and its manifest are there.
    pub(super) fn has_begun(&mut self) {
        self.begun = true;
    }

    /// Whether callers know of it: its start was answered.
    pub(super) fn is_known(&self) -> bool {
        self.begun
    }

    /// Its ranks, in the manifest's order.
    pub(super) fn ranks(&self) -> Vec<SourceId> {
        self.session.ranks.iter().map(|rank| rank.source).collect()
    }

    /// Which capture it is.
    pub(super) fn id(&self) -> &CaptureId {
        &self.manifest.capture_id
    }

    /// Whether it needs this source.
    pub(super) fn uses(&self, id: SourceId) -> bool {
        self.session.ranks.iter().any(|r| r.source == id) || self.events.uses(id)
    }

    /// It is over, and no window ever opened.
    pub(super) fn is_cancelled(&self) -> bool {
        self.session.is_cancelled()
    }

    /// Lets the agents go on.
    pub(super) fn renew_lease(&self, collector: &mut Collector) {
        let deadline = monotonic_ns().saturating_add(self.lease.as_nanos() as u64);
        let ranks = self.session.ranks.iter().map(|rank| rank.source);
        for id in ranks.chain(self.events.sources().map(|(id, _)| id)) {
            if let Some(source) = collector.get_mut(id) {
                source.renew_lease(deadline);
            }
        }
    }

    /// Records that the disk does not take.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    fn relieve(&mut self, collector: &Collector) {
        let ranks = self.session.ranks.iter().map(|rank| rank.source);
        let ids: BTreeSet<SourceId> = ranks.chain(self.events.sources().map(|(id, _)| id)).collect();
        let sources = collector.sources().iter().filter(|source| ids.contains(&source.id()));
        if self.memory.relieve(sources.map(Source::rings).collect()) {
            tracing::warn!(capture = %self.manifest.capture_id, "the disk does not keep up: records wait in memory");
        }
    }

    /// The window is to close.
    pub(super) fn stop(&mut self, by: ClosedBy) {
        self.session.stop(by, monotonic_ns());
    }

    /// Its windows are closed or told to close, and what is left is short: nobody's profiler is waited for.
    pub(super) fn is_ending(&self) -> bool {
        self.session.is_ending() && self.driving.has_let_go()
    }

    /// Whether a turn may come later than usual: each one takes an engine's core away.
    pub(super) fn is_calm(&self) -> bool {
        self.is_calm
            && self.memory.is_slack()
            && self.progress.turn() >= WRITERS_TURN
            && self.detached.is_empty()
            && self.driving.is_at_ease()
    }

    /// One turn: look, order, and say what the disk is to hold. What a full queue does not take waits for the next turn.
    pub(super) fn turn(&mut self, collector: &mut Collector, files: &SyncSender<Job>) {
        let now_ns = monotonic_ns();
        self.relieve(collector);
        let kept = self.progress.kept();
        self.session.kept(&kept);
        self.session.kept_bytes(self.progress.gpu_bytes());
        if let Some(reason) = self.progress.failed().filter(|_| !self.failed) {
            tracing::error!(capture = %self.manifest.capture_id, reason, "capture failed");
            self.failed = true;
            self.stop(ClosedBy::Failed);
        }
        let seen: Vec<Option<Observation>> =
            self.session.ranks.iter().map(|r| collector.get_mut(r.source).map(|s| s.observe())).collect();
        let rates = rates(collector, &self.session);
        for order in self.session.observe(now_ns, &seen, &rates) {
            self.carry_out(collector, order);
        }
        if !self.is_paced && events::is_near(collector, &self.session, &rates) {
            self.is_paced = true;
            pace(collector, &mut self.session);
        }
        self.is_calm = self.session.is_steady(now_ns, &rates, SOON_NS);
        let told = kept.iter().any(|kept| kept.told > 0);
        self.events.turn(now_ns, collector, &self.session, &rates, told);
        self.announce();
        if self.begun {
            self.driving.turn(&self.session, &rates);
        }
        if !self.begun || self.finishing || !self.attach(collector, files) {
            return;
        }
        let standing = (self.session.state(), self.driving.word());
        if self.session.is_over() && self.events.is_over() && self.driving.has_let_go() {
            // Looked first and fetched then: what a closed window recorded is in the rings.
            self.tell_of_events();
            self.manifest.warnings.extend(self.memory.said());
            self.driving.tell(&mut self.manifest);
            let over = Box::new((self.manifest.clone(), self.session.clone()));
            self.finishing = files.try_send(Job::Finish(over)).is_ok();
        } else if standing != self.saved && !self.failed {
            let manifest = self.refresh();
            if files.try_send(Job::Save(manifest)).is_ok() {
                self.saved = standing;
            }
        }
    }

    /// Tells whoever samples GPUs that the window opened, or that it closed.
    fn announce(&mut self) {
        let over = self.session.is_over();
        match &self.counters {
            Counters::Waiting(queue) if !over && self.session.state() == State::Recording => {
                queue.open();
                if let Some(passed) = &self.passed {
                    passed.open();
                }
                self.counters = Counters::Open(queue.clone());
            }
            Counters::Open(queue) if over => {
                queue.close();
                self.counters = Counters::Over;
            }
            _ => {}
        }
    }

    /// Has the rings of ranks drained that a capture that was taken up has found again; `false`: not of all yet.
    fn attach(&mut self, collector: &Collector, files: &SyncSender<Job>) -> bool {
        let (ranks, mut all) = (&self.session.ranks, true);
        self.detached.retain(|&rank| {
            let source = collector.sources().iter().find(|s| s.id() == ranks[rank].source);
            let Some(rings) = source.map(Source::rings) else { return true };
            let refused = files.try_send(Job::Attach(rank, rings)).is_err();
            all &= !refused;
            refused
        });
        all
    }

    /// Brings the manifest up to date.
    pub(super) fn refresh(&mut self) -> Arc<Manifest> {
        self.manifest.state = self.session.state();
        report::update(&mut self.manifest, &self.session);
        self.tell_of_events();
        self.driving.tell(&mut self.manifest);
        self.manifest.gpus = self.progress.gpus();
        Arc::new(self.manifest.clone())
    }

    fn tell_of_events(&mut self) {
        // Of a capture that was taken up it was said by whoever took it up.
        if self.events.is_nobody() {
            return;
        }
        let kept = self.progress.kept();
        let of_sources = kept.get(self.session.ranks.len()..).unwrap_or_default();
        self.manifest.sources = self.events.report(of_sources);
        self.manifest.sampling = self.events.sampling();
        self.manifest.request_moments = kept.iter().map(|kept| kept.moments).sum();
    }

    fn carry_out(&mut self, collector: &mut Collector, order: Order) {
        match order {
            Order::CloseAt { rank, last, cause } => {
                if let Some(source) = collector.get_mut(self.session.ranks[rank].source) {
                    source.close_at(last, cause);
                }
            }
            Order::ReleaseProfiler { rank } => {
                let rank = &self.session.ranks[rank];
                if let Some(source) = collector.get_mut(rank.source) {
                    source.release_profiler(rank.generation);
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

    /// Nothing stays armed. Last of all: until the manifest is safe, a sidecar that finishes this in our stead needs what
    /// the gates say.
    pub(super) fn let_go(self, collector: &mut Collector) {
        if let Counters::Open(queue) = &self.counters {
            queue.close();
        }
        let sources = self.events.sources().map(|(id, _)| id);
        withdraw(collector, self.session.ranks.iter().map(|r| r.source).chain(sources));
    }
}

/// Before anything is switched on: how fast ranks have stepped.
fn pace(collector: &Collector, session: &mut Session) {
    let now = Instant::now();
    for rank in &mut session.ranks {
        let source = collector.sources().iter().find(|source| source.id() == rank.source);
        rank.pace_before = source.and_then(|source| pace::before(source, now));
    }
}

/// Iterations per second, group by group.
fn rates(collector: &Collector, session: &Session) -> Vec<f64> {
    let mut rates = vec![0.0f64; session.groups.len()];
    for rank in &session.ranks {
        if let Some(source) = collector.sources().iter().find(|s| s.id() == rank.source) {
            rates[rank.group] = rates[rank.group].max(source.rate());
        }
    }
    rates
}

/// Takes back what was asked of these.
fn withdraw(collector: &mut Collector, sources: impl IntoIterator<Item = SourceId>) {
    for id in sources {
        if let Some(source) = collector.get_mut(id) {
            source.withdraw();
        }
    }
}
