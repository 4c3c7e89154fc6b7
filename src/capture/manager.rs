//! The thread that holds the session: collector and running capture. It answers commands within milliseconds and waits for
//! nobody: not for an engine, and not for the disk, which threads of their own write to ([`super::files`],
//! [`super::exporter`]). So a lease is renewed however long a write takes.
//!
//! How a capture begins is told in [`starts`]. A start is answered when its files are there, a stop at once; one that
//! cancels, when that is written down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::wire::clock::realtime_ns;
use crate::wire::segment::Trust;

use super::exporter::Work;
use super::files::Job;
use super::handle::{Command, Shared, Snapshot, StartReply, StopReply, Stopped};
use super::hold::Held;
use super::manifest::{CaptureId, ClosedBy, Manifest, State};
use super::native::driving::Driving;
use super::options::Options;
use super::pace::Aftermath;
use super::request::{CaptureError, StartRequest};
use super::running::Running;
use super::snapshot;
use super::store::{Kept, Retention};

mod left_over;
mod starts;

const SCAN_EVERY: Duration = Duration::from_millis(200);
/// How often a lease is renewed; a short one more often, so that one renewal may be late.
const LEASE_EVERY: Duration = Duration::from_secs(1);
const LEASE_SHARE: u32 = 3;
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Commands that may wait; callers beyond that are told to come again.
pub(super) const QUEUE: usize = 1024;
/// Commands answered between two turns.
const BURST: usize = 64;
/// Captures that may wait for their trace; a start beyond that is told to come again.
const WAITING_EXPORTS: usize = 256;
/// A turn while a capture runs: the engine's cores are not ours.
const TURN: Duration = Duration::from_millis(5);
/// A turn while the disk does not keep up, since rings fill as fast as an engine records, and for a moment behind a window.
const HOT_TURN: Duration = Duration::from_millis(1);
/// A turn while a window is open and nothing is to happen soon.
const CALM_TURN: Duration = Duration::from_millis(25);
const IDLE_TURN: Duration = Duration::from_millis(50);
/// How long a start may wait for a capture that ends: clients' own patience is 2 s.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(1);
/// How long a start may wait for the disk.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How much longer for an idle engine to say whether its own profiler starts: its next iteration may be the window's first.
const ENGINE_PATIENCE: Duration = Duration::from_millis(30);
/// How long a stop that cancels may.
const CANCEL_PATIENCE: Duration = Duration::from_millis(50);

/// A start that waits for the disk.
struct Starting {
    reply: StartReply,
    until: Instant,
    /// Its files are there: what is waited for is the engine's word.
    begun: bool,
}

/// A start that came right behind a stop, and waits for the capture before it.
struct Following {
    request: StartRequest,
    reply: StartReply,
    until: Instant,
}

/// A stop that waits for the end of what it cancelled.
struct Stopping {
    reply: StopReply,
    until: Instant,
}

pub(super) struct Manager {
    options: Options,
    shared: Arc<Shared>,
    files: mpsc::SyncSender<Job>,
    exporter: mpsc::SyncSender<Work>,
    collector: Collector,
    running: Option<Running>,
    /// The capture that waits to be opened.
    held: Option<Held>,
    starting: Option<Starting>,
    following: Option<Following>,
    stopping: Vec<Stopping>,
    /// Interrupted captures that wait for their turn.
    interrupted: Vec<Arc<Manifest>>,
    /// The one that is being taken up.
    resuming: Option<CaptureId>,
    /// What waits for the exporter, which does one thing at a time.
    work: VecDeque<Work>,
    working: bool,
    leaving: Vec<tokio::sync::oneshot::Sender<()>>,
    /// The last capture, while its ranks are watched behind it.
    aftermath: Option<Aftermath>,
    finished_total: [u64; 3],
    /// Final captures and what they take on disk, oldest first.
    kept: BTreeMap<CaptureId, Kept>,
    scanned: Instant,
    renewed: Instant,
    published: Instant,
}

impl Manager {
    pub(super) fn new(
        options: Options,
        shared: Arc<Shared>,
        files: mpsc::SyncSender<Job>,
        exporter: mpsc::SyncSender<Work>,
    ) -> Self {
        let trust = if options.trust_group { Trust::Group } else { Trust::Owner };
        let collector = Collector::new(options.dir.clone(), trust);
        let now = Instant::now();
        Self {
            options,
            shared,
            files,
            exporter,
            collector,
            running: None,
            held: None,
            starting: None,
            following: None,
            stopping: Vec::new(),
            interrupted: Vec::new(),
            resuming: None,
            work: VecDeque::new(),
            working: false,
            leaving: Vec::new(),
            aftermath: None,
            finished_total: [0; 3],
            kept: BTreeMap::new(),
            scanned: now,
            renewed: now,
            published: now,
        }
    }

    /// Until nobody has a command any more.
    pub(super) fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        self.collector.scan(Instant::now());
        self.take_up();
        self.publish(Instant::now());
        let mut due = Instant::now();
        loop {
            match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(command) => {
                    self.answer(command);
                    // Whoever else waits is answered before anything else is done.
                    inbox.try_iter().take(BURST).for_each(|command| self.answer(command));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            let is_due = now >= due;
            if is_due {
                self.turn(now);
            }
            let next = now + self.pause();
            // A capture may have begun meanwhile.
            due = if is_due { next } else { due.min(next) };
            if !self.leaving.is_empty() && self.is_at_rest() {
                self.publish(Instant::now());
                for reply in self.leaving.drain(..) {
                    let _ = reply.send(());
                }
                return;
            }
        }
    }

    /// Until the next turn.
    fn pause(&self) -> Duration {
        match &self.running {
            Some(running) if running.memory().is_filling() => HOT_TURN,
            _ if self.aftermath.is_some() => HOT_TURN,
            Some(running) if running.is_calm() => CALM_TURN,
            Some(_) => TURN,
            None => IDLE_TURN,
        }
    }

    fn is_at_rest(&self) -> bool {
        self.running.is_none()
            && self.held.is_none()
            && self.resuming.is_none()
            && self.aftermath.is_none()
            && !self.working
            && self.work.is_empty()
    }

    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.scanned) >= SCAN_EVERY {
            self.scanned = now;
            self.collector.scan(now);
            // What an interrupted capture needs is known once it is taken up.
            let (running, waiting) = (&self.running, !self.interrupted.is_empty() || self.resuming.is_some());
            self.collector.release(now, |id| waiting || running.as_ref().is_some_and(|r| r.uses(id)));
        }
        if let Some(running) = &mut self.running {
            if now.duration_since(self.renewed) >= LEASE_EVERY.min(self.options.lease / LEASE_SHARE) {
                self.renewed = now;
                running.renew_lease(&mut self.collector);
            }
            running.turn(&mut self.collector, &self.files);
            self.tell_holder();
        }
        if self.aftermath.as_mut().is_some_and(|aftermath| aftermath.look(&self.collector, now)) {
            self.end_aftermath();
        }
        self.lose_patience(now);
        self.turn_held();
        self.turn_following(now);
        if self.running.is_none()
            && self.held.is_none()
            && self.resuming.is_none()
            && let Some(manifest) = self.interrupted.pop()
        {
            self.resume(manifest);
        }
        self.hand_out_work();
        if now.duration_since(self.published) >= PUBLISH_EVERY {
            self.publish(now);
        }
    }

    fn answer_stops(&mut self) {
        let manifest = self.running.as_mut().map(Running::refresh).or_else(|| self.shared.find("latest"));
        for stop in self.stopping.drain(..) {
            let stopped = manifest.clone().map(|manifest| Stopped { manifest, was_over: false });
            let _ = stop.reply.send(Ok(stopped));
        }
    }

    fn answer(&mut self, command: Command) {
        match command {
            Command::Start(request, reply) if self.may_follow() => {
                self.following = Some(Following { request, reply, until: Instant::now() + FOLLOW_PATIENCE });
            }
            Command::Start(request, reply) => {
                let started = self.start(request);
                self.answer_start(started, reply);
            }
            Command::Open(id, first, reply) => {
                let started = self.open_held(&id, first);
                self.answer_start(started, reply);
            }
            Command::Stop(id, reply) => self.stop(id, reply),
            Command::Delete(id, reply) => drop(reply.send(self.delete(&id))),
            Command::NotDeleted(manifest, bytes) => self.keep(manifest, bytes),
            Command::ShutDown(reply) => {
                self.interrupted.clear();
                if let Some(running) = &mut self.running {
                    running.stop(ClosedBy::Shutdown);
                }
                self.end_aftermath();
                self.call_off_held(ClosedBy::Shutdown);
                self.leaving.push(reply);
                self.follow();
            }
            Command::Begun(begun) => self.begun(begun),
            Command::Resumed(resumed) => {
                self.resuming = None;
                let driving = Driving::take_up(self.options.native.as_ref(), &resumed.1);
                let Options { lease, buffer_bytes, .. } = self.options;
                self.running = Some(Running::resumed(*resumed, lease, buffer_bytes, driving));
            }
            Command::Finished(manifest, bytes) => self.finished(*manifest, bytes),
            Command::Exported(manifest, bytes) => {
                self.working = false;
                self.end(*manifest, bytes);
                self.hand_out_work();
            }
            Command::Removed(id, removed) => {
                self.working = false;
                match removed {
                    Ok(()) => tracing::info!(capture = %id, "removed by retention"),
                    Err(error) => tracing::warn!(capture = %id, %error, "retention could not remove it"),
                }
                self.hand_out_work();
            }
        }
    }

    /// The capture that keeps others from starting.
    fn holder(&self) -> Option<CaptureId> {
        let running = self.running.as_ref().map(Running::id).or(self.held.as_ref().map(Held::id));
        running.or(self.resuming.as_ref()).or(self.interrupted.last().map(|m| &m.capture_id)).cloned()
    }

    /// Callers are told so without being asked in; not of one that ends, whose end a start may wait for.
    fn tell_holder(&self) {
        self.shared.held_by(self.holder().filter(|_| !self.is_ending()));
    }

    fn let_go(&mut self) {
        if let Some(running) = self.running.take() {
            running.let_go(&mut self.collector);
        }
        self.tell_holder();
    }

    fn stop(&mut self, id: Option<CaptureId>, reply: StopReply) {
        let wanted = |there: &CaptureId| id.as_ref().is_none_or(|id| id == there);
        if self.held.as_ref().is_some_and(|held| wanted(held.id())) {
            self.call_off_held(ClosedBy::Stop);
            self.stopping.push(Stopping { reply, until: Instant::now() + CANCEL_PATIENCE });
            return;
        }
        let running = self.running.as_mut().filter(|r| wanted(r.id()));
        let Some(running) = running else {
            let known = self.shared.find(id.as_ref().map_or("latest", |id| &id.0));
            let _ = reply.send(match (known, id) {
                (None, Some(id)) => Err(CaptureError::Unknown(id.0)),
                (known, _) => Ok(known.map(|manifest| Stopped { was_over: manifest.state.is_final(), manifest })),
            });
            return;
        };
        running.stop(ClosedBy::Stop);
        running.turn(&mut self.collector, &self.files);
        let manifest = running.refresh();
        let (is_cancelled, is_known) = (running.is_cancelled(), running.is_known());
        // First, since a start may come as soon as this is answered.
        self.tell_holder();
        if is_cancelled {
            self.stopping.push(Stopping { reply, until: Instant::now() + CANCEL_PATIENCE });
            return;
        }
        if is_known {
            self.shared.publish(manifest.clone());
        }
        let _ = reply.send(Ok(Some(Stopped { manifest, was_over: false })));
    }

    /// The running capture is over and its manifest judged; its trace is written behind it.
    fn finished(&mut self, manifest: Manifest, bytes: u64) {
        let ranks = self.running.as_ref().map_or_else(Vec::new, Running::ranks);
        self.held.take_if(|held| *held.id() == manifest.capture_id);
        self.let_go();
        match manifest.state {
            State::Exporting => {
                self.shared.publish(Arc::new(manifest.clone()));
                self.end_aftermath();
                self.aftermath = Some(Aftermath::new(manifest, ranks, Instant::now()));
                if !self.leaving.is_empty() {
                    self.end_aftermath();
                }
            }
            _ => self.end(manifest, bytes),
        }
        self.answer_stops();
        self.follow();
    }

    /// What its ranks did behind the last capture is known, or nobody waits for it: its trace is written.
    fn end_aftermath(&mut self) {
        if let Some(aftermath) = self.aftermath.take() {
            self.work.push_back(Work::Export(aftermath.end()));
            self.hand_out_work();
        }
    }

    fn hand_out_work(&mut self) {
        if self.working {
            return;
        }
        if let Some(work) = self.work.pop_front() {
            self.working = true;
            // Never full: it is given one thing at a time.
            let _ = self.exporter.try_send(work);
        }
    }

    /// Nothing about it changes any more.
    fn end(&mut self, manifest: Manifest, bytes: u64) {
        let kind = match manifest.state {
            State::Cancelled => 1,
            State::Failed => 2,
            _ => 0,
        };
        self.finished_total[kind] += 1;
        tracing::info!(
            capture = %manifest.capture_id,
            state = manifest.state.as_str(),
            records = manifest.records,
            dropped = manifest.dropped,
            "capture ended"
        );
        self.keep(Arc::new(manifest), bytes);
        self.apply_retention();
    }

    fn keep(&mut self, manifest: Arc<Manifest>, bytes: u64) {
        let (id, accepted_at_ns) = (manifest.capture_id.clone(), manifest.accepted_at_ns);
        self.kept.insert(id.clone(), Kept { id, accepted_at_ns, bytes });
        self.shared.publish(manifest);
    }

    fn delete(&mut self, id: &str) -> Result<Arc<Manifest>, CaptureError> {
        let manifest = self.shared.find(id).ok_or_else(|| CaptureError::Unknown(id.into()))?;
        if !manifest.state.is_final() {
            return Err(CaptureError::Busy(manifest.capture_id.clone(), manifest.state.as_str()));
        }
        self.forget(&manifest.capture_id);
        Ok(manifest)
    }

    fn forget(&mut self, id: &CaptureId) {
        self.kept.remove(id);
        self.shared.remove(id);
    }

    fn apply_retention(&mut self) {
        if self.options.retention == Retention::default() {
            return;
        }
        let kept: Vec<Kept> = self.kept.values().cloned().collect();
        for id in self.options.retention.expired(&kept, realtime_ns()) {
            self.forget(&id);
            self.work.push_back(Work::Remove(id));
        }
        self.hand_out_work();
    }

    fn publish(&mut self, now: Instant) {
        self.published = now;
        let running = self.running.as_mut().filter(|r| r.is_known()).map(Running::refresh);
        let running = running.or_else(|| self.held.as_ref().map(Held::manifest));
        if let Some(manifest) = &running {
            self.shared.publish(manifest.clone());
        }
        let snapshot = Snapshot {
            running,
            buffered_bytes: self.running.as_ref().map_or(0, |running| running.memory().bytes()),
            finished_total: self.finished_total,
            store_bytes: self.kept.values().map(|k| k.bytes).sum(),
            ..snapshot::of(&self.collector)
        };
        *self.shared.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(snapshot);
    }
}
