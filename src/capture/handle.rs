//! The handle that others hold: messages in, snapshots out.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::manifest::{CaptureId, Manifest};
use super::request::{CaptureError, StartError, StartRequest};

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
    /// Captures that reached each final state since this sidecar started: done, cancelled, failed.
    pub finished_total: [u64; 3],
    /// Records taken from rings of ranks that are gone by now; add it to the ranks' own for a total that never falls.
    pub departed_records_total: u64,
    /// Records that departed ranks dropped.
    pub departed_dropped_total: u64,
    /// Bytes used by all captures on disk.
    pub store_bytes: u64,
}

/// Formats a trace can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceFormat {
    /// Chrome JSON.
    Json,
    /// Chrome JSON, gzip.
    JsonGz,
}

/// Something that writes itself, to be run where blocking is allowed.
pub type Export = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// What the service needs of the session; [`super::manager`] implements it behind channels.
#[derive(Debug, Clone)]
pub struct Captures {}

#[allow(missing_docs, unused_variables, clippy::unimplemented)]
impl Captures {
    pub async fn start(&self, request: StartRequest) -> Result<Arc<Manifest>, StartError> {
        unimplemented!()
    }
    /// `Ok(None)`: nothing was running and nothing ever ran.
    pub async fn stop(&self, id: Option<CaptureId>) -> Result<Option<Arc<Manifest>>, CaptureError> {
        unimplemented!()
    }
    pub fn snapshot(&self) -> Arc<Snapshot> {
        unimplemented!()
    }
    /// Newest first.
    pub fn list(&self) -> Vec<Arc<Manifest>> {
        unimplemented!()
    }
    /// `latest` is the newest one.
    pub fn get(&self, id: &str) -> Result<Arc<Manifest>, CaptureError> {
        unimplemented!()
    }
    /// Resolves when the manifest is final, or when `timeout` has passed; gives what it then is.
    pub async fn wait(&self, id: &CaptureId, timeout: std::time::Duration) -> Result<Arc<Manifest>, CaptureError> {
        unimplemented!()
    }
    pub async fn delete(&self, id: &str) -> Result<(), CaptureError> {
        unimplemented!()
    }
    /// A writer of the trace, and the file name to offer.
    pub fn trace(&self, id: &str, format: TraceFormat, rank: Option<u32>) -> Result<(Export, String), CaptureError> {
        unimplemented!()
    }
    /// A writer of the ledger: JSON lines.
    pub fn iterations(&self, id: &str) -> Result<Export, CaptureError> {
        unimplemented!()
    }
    /// Ends a running capture in order, waits for exports, and stops the thread. Idempotent.
    pub async fn shut_down(&self, patience: std::time::Duration) {
        unimplemented!()
    }
}
