//! One GPU or MIG instance: what its counters say, which it lacks and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessUtilizationSample;
use nvml_wrapper::{Device, Nvml};

use super::engines::Engines;
use super::gpm::{self, Gpm};
use super::library::{is_lasting, is_loss, reason};
use super::reads::{PCIE, READS, Read};
use super::status::{GpuReadings, Reading};
use crate::capture::beside::counters::{Counter, GpuIdentity, Metric};
use crate::wire::clock::monotonic_ns;

/// When a call that failed is made again.
const RETRY: Duration = Duration::from_secs(10);
/// NVML names only processes that did something in its last sample period, of a second at most: not named for this
/// long, a process does nothing.
const PROCESS_IDLE_NS: u64 = 2_000_000_000;

const PROCESS: &[Metric] = &[Metric::ProcessSmUtilization, Metric::ProcessMemoryUtilization];
const GPM: &[Metric] = &[
    Metric::SmBusy,
    Metric::SmOccupancy,
    Metric::TensorBusy,
    Metric::DramBandwidth,
    Metric::NvlinkTransmitted,
    Metric::NvlinkReceived,
];

/// Why a counter is not there.
#[derive(Debug)]
struct Absence {
    reason: String,
    /// When it is asked for again; `None`: never.
    retry: Option<Instant>,
}

/// One GPU.
#[derive(Debug)]
pub(super) struct Gpu<'nvml> {
    nvml: &'nvml Nvml,
    device: Device<'nvml>,
    number: u32,
    identity: GpuIdentity,
    memory_total_bytes: Option<u64>,
    lost: Option<String>,
    absent: BTreeMap<Metric, Absence>,
    /// What was said in the log.
    told: BTreeSet<Metric>,
    latest: BTreeMap<(Metric, u32), Reading>,
    gpm: Gpm<'nvml>,
    /// GPM knows PCIe.
    is_pcie_known: bool,
    /// Newest process sample seen, NVML's microseconds.
    processes_seen: u64,
}

impl<'nvml> Gpu<'nvml> {
    /// `number` is its place in the list of all.
    pub(super) fn new(nvml: &'nvml Nvml, device: Device<'nvml>, number: u32, index: u32, mig: Option<u32>) -> Self {
        let (uuid, name) = (device.uuid().unwrap_or_default(), device.name().unwrap_or_default());
        Self {
            nvml,
            device,
            number,
            identity: GpuIdentity { index, mig, uuid, name },
            memory_total_bytes: None,
            lost: None,
            absent: BTreeMap::new(),
            told: BTreeSet::new(),
            latest: BTreeMap::new(),
            gpm: Gpm::default(),
            is_pcie_known: false,
            processes_seen: 0,
        }
    }

    pub(super) fn identity(&self) -> &GpuIdentity {
        &self.identity
    }

    /// What is known of it now.
    pub(super) fn readings(&self) -> GpuReadings {
        GpuReadings {
            identity: self.identity.clone(),
            memory_total_bytes: self.memory_total_bytes,
            lost: self.lost.clone(),
            latest: self.latest.clone(),
            absent: self.absent.iter().map(|(metric, absence)| (*metric, absence.reason.clone())).collect(),
        }
    }

    /// Reads all that is quick.
    pub(super) fn sample(&mut self, engines: &Engines, values: &mut Vec<Counter>) {
        for read in READS {
            self.read(read, values);
        }
        self.memory(values);
        self.gpm(values);
        self.processes(engines, values);
        self.tell();
    }

    /// Whether PCIe has to be asked for in this direction, by a call of 20 ms.
    pub(super) fn wants_pcie(&self, direction: usize) -> bool {
        PCIE.get(direction).is_some_and(|read| !self.is_pcie_known && self.is_due(read.metrics))
    }

    /// Makes that call.
    pub(super) fn pcie(&mut self, direction: usize, values: &mut Vec<Counter>) {
        if let Some(read) = PCIE.get(direction) {
            self.read(read, values);
            self.tell();
        }
    }

    fn read(&mut self, read: &Read, values: &mut Vec<Counter>) {
        if self.is_due(read.metrics) {
            let found = (read.call)(&self.device);
            if let Some(found) = self.judge(read.metrics, found) {
                for (metric, value) in read.metrics.iter().zip(found) {
                    self.put(*metric, 0, value, values);
                }
            }
        }
    }

    fn memory(&mut self, values: &mut Vec<Counter>) {
        if self.is_due(&[Metric::MemoryUsed]) {
            let found = self.device.memory_info();
            if let Some(memory) = self.judge(&[Metric::MemoryUsed], found) {
                self.memory_total_bytes = Some(memory.total);
                self.put(Metric::MemoryUsed, 0, memory.used as f64, values);
            }
        }
    }

    fn gpm(&mut self, values: &mut Vec<Counter>) {
        // One that is absent by itself is asked for with the others; it costs nothing.
        if self.lost.is_some() || !GPM.iter().any(|metric| self.is_due(&[*metric])) {
            self.is_pcie_known = false;
            return;
        }
        let found = self.gpm.sample(self.nvml, &self.device);
        let found = match found {
            Err(NvmlError::NotSupported) => {
                let why = "needs GPM, which this GPU does not support (Hopper and newer do)";
                for metric in GPM {
                    self.absent.insert(*metric, Absence { reason: why.into(), retry: None });
                }
                return;
            }
            found => self.judge(GPM, found),
        };
        let Some(found) = found else {
            self.is_pcie_known = false;
            return;
        };
        for (metric, found) in found {
            let is_pcie = matches!(metric, Metric::PcieTransmitted | Metric::PcieReceived);
            match found {
                Ok(value) => {
                    self.is_pcie_known |= is_pcie;
                    self.absent.remove(&metric);
                    self.put(metric, 0, value, values);
                }
                // There is another way to PCIe.
                Err(_) if is_pcie => self.is_pcie_known = false,
                Err(error) => {
                    self.judge::<()>(&[metric], Err(error));
                }
            }
        }
    }

    fn processes(&mut self, engines: &Engines, values: &mut Vec<Counter>) {
        if self.lost.is_some() {
            return;
        }
        self.latest.retain(|(_, pid), _| *pid == 0 || engines.pids.contains(pid));
        if engines.pids.is_empty() {
            return self.note(engines);
        }
        if !self.is_due(PROCESS) {
            return;
        }
        let found = match self.device.process_utilization_stats(self.processes_seen) {
            // No sample since the last one.
            Err(NvmlError::NotFound) => Ok(Vec::new()),
            found => found,
        };
        let Some(mut found) = self.judge(PROCESS, found) else { return };
        found.sort_by_key(|sample| sample.timestamp);
        self.processes_seen =
            found.last().map_or(self.processes_seen, |newest| newest.timestamp.max(self.processes_seen));
        // A process has one sample, its newest; some drivers fill numbers in that can't be.
        let newest: BTreeMap<u32, ProcessUtilizationSample> =
            found.into_iter().map(|sample| (sample.pid, sample)).collect();
        for (pid, sample) in newest.into_iter().filter(|(pid, _)| engines.pids.contains(pid)) {
            for (metric, value) in PROCESS.iter().zip([sample.sm_util, sample.mem_util]) {
                if value <= 100 {
                    self.put(*metric, pid, value.into(), values);
                }
            }
        }
        let now_ns = monotonic_ns();
        let idle: Vec<(Metric, u32)> = self
            .latest
            .iter()
            .filter(|((_, pid), reading)| *pid != 0 && now_ns.saturating_sub(reading.at_ns) > PROCESS_IDLE_NS)
            .map(|(key, _)| *key)
            .collect();
        for (metric, pid) in idle {
            self.put(metric, pid, 0.0, values);
        }
        self.note(engines);
    }

    /// Some engines' processes can't be told: those of the others are shown all the same.
    fn note(&mut self, engines: &Engines) {
        if let Some(reason) = &engines.absent {
            for metric in PROCESS {
                let retry = Some(Instant::now());
                self.absent.entry(*metric).or_insert_with(|| Absence { reason: reason.clone(), retry });
            }
        }
    }

    /// Whether all of these are to be asked for.
    fn is_due(&self, metrics: &[Metric]) -> bool {
        let now = Instant::now();
        let may = |absence: &Absence| absence.retry.is_some_and(|retry| retry <= now);
        self.lost.is_none() && metrics.iter().all(|metric| self.absent.get(metric).is_none_or(may))
    }

    /// What was found, or notes why nothing was.
    fn judge<T>(&mut self, metrics: &[Metric], found: Result<T, NvmlError>) -> Option<T> {
        match found {
            Ok(found) => {
                metrics.iter().for_each(|metric| drop(self.absent.remove(metric)));
                Some(found)
            }
            Err(error) if is_loss(&error) => {
                let reason = reason(&error);
                tracing::warn!(
                    gpu = self.identity.label(),
                    uuid = self.identity.uuid,
                    reason,
                    "no more counters of a GPU"
                );
                self.lost = Some(reason);
                self.latest.clear();
                self.absent.clear();
                None
            }
            Err(error) => {
                let retry = (!is_lasting(&error)).then(|| Instant::now() + RETRY);
                for metric in metrics {
                    self.absent.insert(*metric, Absence { reason: reason(&error), retry });
                    self.latest.retain(|(latest, _), _| latest != metric);
                }
                None
            }
        }
    }

    fn put(&mut self, metric: Metric, pid: u32, value: f64, values: &mut Vec<Counter>) {
        let at_ns = monotonic_ns();
        self.latest.insert((metric, pid), Reading { value, at_ns });
        values.push(Counter { at_ns, gpu: self.number, metric, pid, value });
    }

    /// Says what is absent, each once.
    fn tell(&mut self) {
        let mut news: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (metric, absence) in self.absent.iter().filter(|(metric, _)| !self.told.contains(metric)) {
            news.entry(&absence.reason).or_default().push(metric.key());
        }
        for (reason, counters) in news {
            tracing::info!(gpu = self.identity.label(), "no {}: {reason}", counters.join(", "));
        }
        self.told.extend(self.absent.keys());
    }

    /// The number of PCIe calls there are per GPU.
    pub(super) const PCIE_CALLS: usize = PCIE.len();
}

const _: () = assert!(GPM.len() + PCIE.len() == gpm::METRICS.len());
