//! The handle that others hold: messages in, snapshots out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::beside::counters::CounterQueue;
use super::beside::passed::PassedQueue;
use super::export::{self, Export};
use super::manifest::{CaptureId, Manifest, State};
use super::native::Native;
use super::progress::Progress;
use super::request::{CaptureError, Profiler, ReportFormat, StartError, StartRequest};
use super::session::Session;
use super::store::Store;
use crate::trace::output::{Format, LedgerFormat};

use super::profiling::RankCapabilities;

/// One attached rank, as `status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RankStatus {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// Ranks of the group; 0 when the engine does not say.
    pub world_size: u32,
    /// `rank`, or `source` for a process that emits spans only.
    pub role: &'static str,
    /// What people call it.
    pub label: String,
    /// Engine and version.
    pub engine: String,
    /// Version of the agent.
    pub agent: String,
    /// Process id in the engine's pid namespace.
    pub pid: u32,
    /// Iterations begun.
    pub begun: u64,
    /// Iterations ended.
    pub ended: u64,
    /// Iterations per second over the last seconds.
    pub iterations_per_second: f64,
    /// `idle`, `armed`, `opening`, `open`, `closing` or `closed`.
    pub gate: &'static str,
    /// Records dropped since the process joined.
    pub dropped_total: u64,
    /// Records taken from its rings by this sidecar.
    pub records_total: u64,
    /// Its segment file.
    pub segment: PathBuf,
    /// What its agent says it can do.
    pub capabilities: RankCapabilities,
    /// Its process id as this sidecar's pid namespace has it; `None` where that can't see it.
    #[serde(skip)]
    pub pid_here: Option<u32>,
}

/// A segment that was not taken.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Refused {
    /// Which file.
    pub segment: PathBuf,
    /// Why, and what mends it.
    pub reason: String,
}

/// What `status` shows; published several times a second.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Snapshot {
    /// The segment folder.
    pub dir: PathBuf,
    /// Attached processes.
    pub ranks: Vec<RankStatus>,
    /// Segments that were not taken.
    pub refused: Vec<Refused>,
    /// The capture that keeps others from starting, if any.
    pub running: Option<Arc<Manifest>>,
    /// Bytes of records that wait in memory, because the disk does not take them.
    pub buffered_bytes: u64,
    /// Captures that reached each final state since this sidecar started: done, cancelled, failed.
    pub finished_total: [u64; 3],
    /// Records taken from rings of ranks that are gone by now; add it to the ranks' own for a total that never falls.
    pub departed_records_total: u64,
    /// Records that departed ranks dropped.
    pub departed_dropped_total: u64,
    /// Bytes used by all captures on disk.
    pub store_bytes: u64,
}

/// What a stop met.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// The capture that was stopped; with nothing running, the newest one.
    pub manifest: Arc<Manifest>,
    /// It was over before: nothing was running.
    pub was_over: bool,
}

/// What others talk to the session through. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Captures {
    pub(super) commands: mpsc::SyncSender<Command>,
    pub(super) shared: Arc<Shared>,
    /// The engine's own profiler.
    pub(super) native: Option<Arc<dyn Native>>,
    pub(super) default_profiler: Profiler,
}

/// How a start is answered.
pub(super) type StartReply = oneshot::Sender<Result<Arc<Manifest>, StartError>>;
/// How a stop is answered.
pub(super) type StopReply = oneshot::Sender<Result<Option<Stopped>, CaptureError>>;

/// What the session's thread is asked by callers, and told by its own threads.
pub(super) enum Command {
    Start(StartRequest, StartReply),
    /// Opens the held capture, at this iteration if one is named.
    Open(CaptureId, Option<u64>, StartReply),
    Stop(Option<CaptureId>, StopReply),
    /// Gives the capture up to the caller, who then removes its files.
    Delete(String, oneshot::Sender<Result<Arc<Manifest>, CaptureError>>),
    /// The caller could not: it is there still, and takes these bytes.
    NotDeleted(Arc<Manifest>, u64),
    ShutDown(oneshot::Sender<()>),
    /// The folder and the manifest of the capture that starts are there, or why not.
    Begun(Result<(), String>),
    /// An interrupted capture is ready to be ended.
    Resumed(Box<(Session, Manifest, Arc<Progress>)>),
    /// The running capture is over: its manifest, and the bytes it takes if that is its last one.
    Finished(Box<Manifest>, u64),
    /// A trace was written, or not: the last manifest, and the bytes the capture takes.
    Exported(Box<Manifest>, u64),
    /// Retention's work was done.
    Removed(CaptureId, std::io::Result<()>),
}

/// Why a command was not answered.
enum Unanswered {
    Busy,
    Gone,
}

/// What the session's thread publishes.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) snapshot: RwLock<Arc<Snapshot>>,
    pub(super) manifests: RwLock<BTreeMap<CaptureId, Arc<Manifest>>>,
    /// The capture that keeps others from starting, while it is not about to end.
    pub(super) holder: RwLock<Option<CaptureId>>,
    /// Counts changes of any manifest.
    pub(super) changed: watch::Sender<u64>,
    pub(super) counters: Arc<CounterQueue>,
    pub(super) passed: Arc<PassedQueue>,
}

impl Captures {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|e| match e {
            mpsc::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::TrySendError::Disconnected(_) => Unanswered::Gone,
        })?;
        answer.await.map_err(|_| Unanswered::Gone)
    }

    /// Agrees on a window with every rank asked for, within milliseconds; behind a capture that ends, as soon as that has, or
    /// within a second.
    ///
    /// # Errors
    /// See [`StartError`]; then nothing was started.
    pub async fn start(&self, request: StartRequest) -> Result<Arc<Manifest>, StartError> {
        // Known without asking, and then not even a busy session keeps the caller waiting.
        if let Some(id) = self.shared.holder() {
            return Err(StartError::Running(id));
        }
        if request.profiler.unwrap_or(self.default_profiler) == Profiler::Engine {
            self.check_engine()
                .await
                .map_err(|reason| StartError::Unavailable { profiler: Profiler::Engine, reasons: vec![reason] })?;
        }
        self.ask(|reply| Command::Start(request, reply)).await?
    }

    /// Opens a capture that is held: only now its ranks agree on a window. `first`: at exactly this iteration, whatever
    /// was asked for at first. A refusal leaves it held.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(&self, id: CaptureId, first: Option<u64>) -> Result<Arc<Manifest>, StartError> {
        self.ask(|reply| Command::Open(id, first, reply)).await?
    }

    /// Whether the engine's own profiler can be asked, as far as the engine says in time.
    ///
    /// # Errors
    /// What keeps it from working, and what mends that.
    pub async fn check_engine(&self) -> Result<(), String> {
        match &self.native {
            Some(native) => native.check().await,
            None => Err("this sidecar knows no engine: start it with --engine-url http://HOST:PORT (or --upstream), the engine's own HTTP, and \
                         --engine-profile-dir DIR, the folder that its profiler writes to"
                .into()),
        }
    }

    /// Orders the running capture to close, and says how it stands; the rest goes on behind. With nothing running, the
    /// newest capture as it is. `Ok(None)`: nothing was running and nothing ever ran.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`] for an id that is not there.
    pub async fn stop(&self, id: Option<CaptureId>) -> Result<Option<Stopped>, CaptureError> {
        self.ask(|reply| Command::Stop(id, reply)).await?
    }

    /// Where counters of the sidecar's own are handed in.
    pub fn counters(&self) -> &Arc<CounterQueue> {
        &self.shared.counters
    }

    /// Where requests that passed through the sidecar are handed in.
    pub fn passed(&self) -> &Arc<PassedQueue> {
        &self.shared.passed
    }

    /// What was last published.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All captures, newest first.
    pub fn list(&self) -> Vec<Arc<Manifest>> {
        self.shared.manifests().values().rev().cloned().collect()
    }

    /// One capture; `latest` is the newest one.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`].
    pub fn get(&self, id: &str) -> Result<Arc<Manifest>, CaptureError> {
        self.shared.find(id).ok_or_else(|| CaptureError::Unknown(id.into()))
    }

    /// Resolves when the manifest is final, or when `timeout` has passed; gives what it then is.
    ///
    /// # Errors
    /// [`CaptureError::Unknown`], also when it is deleted meanwhile.
    pub async fn wait(&self, id: &CaptureId, timeout: Duration) -> Result<Arc<Manifest>, CaptureError> {
        let mut changed = self.shared.changed.subscribe();
        let is_final = async {
            loop {
                changed.mark_unchanged();
                let manifest = self.get(&id.0)?;
                if manifest.state.is_final() || changed.changed().await.is_err() {
                    return Ok(manifest);
                }
            }
        };
        match tokio::time::timeout(timeout, is_final).await {
            Ok(result) => result,
            Err(_) => self.get(&id.0),
        }
    }

    /// Removes a capture and its files.
    ///
    /// # Errors
    /// [`CaptureError::Busy`] while it runs or is exported.
    pub async fn delete(&self, id: &str) -> Result<(), CaptureError> {
        let id = id.to_owned();
        let manifest = self.ask(|reply| Command::Delete(id, reply)).await??;
        let (captures, id) = (self.clone(), manifest.capture_id.clone());
        let remove = move || {
            let store = &captures.shared.store;
            store.delete(&manifest.capture_id).map_err(|error| {
                let bytes = store.bytes(&manifest.capture_id);
                let _ = captures.commands.try_send(Command::NotDeleted(manifest, bytes));
                error.to_string()
            })
        };
        let removed = tokio::task::spawn_blocking(remove).await;
        removed.unwrap_or_else(|e| Err(e.to_string())).map_err(|reason| CaptureError::Files { id, reason })
    }

    /// A writer of the trace, and the file name to offer.
    ///
    /// # Errors
    /// [`CaptureError`]: unknown, still running, no such rank, or its files can't be read.
    pub fn trace(&self, id: &str, format: Format, rank: Option<u32>) -> Result<(Export, String), CaptureError> {
        let (manifest, fragments) = self.readable(id, rank, Store::trace_files)?;
        let name = export::trace_name(&manifest, format, rank);
        let there = self.shared.store.folder(&manifest.capture_id).join(&name);
        let export = if manifest.state == State::Done && there.is_file() {
            export::file(there)
        } else {
            export::trace(&manifest, fragments, format, rank)
        };
        Ok((export, name))
    }

    /// A writer of the ledger, with the requests of each iteration if they are asked for, and the file name to offer.
    ///
    /// # Errors
    /// As [`Self::trace`].
    pub fn iterations(
        &self,
        id: &str,
        format: LedgerFormat,
        rank: Option<u32>,
        requests: bool,
    ) -> Result<(Export, String), CaptureError> {
        let (manifest, fragments) = self.readable(id, rank, Store::fragment_files)?;
        let name = export::ledger_name(&manifest, format, rank);
        Ok((export::ledger(&manifest, fragments, format, rank, requests), name))
    }

    /// A writer of the report.
    ///
    /// # Errors
    /// As [`Self::trace`].
    pub fn report(&self, id: &str, format: ReportFormat) -> Result<Export, CaptureError> {
        let (manifest, fragments) = self.readable(id, None, Store::trace_files)?;
        Ok(export::report(&manifest, fragments, format))
    }

    /// A writer of an artefact as it lies there.
    ///
    /// # Errors
    /// [`CaptureError`]: unknown, or it has no such artefact.
    pub fn artifact(&self, id: &str, name: &str) -> Result<(Export, String), CaptureError> {
        let manifest = self.get(id)?;
        let artifact = manifest.artifacts.iter().find(|artifact| artifact.name == name);
        let artifact = artifact.ok_or_else(|| CaptureError::UnknownArtifact {
            id: manifest.capture_id.clone(),
            name: name.into(),
            names: manifest.artifacts.iter().map(|artifact| artifact.name.clone()).collect(),
        })?;
        Ok((export::file(self.shared.store.artifact(&manifest.capture_id, artifact)), artifact.name.clone()))
    }

    fn readable(
        &self,
        id: &str,
        rank: Option<u32>,
        files: fn(&Store, &CaptureId) -> std::io::Result<Vec<PathBuf>>,
    ) -> Result<(Arc<Manifest>, Vec<PathBuf>), CaptureError> {
        let manifest = self.get(id)?;
        if manifest.state.is_running() {
            return Err(CaptureError::Busy(manifest.capture_id.clone(), manifest.state.as_str()));
        }
        let mut ranks: Vec<u32> = manifest.ranks.iter().map(|r| r.rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        if let Some(rank) = rank.filter(|r| !ranks.contains(r)) {
            return Err(CaptureError::UnknownRank { id: manifest.capture_id.clone(), rank, ranks });
        }
        let files = files(&self.shared.store, &manifest.capture_id);
        let files =
            files.map_err(|e| CaptureError::Files { id: manifest.capture_id.clone(), reason: e.to_string() })?;
        Ok((manifest, files))
    }

    /// Ends a running capture in order, waits for exports, and stops the thread. Idempotent.
    pub async fn shut_down(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.ask(Command::ShutDown)).await;
    }
}

impl From<Unanswered> for StartError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Busy => Self::Busy,
            Unanswered::Gone => Self::ShuttingDown,
        }
    }
}

impl From<Unanswered> for CaptureError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Busy => Self::TooMany,
            Unanswered::Gone => Self::ShuttingDown,
        }
    }
}

impl Shared {
    /// Nothing is known yet of what the store holds.
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            snapshot: Default::default(),
            manifests: Default::default(),
            holder: Default::default(),
            changed: Default::default(),
            counters: Default::default(),
            passed: Default::default(),
        }
    }

    fn holder(&self) -> Option<CaptureId> {
        self.holder.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this capture keeps others from starting.
    pub(super) fn held_by(&self, id: Option<CaptureId>) {
        *self.holder.write().unwrap_or_else(PoisonError::into_inner) = id;
    }

    pub(super) fn manifests(&self) -> RwLockReadGuard<'_, BTreeMap<CaptureId, Arc<Manifest>>> {
        self.manifests.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Manifest>> {
        let manifests = self.manifests();
        match id {
            "latest" => manifests.values().next_back().cloned(),
            id => manifests.get(&CaptureId(id.into())).cloned(),
        }
    }

    pub(super) fn publish(&self, manifest: Arc<Manifest>) {
        let mut manifests = self.manifests.write().unwrap_or_else(PoisonError::into_inner);
        manifests.insert(manifest.capture_id.clone(), manifest);
        drop(manifests);
        self.changed.send_modify(|n| *n += 1);
    }

    pub(super) fn remove(&self, id: &CaptureId) {
        self.manifests.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.changed.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_finds_the_queue_full_is_told_so_at_once() {
        let data = tempfile::tempdir().unwrap();
        let shared = Shared::new(Store::open(data.path()).unwrap());
        let (commands, inbox) = mpsc::sync_channel(1);
        let default_profiler = Profiler::default();
        let captures = Captures { commands, shared: Arc::new(shared), native: None, default_profiler };
        captures.commands.try_send(Command::Begun(Ok(()))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert!(matches!(captures.start(StartRequest::default()).await, Err(StartError::Busy)));
            assert!(matches!(captures.stop(None).await, Err(CaptureError::TooMany)));
            drop(inbox);
            assert!(matches!(captures.stop(None).await, Err(CaptureError::ShuttingDown)));
        });
    }
}
