//! The thread that owns it all: collector, running capture, files. It answers commands within milliseconds and never
//! waits on an engine; exports run on threads of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::wire::clock::realtime_ns;
use crate::wire::segment::Trust;

use super::handle::{Captures, Command, Shared, Snapshot, Stopped};
use super::manifest::{Artifact, CaptureId, ClosedBy, Complete, Manifest, State, Window};
use super::options::Options;
use super::request::{CaptureError, StartError, StartRequest};
use super::running::{Plan, Running};
use super::store::{Kept, Retention, Store};
use super::{export, plan, recover, snapshot};

const SCAN_EVERY: Duration = Duration::from_millis(200);
const LEASE_EVERY: Duration = Duration::from_secs(1);
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Commands answered between two turns.
const BURST: usize = 64;
/// A turn while records come fast; a consumer that looks every millisecond costs the producer nothing.
const HOT_TURN: Duration = Duration::from_millis(1);
/// A turn while few do: the engine's cores are not ours.
const CALM_TURN: Duration = Duration::from_millis(5);
const IDLE_TURN: Duration = Duration::from_millis(50);

/// Why the session could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error("data folder {folder}: {source}")]
    Data {
        /// Which.
        folder: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The thread.
    #[error("the capture thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Opens the data folder, finishes what an earlier sidecar left, and starts the thread.
///
/// # Errors
/// See [`OpenError`].
pub fn open(options: Options) -> Result<Captures, OpenError> {
    let data = |source| OpenError::Data { folder: options.data.clone(), source };
    let store = Store::open(&options.data).map_err(data)?;
    let manifests = store.load().map_err(data)?;
    let shared = Arc::new(Shared {
        store,
        snapshot: Default::default(),
        manifests: Default::default(),
        changed: Default::default(),
    });
    for manifest in manifests {
        shared.publish(Arc::new(manifest));
    }
    let (commands, inbox) = mpsc::channel();
    let captures = Captures { commands: commands.clone(), shared: shared.clone() };
    let manager = Manager::new(options, shared, commands);
    std::thread::Builder::new()
        .name("stepscope-capture".into())
        .spawn(move || {
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| manager.run(&inbox)));
            if ran.is_err() {
                // Without this thread nothing can be started or ended. Whoever supervises us starts us anew, and then the
                // running capture is finished from its fragments; meanwhile the agents close by their lease.
                tracing::error!("the capture thread panicked: the sidecar ends, so that it can be restarted");
                std::process::exit(1);
            }
        })
        .map_err(OpenError::Thread)?;
    Ok(captures)
}

struct Manager {
    options: Options,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    collector: Collector,
    running: Option<Running>,
    /// Interrupted captures that wait for their turn.
    interrupted: Vec<Arc<Manifest>>,
    exports: usize,
    leaving: Vec<tokio::sync::oneshot::Sender<()>>,
    finished_total: [u64; 3],
    /// Final captures and what they take on disk, oldest first.
    kept: BTreeMap<CaptureId, Kept>,
    scanned: Instant,
    renewed: Instant,
    published: Instant,
}

impl Manager {
    fn new(options: Options, shared: Arc<Shared>, commands: mpsc::Sender<Command>) -> Self {
        let trust = if options.trust_group { Trust::Group } else { Trust::Owner };
        let collector = Collector::new(options.dir.clone(), trust);
        let now = Instant::now();
        Self {
            options,
            shared,
            commands,
            collector,
            running: None,
            interrupted: Vec::new(),
            exports: 0,
            leaving: Vec::new(),
            finished_total: [0; 3],
            kept: BTreeMap::new(),
            scanned: now,
            renewed: now,
            published: now,
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        self.collector.scan(Instant::now());
        self.take_up_interrupted();
        let finals: Vec<Arc<Manifest>> =
            self.shared.manifests().values().filter(|m| m.state.is_final()).cloned().collect();
        finals.iter().for_each(|m| self.note_size(m));
        self.apply_retention();
        self.publish(Instant::now());
        loop {
            match inbox.recv_timeout(self.pause()) {
                Ok(command) => {
                    self.answer(command);
                    // Whoever else waits is answered before anything else is done.
                    inbox.try_iter().take(BURST).for_each(|command| self.answer(command));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.turn();
            if !self.leaving.is_empty() && self.running.is_none() && self.exports == 0 {
                self.publish(Instant::now());
                for reply in self.leaving.drain(..) {
                    let _ = reply.send(());
                }
                return;
            }
        }
    }

    fn pause(&self) -> Duration {
        match &self.running {
            Some(running) if running.is_busy() => HOT_TURN,
            Some(_) => CALM_TURN,
            None => IDLE_TURN,
        }
    }

    fn turn(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.scanned) >= SCAN_EVERY {
            self.scanned = now;
            self.collector.scan(now);
            // What an interrupted capture needs is known once it is taken up.
            let (running, waiting) = (&self.running, !self.interrupted.is_empty());
            self.collector.release(now, |id| waiting || running.as_ref().is_some_and(|r| r.uses(id)));
        }
        if let Some(running) = &mut self.running {
            if now.duration_since(self.renewed) >= LEASE_EVERY {
                self.renewed = now;
                running.renew_lease(&mut self.collector);
            }
            if running.turn(&mut self.collector, &self.shared.store) {
                self.finish();
            }
        }
        if self.running.is_none()
            && let Some(manifest) = self.interrupted.pop()
        {
            self.resume(&manifest);
        }
        if now.duration_since(self.published) >= PUBLISH_EVERY {
            self.publish(now);
        }
    }

    fn answer(&mut self, command: Command) {
        match command {
            Command::Start(request, reply) => {
                let started = self.start(request);
                if started.is_ok() {
                    self.publish(Instant::now());
                }
                let _ = reply.send(started);
            }
            Command::Stop(id, reply) => {
                let stopped = self.stop(id);
                let _ = reply.send(stopped);
            }
            Command::Delete(id, reply) => {
                let _ = reply.send(self.delete(&id));
            }
            Command::Exported(id, result) => self.exported(&id, result),
            Command::ShutDown(reply) => {
                self.interrupted.clear();
                if let Some(running) = &mut self.running {
                    running.stop(ClosedBy::Shutdown);
                }
                self.leaving.push(reply);
            }
        }
    }

    fn start(&mut self, request: StartRequest) -> Result<Arc<Manifest>, StartError> {
        if !self.leaving.is_empty() {
            return Err(StartError::ShuttingDown);
        }
        if let Some(running) = &self.running {
            return Err(StartError::Running(running.id().clone()));
        }
        if let Some(waiting) = self.interrupted.last() {
            return Err(StartError::Running(waiting.capture_id.clone()));
        }
        self.collector.scan(Instant::now());
        let (plan, window) = plan::make(&self.options, &request, &self.collector)?;
        let manifest = new_manifest(&request, &plan, window);
        let mut running = Running::start(&mut self.collector, &self.shared.store, &plan, manifest)?;
        self.renewed = Instant::now();
        let manifest = running.refresh();
        tracing::info!(capture = %manifest.capture_id, ranks = manifest.ranks.len(), "capture accepted");
        self.shared.publish(manifest.clone());
        self.running = Some(running);
        Ok(manifest)
    }

    fn stop(&mut self, id: Option<CaptureId>) -> Result<Option<Stopped>, CaptureError> {
        let known = match &id {
            Some(id) => Some(self.shared.find(&id.0).ok_or_else(|| CaptureError::Unknown(id.0.clone()))?),
            None => self.shared.find("latest"),
        };
        let Some(running) = self.running.as_mut().filter(|r| id.as_ref().is_none_or(|id| id == r.id())) else {
            return Ok(known.map(|manifest| Stopped { was_over: manifest.state.is_final(), manifest }));
        };
        let running_id = running.id().0.clone();
        running.stop(ClosedBy::Stop);
        if running.turn(&mut self.collector, &self.shared.store) {
            self.finish();
        } else {
            self.shared.publish(running.refresh());
        }
        Ok(self.shared.find(&running_id).map(|manifest| Stopped { manifest, was_over: false }))
    }

    /// The running capture is over: its manifest is judged, its trace is written behind it.
    fn finish(&mut self) {
        let Some(running) = self.running.take() else { return };
        let manifest = running.finish(&mut self.collector, &self.shared.store);
        match manifest.state {
            State::Exporting => self.export(Arc::new(manifest)),
            _ => self.end(manifest),
        }
    }

    fn export(&mut self, manifest: Arc<Manifest>) {
        self.shared.publish(manifest.clone());
        let (shared, commands, work) = (self.shared.clone(), self.commands.clone(), manifest.clone());
        let spawned = std::thread::Builder::new().name("stepscope-export".into()).spawn(move || {
            let store = &shared.store;
            let written = store
                .fragment_files(&work.capture_id)
                .and_then(|files| export::write_trace(&work, &store.folder(&work.capture_id), &files));
            let _ = commands.send(Command::Exported(work.capture_id.clone(), written));
        });
        match spawned {
            Ok(_) => self.exports += 1,
            Err(error) => {
                self.exports += 1;
                self.exported(&manifest.capture_id, Err(error));
            }
        }
    }

    fn exported(&mut self, id: &CaptureId, result: std::io::Result<Artifact>) {
        self.exports -= 1;
        let Some(manifest) = self.shared.find(&id.0) else { return };
        let mut manifest = Manifest::clone(&manifest);
        match result {
            Ok(artifact) => {
                manifest.state = State::Done;
                manifest.artifacts.push(artifact);
            }
            Err(error) => {
                manifest.state = State::Failed;
                manifest.reason = Some(format!("the trace could not be written: {error}"));
            }
        }
        self.end(manifest);
    }

    /// Nothing about it changes any more.
    fn end(&mut self, mut manifest: Manifest) {
        manifest.finished_at = Some(jiff::Timestamp::now().to_string());
        let saved = self.shared.store.save(&manifest);
        if let Err(error) = saved {
            manifest.state = State::Failed;
            manifest.reason.get_or_insert_with(|| format!("the manifest could not be written: {error}"));
        }
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
        self.note_size(&manifest);
        self.shared.publish(Arc::new(manifest));
        self.apply_retention();
    }

    fn delete(&mut self, id: &str) -> Result<(), CaptureError> {
        let manifest = self.shared.find(id).ok_or_else(|| CaptureError::Unknown(id.into()))?;
        let id = &manifest.capture_id;
        if !manifest.state.is_final() {
            return Err(CaptureError::Busy(id.clone(), manifest.state.as_str()));
        }
        let failed = |e: std::io::Error| CaptureError::Files { id: id.clone(), reason: e.to_string() };
        self.shared.store.delete(id).map_err(failed)?;
        self.kept.remove(id);
        self.shared.remove(id);
        Ok(())
    }

    /// Notes what a final capture takes on disk; looked at once, since walking all of them at each end adds up.
    fn note_size(&mut self, manifest: &Manifest) {
        let id = manifest.capture_id.clone();
        let bytes = self.shared.store.bytes(&id);
        self.kept.insert(id.clone(), Kept { id, accepted_at_ns: manifest.accepted_at_ns, bytes });
    }

    fn apply_retention(&mut self) {
        if self.options.retention == Retention::default() {
            return;
        }
        let kept: Vec<Kept> = self.kept.values().cloned().collect();
        for id in self.options.retention.expired(&kept, realtime_ns()) {
            match self.shared.store.delete(&id) {
                Ok(()) => {
                    tracing::info!(capture = %id, "removed by retention");
                    self.kept.remove(&id);
                    self.shared.remove(&id);
                }
                Err(error) => tracing::warn!(capture = %id, %error, "retention could not remove it"),
            }
        }
    }

    fn take_up_interrupted(&mut self) {
        let unfinished: Vec<Arc<Manifest>> =
            self.shared.manifests().values().filter(|m| !m.state.is_final()).cloned().collect();
        for manifest in unfinished {
            match manifest.state {
                State::Exporting => self.export(manifest),
                _ => self.interrupted.push(manifest),
            }
        }
    }

    fn resume(&mut self, manifest: &Manifest) {
        tracing::warn!(capture = %manifest.capture_id, state = manifest.state.as_str(), "finishing an interrupted capture");
        let lease = self.options.lease;
        self.running = Some(recover::resume(&self.shared.store, manifest, lease));
    }

    fn publish(&mut self, now: Instant) {
        self.published = now;
        let running = self.running.as_mut().map(Running::refresh);
        if let Some(manifest) = &running {
            self.shared.publish(manifest.clone());
        }
        let snapshot = Snapshot {
            running,
            finished_total: self.finished_total,
            store_bytes: self.kept.values().map(|k| k.bytes).sum(),
            ..snapshot::of(&self.collector)
        };
        *self.shared.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(snapshot);
    }
}

fn new_manifest(request: &StartRequest, plan: &Plan, window: Window) -> Manifest {
    Manifest {
        schema: 1,
        stepscope_version: env!("CARGO_PKG_VERSION").into(),
        capture_id: CaptureId(uuid::Uuid::now_v7().to_string()),
        state: State::Armed,
        complete: Complete::Unknown,
        missing: Vec::new(),
        closed_by: None,
        reason: None,
        warnings: request.warnings.clone(),
        accepted_at: jiff::Timestamp::now().to_string(),
        accepted_at_ns: realtime_ns(),
        finished_at: None,
        profile_prefix: request.profile_prefix.clone(),
        profiler: plan.profiler.as_str().into(),
        window,
        groups: Vec::new(),
        ranks: Vec::new(),
        records: 0,
        dropped: 0,
        fragment_bytes: 0,
        artifacts: Vec::new(),
    }
}
