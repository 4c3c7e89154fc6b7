//! What the sampler last saw, as `status` and `/metrics` show it. Published by the sampler's thread, read by others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Number;

use super::reads::throttle_reasons;
use crate::capture::beside::counters::{GpuIdentity, Metric};
use crate::wire::clock::monotonic_ns;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// In the metric's unit.
    pub value: f64,
    /// When, CLOCK_MONOTONIC nanoseconds.
    pub at_ns: u64,
}

/// What is known of one GPU.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuReadings {
    /// Which one.
    pub identity: GpuIdentity,
    /// Its memory.
    pub memory_total_bytes: Option<u64>,
    /// Why it is not asked any more.
    pub lost: Option<String>,
    /// The newest values, by metric and process (0: none).
    pub latest: BTreeMap<(Metric, u32), Reading>,
    /// What is not there, and why.
    pub absent: BTreeMap<Metric, String>,
}

/// One GPU, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GpuStatus {
    /// NVML's index of the GPU.
    pub index: u32,
    /// Index of the MIG instance in it; null: the GPU itself.
    pub mig: Option<u32>,
    /// Its UUID.
    pub uuid: String,
    /// What it is called.
    pub name: String,
    /// Its memory; null when NVML does not say.
    pub memory_total_bytes: Option<u64>,
    /// Why there is nothing more of it; null while there is.
    pub lost: Option<String>,
    /// How old the newest value is; null: there is none.
    pub age_ms: Option<u64>,
    /// The newest values, by key.
    pub values: BTreeMap<&'static str, Number>,
    /// `throttle_reasons` by name.
    pub throttled_by: Vec<&'static str>,
    /// What the attached engines' processes use of it.
    pub processes: Vec<ProcessStatus>,
    /// Counters that are not there, by key, and why.
    pub absent: BTreeMap<&'static str, String>,
}

/// One process of an engine, on one GPU.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// Process id, the host's.
    pub pid: u32,
    /// Its share of the multiprocessors' time.
    pub sm_utilization_percent: Option<Number>,
    /// Its share of the memory's time.
    pub memory_utilization_percent: Option<Number>,
}

impl From<&GpuReadings> for GpuStatus {
    fn from(readings: &GpuReadings) -> Self {
        let newest_ns = readings.latest.values().map(|reading| reading.at_ns).max();
        let value = |metric| readings.latest.get(&(metric, 0)).map(|reading| reading.value);
        let mut processes: BTreeMap<u32, ProcessStatus> = BTreeMap::new();
        for ((metric, pid), reading) in readings.latest.iter().filter(|((metric, _), _)| metric.is_of_a_process()) {
            let process = processes.entry(*pid).or_insert_with(|| ProcessStatus { pid: *pid, ..Default::default() });
            match metric {
                Metric::ProcessSmUtilization => process.sm_utilization_percent = number(reading.value),
                _ => process.memory_utilization_percent = number(reading.value),
            }
        }
        let GpuIdentity { index, mig, uuid, name } = readings.identity.clone();
        Self {
            index,
            mig,
            uuid,
            name,
            memory_total_bytes: readings.memory_total_bytes,
            lost: readings.lost.clone(),
            age_ms: newest_ns.map(|at_ns| monotonic_ns().saturating_sub(at_ns) / 1_000_000),
            values: Metric::all().filter_map(|metric| Some((metric.key(), number(value(metric)?)?))).collect(),
            throttled_by: value(Metric::ThrottleReasons).map(throttle_reasons).unwrap_or_default(),
            processes: processes.into_values().collect(),
            absent: readings.absent.iter().map(|(metric, why)| (metric.key(), why.clone())).collect(),
        }
    }
}

/// Whole numbers as such.
fn number(value: f64) -> Option<Number> {
    let is_whole = value.fract() == 0.0 && (0.0..9e15).contains(&value);
    if is_whole { Some((value as u64).into()) } else { Number::from_f64(value) }
}

/// The GPUs, as far as they are known. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gpus {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    gpus: Vec<GpuReadings>,
    absent: Option<String>,
}

impl Gpus {
    /// None, and why.
    pub fn none(why: &str) -> Self {
        Self { seen: Arc::new(Mutex::new(Seen { gpus: Vec::new(), absent: Some(why.into()) })) }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, the unreachable ones too.
    pub fn status(&self) -> Vec<GpuStatus> {
        self.lock().gpus.iter().map(GpuStatus::from).collect()
    }

    /// The same with the numbers as they came.
    pub fn readings(&self) -> Vec<GpuReadings> {
        self.lock().gpus.clone()
    }

    /// Why there are none.
    pub fn absent(&self) -> Option<String> {
        self.lock().absent.clone()
    }

    pub(super) fn found(&self, gpus: Vec<GpuReadings>) {
        *self.lock() = Seen { gpus, absent: None };
    }

    pub(super) fn update(&self, at: usize, readings: GpuReadings) {
        if let Some(gpu) = self.lock().gpus.get_mut(at) {
            *gpu = readings;
        }
    }

    pub(super) fn give_up(&self, why: String) {
        *self.lock() = Seen { gpus: Vec::new(), absent: Some(why) };
    }
}
