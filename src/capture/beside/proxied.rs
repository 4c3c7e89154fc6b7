//! Requests that passed through the sidecar, on the disk: a fragment of their own beside the ranks'. Called by the thread that
//! writes; nothing here can fail a capture.

use std::fs;
use std::sync::Arc;

use crate::trace::event::{Anchor, Event};
use crate::trace::fragment::{FragmentIdentity, FragmentWriter, PROXY};
use crate::trace::passed::{LABEL, Passed, Script};
use crate::wire::clock::{monotonic_ns, realtime_ns};

use super::passed::PassedQueue;
use crate::capture::manifest::{CaptureId, SourceReport};
use crate::capture::store::Store;

/// The fragment's place among the ranks', which are numbered from below.
const INSTANCE: u64 = u64::MAX;

/// Requests of one capture.
#[derive(Debug)]
pub(in crate::capture) struct Proxied {
    /// `None`: nothing is added any more.
    queue: Option<Arc<PassedQueue>>,
    identity: FragmentIdentity,
    file: Option<FragmentWriter>,
    failed: Option<String>,
    script: Script,
    taken: Vec<Passed>,
    records: u64,
    dropped: u64,
}

impl Proxied {
    /// For a capture that begins. Of several jobs it is shown with the first: which one is behind the proxy nobody says.
    pub(in crate::capture) fn new(queue: Arc<PassedQueue>, id: &CaptureId, job: &str) -> Self {
        Self { queue: Some(queue), ..Self::nothing(id, job) }
    }

    /// For one that was taken up: what was kept stands in its fragment, and is a process's like any other's.
    pub(in crate::capture) fn nothing(id: &CaptureId, job: &str) -> Self {
        Self {
            queue: None,
            identity: FragmentIdentity {
                capture_id: id.0.clone(),
                job: job.into(),
                label: LABEL.into(),
                engine: format!("stepscope {}", env!("CARGO_PKG_VERSION")),
                pid: std::process::id(),
                role: PROXY.into(),
                segment_instance: INSTANCE,
                ticks_per_second: 1_000_000_000,
                ..FragmentIdentity::default()
            },
            file: None,
            failed: None,
            script: Script::default(),
            taken: Vec::new(),
            records: 0,
            dropped: 0,
        }
    }

    /// Writes what came since the last time.
    pub(in crate::capture) fn turn(&mut self, store: &Store) {
        let Some(queue) = &self.queue else { return };
        self.dropped = queue.take(&mut self.taken);
        self.write(store);
    }

    /// The capture is over: what is under way is told as far as it has got.
    pub(in crate::capture) fn finish(&mut self, store: &Store) {
        let Some(queue) = self.queue.take() else { return };
        self.dropped = queue.close(&mut self.taken);
        self.write(store);
    }

    fn write(&mut self, store: &Store) {
        if self.taken.is_empty() {
            return;
        }
        let requests = self.taken.len() as u64;
        let mut events = Vec::new();
        let now_ns = monotonic_ns();
        for passed in self.taken.drain(..) {
            self.script.write(&passed, now_ns, &mut events);
        }
        if self.failed.is_none() {
            match self.append(store, &events, now_ns) {
                Ok(()) => return self.records += events.len() as u64,
                Err(error) => {
                    tracing::warn!(capture = self.identity.capture_id, error, "requests could not be written");
                    self.failed = Some(error);
                }
            }
        }
        self.dropped += requests;
    }

    fn append(&mut self, store: &Store, events: &[Event], now_ns: u64) -> Result<(), String> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let path = store.fragment(&self.identity);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
                }
                FragmentWriter::create(&path, &self.identity).map_err(|e| e.to_string())?
            }
        };
        let file = self.file.insert(file);
        let anchor = Anchor { ticks: now_ns, monotonic_ns: now_ns, realtime_ns: realtime_ns() };
        let next = file.next_index(0).unwrap_or(0);
        file.write_block(0, next, events, anchor, self.dropped).map(drop).map_err(|e| e.to_string())
    }

    /// Bytes written.
    pub(in crate::capture) fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, FragmentWriter::bytes)
    }

    /// What the manifest says; `None`: no request passed through.
    pub(in crate::capture) fn report(&self) -> Option<SourceReport> {
        (self.records > 0 || self.dropped > 0).then(|| SourceReport {
            job: self.identity.job.clone(),
            label: self.identity.label.clone(),
            engine: self.identity.engine.clone(),
            pid: self.identity.pid,
            records: self.records,
            dropped: self.dropped,
        })
    }
}
