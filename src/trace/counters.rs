//! From the fragment of the sidecar's counters to counter tracks.
//!
//! Read once, block by block, in the order in which the values were measured; what would run backwards on its track is
//! left out and counted, whoever wrote the file. Their clock is CLOCK_MONOTONIC itself, and they share the ranks' way
//! from it to the epoch.

use std::collections::BTreeMap;
use std::io;

use super::clock::ClockMap;
use super::counter::{Counter, GpuIdentity, Metric};
use super::event::Event;
use super::fragment::{FragmentReader, FragmentScan};
use super::layout::Layout;
use super::merge::SAME_CLOCK_NS;
use super::writer::TraceWriter;

/// Nanoseconds are the ticks of this fragment.
const TICKS_PER_SECOND: u64 = 1_000_000_000;
/// More tracks than any machine has: what a stranger's file may make us remember.
const MAX_TRACKS: usize = 65_536;

/// The counters of one sidecar.
#[derive(Debug)]
pub(super) struct Counters {
    gpus: Vec<GpuIdentity>,
    clock: ClockMap,
    reader: FragmentReader,
    values: u64,
    dropped: u64,
    left_out: u64,
    cut_bytes: u64,
    unreadable: Option<String>,
}

impl Counters {
    pub(super) fn new(reader: FragmentReader, scan: &FragmentScan, realtime_offset_ns: i128) -> Self {
        let first = scan.first_anchor.unwrap_or_default();
        let last = scan.last_anchor.unwrap_or(first);
        Self {
            gpus: scan.identity.gpus.clone(),
            clock: ClockMap::new(first, last, TICKS_PER_SECOND).sharing(realtime_offset_ns, SAME_CLOCK_NS),
            reader,
            values: 0,
            dropped: scan.dropped_total,
            left_out: 0,
            cut_bytes: 0,
            unreadable: None,
        }
    }

    /// Writes processes and tracks, the first process being GPU `first`; says how many there are.
    pub(super) fn write<W: TraceWriter + ?Sized>(
        &mut self,
        layout: &Layout,
        first: usize,
        base_ns: u64,
        writer: &mut W,
    ) -> io::Result<usize> {
        for (i, gpu) in self.gpus.iter().enumerate() {
            layout.name_gpu(first + i, gpu, writer)?;
        }
        let mut newest: BTreeMap<(u32, Metric, u32), u64> = BTreeMap::new();
        loop {
            let block = match self.reader.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(error) => {
                    self.unreadable = Some(error.to_string());
                    break;
                }
            };
            for event in block.events() {
                let Some(Event::Counter(counter)) = event else {
                    self.left_out += 1;
                    continue;
                };
                let at_ns = self.clock.realtime_ns(counter.at_ns);
                let track = (counter.gpu, counter.metric, counter.pid);
                let is_known = newest.get(&track);
                let fits = (counter.gpu as usize) < self.gpus.len()
                    && at_ns >= is_known.copied().unwrap_or(base_ns)
                    && (is_known.is_some() || newest.len() < MAX_TRACKS);
                if !fits {
                    self.left_out += 1;
                    continue;
                }
                newest.insert(track, at_ns);
                self.values += 1;
                let process = layout.gpu(first + counter.gpu as usize);
                if counter.metric.is_of_a_process() {
                    writer.gauge(process, &name(&counter), at_ns, counter.value)?;
                } else {
                    writer.gauge(process, counter.metric.title(), at_ns, counter.value)?;
                }
            }
        }
        self.cut_bytes = self.reader.tail().cut_bytes();
        Ok(self.gpus.len())
    }

    /// Hands on what is there, in the order of the file.
    pub(super) fn each(&mut self, take: &mut dyn FnMut(&GpuIdentity, &Counter)) {
        while let Ok(Some(block)) = self.reader.next_block() {
            for event in block.events() {
                if let Some(Event::Counter(counter)) = event
                    && let Some(gpu) = self.gpus.get(counter.gpu as usize)
                {
                    take(gpu, &counter);
                }
            }
        }
    }

    /// What the trace says of them as a whole.
    pub(super) fn about(&self) -> serde_json::Value {
        serde_json::json!({
            "devices": self.gpus, "values": self.values, "dropped": self.dropped, "left_out": self.left_out,
            "cut_bytes": self.cut_bytes, "unreadable": self.unreadable,
        })
    }
}

fn name(counter: &Counter) -> String {
    format!("process {} {}", counter.pid, counter.metric.title())
}
