//! The counters' part of a capture on the disk: a fragment of its own beside the ranks', and what the manifest says of
//! it. Called by the thread that writes; nothing here can fail a capture.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::trace::counter::Counter;
use crate::trace::event::{Anchor, Event};
use crate::trace::fragment::{COUNTERS, FragmentIdentity, FragmentReader, FragmentWriter};
use crate::wire::clock::{monotonic_ns, realtime_ns};

use super::counters::{CounterQueue, Sampled};
use crate::capture::manifest::{CaptureId, GpuReport};
use crate::capture::store::Store;

/// Counters of one capture, from its window's opening to its end.
#[derive(Debug)]
pub(in crate::capture) struct GpuCounters {
    /// And how many windows there had been when the capture began; `None`: nothing is added any more.
    queue: Option<(Arc<CounterQueue>, u64)>,
    id: CaptureId,
    path: PathBuf,
    file: Option<FragmentWriter>,
    /// Nothing more is written.
    failed: bool,
    unwritten: u64,
    values: Vec<Counter>,
    report: GpuReport,
    /// Who the report speaks of.
    sampled: Option<Arc<Sampled>>,
}

impl GpuCounters {
    /// For a capture that begins; there had been this many windows before its own, which may be open by now.
    pub(in crate::capture) fn new(queue: Arc<CounterQueue>, windows: u64, store: &Store, id: &CaptureId) -> Self {
        Self { queue: Some((queue, windows)), ..Self::empty(store, id) }
    }

    /// What a sidecar that died left; nothing is added to it.
    pub(in crate::capture) fn left_over(store: &Store, id: &CaptureId) -> Self {
        let counters = Self::empty(store, id);
        let left = FragmentReader::open(&counters.path).and_then(|reader| reader.scan());
        let report = left.map_or_else(
            |_| GpuReport { absent: Some("the sidecar died before a value was kept".into()), ..GpuReport::default() },
            |scan| {
                let (gpus, values, dropped) = (scan.identity.gpus, scan.events, scan.dropped_total);
                GpuReport { gpus, values, dropped, absent: None }
            },
        );
        Self { report, ..counters }
    }

    fn empty(store: &Store, id: &CaptureId) -> Self {
        Self {
            queue: None,
            id: id.clone(),
            path: store.counters(id),
            file: None,
            failed: false,
            unwritten: 0,
            values: Vec::new(),
            report: GpuReport::default(),
            sampled: None,
        }
    }

    /// Writes what came since the last time; says whether the report is another now.
    pub(in crate::capture) fn turn(&mut self) -> bool {
        let Some((queue, windows)) = &self.queue else { return false };
        let Some((sampled, dropped)) = queue.take(*windows, &mut self.values) else { return false };
        let before = (self.report.values, self.report.dropped);
        self.write(&sampled, dropped);
        self.report.dropped = dropped + self.unwritten;
        self.speak_of(sampled) || before != (self.report.values, self.report.dropped)
    }

    /// The capture is over.
    pub(in crate::capture) fn finish(&mut self) {
        self.turn();
        let Some((queue, _)) = self.queue.take() else { return };
        self.speak_of(queue.sampled());
        if self.report.values == 0 {
            self.report.absent.get_or_insert_with(|| "no value was read while the window was open".into());
        }
    }

    /// What the manifest says.
    pub(in crate::capture) fn report(&self) -> &GpuReport {
        &self.report
    }

    /// Bytes written.
    pub(in crate::capture) fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, FragmentWriter::bytes)
    }

    /// A thousand turns a second: only what is new is looked at.
    fn speak_of(&mut self, sampled: Arc<Sampled>) -> bool {
        let is_new = self.sampled.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &sampled));
        if is_new && !self.failed {
            self.report.gpus.clone_from(&sampled.gpus);
            self.report.absent.clone_from(&sampled.absent);
            self.sampled = Some(sampled);
        }
        is_new
    }

    fn write(&mut self, sampled: &Sampled, dropped: u64) {
        if self.values.is_empty() {
            return;
        }
        let events: Vec<Event> = self.values.drain(..).map(Event::Counter).collect();
        if !self.failed {
            match self.append(sampled, &events, dropped) {
                Ok(()) => {
                    self.report.values += events.len() as u64;
                    return;
                }
                Err(error) => {
                    tracing::warn!(capture = %self.id, error, "the GPUs' counters could not be written");
                    self.report.absent = Some(format!("could not be written: {error}"));
                    self.failed = true;
                }
            }
        }
        self.unwritten += events.len() as u64;
    }

    fn append(&mut self, sampled: &Sampled, events: &[Event], dropped: u64) -> Result<(), String> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let identity = FragmentIdentity {
                    capture_id: self.id.0.clone(),
                    role: COUNTERS.into(),
                    pid: std::process::id(),
                    ticks_per_second: 1_000_000_000,
                    gpus: sampled.gpus.clone(),
                    ..FragmentIdentity::default()
                };
                if let Some(folder) = self.path.parent() {
                    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
                }
                FragmentWriter::create(&self.path, &identity).map_err(|e| e.to_string())?
            }
        };
        let file = self.file.insert(file);
        let now_ns = monotonic_ns();
        let anchor = Anchor { ticks: now_ns, monotonic_ns: now_ns, realtime_ns: realtime_ns() };
        let next = file.next_index(0).unwrap_or(0);
        file.write_block(0, next, events, anchor, dropped).map(drop).map_err(|e| e.to_string())
    }
}
