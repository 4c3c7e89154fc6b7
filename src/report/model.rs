//! The report as a document: what the sidecar sends, what `report` prints, what two captures are compared by.
//!
//! Read leniently, since it may come from a sidecar of another version or from a file: unknown fields are ignored,
//! missing ones have defaults. Times are nanoseconds; shares and ratios are fractions of 1.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::pace::{Pace, PaceRow};
use super::points::Points;
use super::proxied::Proxied;
use super::requests::Requests;
use super::verdict::{Thresholds, Verdict};

/// Version of this document.
pub const SCHEMA: u32 = 1;
/// How percentiles come about; stands in every report.
pub const PERCENTILES: &str = "hdrhistogram, 3 significant digits: within 0.1 % of a value that occurred";

/// What happened in one window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Version of this document: 1.
    pub schema: u32,
    /// Version of stepscope that computed it.
    pub stepscope_version: String,
    /// Which capture.
    pub capture: CaptureFacts,
    /// Its window.
    pub window: WindowFacts,
    /// What limits the engine, as far as the data tells.
    pub verdict: Verdict,
    /// Iterations by phase, those that occur, then all of them.
    pub phases: Vec<PhaseRow>,
    /// Tokens per second of the whole engine.
    pub throughput: Throughput,
    /// The longest iterations.
    pub slowest: Vec<IterationRow>,
    /// The longest times between an iteration's end and the next one's begin.
    pub longest_gaps: Vec<IterationRow>,
    /// Rank by rank.
    pub ranks: Vec<RankRow>,
    /// Ranks that step together, compared iteration by iteration.
    pub groups: Vec<GroupRow>,
    /// What requests went through.
    pub requests: Requests,
    /// What passing through the sidecar took, where it stands in front of the engine.
    #[serde(default)]
    pub proxied: Proxied,
    /// The GPUs' counters.
    pub gpus: Vec<GpuRow>,
    /// What the capture itself took, as far as it is known.
    pub overhead: Overhead,
    /// What is missing.
    pub loss: Loss,
    /// Kernels per iteration, where a profiler recorded them.
    pub kernels: Option<Kernels>,
    /// Every threshold that the verdict and the comparison use.
    pub thresholds: Thresholds,
    /// How percentiles come about.
    pub percentiles: String,
    /// Single iterations, or an even choice of them.
    pub points: Points,
}

/// Which capture it is of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CaptureFacts {
    /// Its id.
    pub capture_id: String,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// What was switched on.
    pub profiler: String,
    /// Why it ended.
    pub closed_by: Option<String>,
    /// The engines in it, with their versions.
    pub engines: Vec<String>,
}

/// The window as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowFacts {
    /// Ranks that recorded iterations.
    pub ranks: u64,
    /// Groups of them.
    pub groups: u64,
    /// First iteration of any rank.
    pub first_iteration: Option<u64>,
    /// Last iteration of any rank.
    pub last_iteration: Option<u64>,
    /// Iterations recorded, all ranks.
    pub iterations: u64,
    /// Begin of the earliest one, nanoseconds since the epoch.
    pub begin_ns: Option<u64>,
    /// From there to the end of the last one.
    pub wall_ns: u64,
    /// How far the wall clock was set meanwhile; times are by the clock as it was at the end.
    pub wall_clock_stepped_ns: i64,
}

/// What kind of batch an iteration had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Requests in their context phase only.
    Prefill,
    /// Requests in their generation phase only.
    Decode,
    /// Both.
    Mixed,
    /// A dummy batch that keeps data-parallel ranks in step.
    Dummy,
    /// All iterations.
    #[default]
    All,
    /// The engine did not say, or one that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Phase {
    /// Those that an iteration can have.
    pub const KINDS: [Self; 5] = [Self::Prefill, Self::Decode, Self::Mixed, Self::Dummy, Self::Unknown];

    /// As tables and plots call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Mixed => "mixed",
            Self::Dummy => "dummy",
            Self::Unknown => "not told",
            Self::All => "all",
        }
    }
}

/// Nanoseconds, or a rate, of many.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Mean, exact.
    pub avg: f64,
    /// Smallest, exact.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Largest, exact.
    pub max: u64,
}

/// How many values lie between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bin {
    /// Lower bound, included.
    pub from_ns: u64,
    /// Upper bound, left out.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
}

/// Iterations of one phase, all ranks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseRow {
    /// Which.
    pub phase: Phase,
    /// How many; each rank's counts.
    pub iterations: u64,
    /// Host time inside the call; without iterations whose end is not known.
    pub duration_ns: Option<Distribution>,
    /// From the begin to the next one's begin; without those behind which a record is missing.
    pub interval_ns: Option<Distribution>,
    /// From the end to the next one's begin.
    pub gap_ns: Option<Distribution>,
    /// Time on the device, where it was measured.
    pub device_ns: Option<Distribution>,
    /// Of the time of all iterations.
    pub share_of_time: f64,
    /// Tokens of requests in their context phase.
    pub context_tokens: u64,
    /// Tokens of requests in their generation phase.
    pub generation_tokens: u64,
    /// Both, per second of the time of these iterations.
    pub tokens_per_second: Option<f64>,
    /// Durations, in steps of a sixteenth of an octave.
    pub durations: Vec<Bin>,
}

/// Tokens per second from the begin of the first iteration to the end of the last one, all groups.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Throughput {
    /// Of requests in their context phase.
    pub context_tokens_per_second: f64,
    /// Of requests in their generation phase.
    pub generation_tokens_per_second: f64,
    /// Iterations per second of one rank.
    pub iterations_per_second: f64,
    /// Whether a batch was counted once a group, or once a rank.
    pub counted: String,
}

/// One iteration of one rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IterationRow {
    /// Place in `ranks`.
    pub rank: u32,
    /// Its number.
    pub iteration: u64,
    /// Begin, counted from the window's.
    pub start_ns: u64,
    /// What kind of batch.
    pub phase: Phase,
    /// Host time inside the call.
    pub duration_ns: u64,
    /// To the next one's begin.
    pub gap_ns: Option<u64>,
    /// Time on the device.
    pub device_ns: Option<u64>,
    /// Its batch; null where the engine did not say.
    pub batch: Option<BatchFacts>,
}

/// A batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchFacts {
    /// Requests in their context phase.
    pub context_requests: u32,
    /// Their tokens.
    pub context_tokens: u32,
    /// Requests in their generation phase.
    pub generation_requests: u32,
    /// Their tokens.
    pub generation_tokens: u32,
}

/// One rank.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RankRow {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// What people call it.
    pub label: String,
    /// Process id in the engine's pid namespace.
    pub pid: u32,
    /// First iteration recorded.
    pub first_iteration: Option<u64>,
    /// Last iteration recorded.
    pub last_iteration: Option<u64>,
    /// Iterations recorded.
    pub iterations: u64,
    /// Host time inside the call.
    pub duration_ns: Option<Distribution>,
    /// Of the iterations compared with the others of its group, those in which it took longest.
    pub slowest_share: Option<f64>,
    /// How much later than the first of its group it began, median.
    pub begin_late_p50_ns: Option<u64>,
    /// How much longer than the fastest of its group it took, median.
    pub longer_p50_ns: Option<u64>,
}

/// Ranks that step together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupRow {
    /// Its job.
    pub job: String,
    /// Its name.
    pub group: String,
    /// How many ranks recorded.
    pub ranks: u64,
    /// Iterations that all of them have.
    pub compared: u64,
    /// Iterations that only some of them have.
    pub not_compared: u64,
    /// Of those compared, in which the ranks had different batches.
    pub unlike_batches: u64,
    /// From the first begin to the last.
    pub begin_skew_ns: Option<Distribution>,
    /// From the fastest duration to the slowest.
    pub spread_ns: Option<Distribution>,
    /// Place in `ranks` of the one that was slowest most often.
    pub slowest_rank: Option<u32>,
    /// How often it was.
    pub slowest_share: f64,
    /// How much longer it then took than the fastest, median, beside the group's median duration.
    pub slowest_excess: f64,
}

/// A GPU's counters over the window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuRow {
    /// `0`, or `0.1` for a MIG instance.
    pub gpu: String,
    /// Its UUID.
    pub uuid: String,
    /// What it is called.
    pub name: String,
    /// One of the engine's processes was seen on it.
    pub of_the_engine: bool,
    /// Counter by counter.
    pub counters: Vec<CounterRow>,
}

/// One counter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CounterRow {
    /// Its key, with its unit.
    pub counter: String,
    /// Values.
    pub values: u64,
    /// Their mean.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// What the capture itself took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overhead {
    /// Calls of the profiler, rank by rank.
    pub profiler_calls: Vec<ProfilerCalls>,
    /// All of them, of the rank that they held longest.
    pub profiler_total_ns: u64,
    /// From the gate's opening to the first begin, the longest of all ranks.
    pub open_to_first_begin_ns: Option<u64>,
    /// From the last end to the gate's closing, the longest of all ranks.
    pub last_end_to_close_ns: Option<u64>,
    /// The first and the last iteration beside the others of their phase.
    pub edges: Vec<Edge>,
    /// How fast ranks stepped before, within and behind the window; those of which anything is known.
    pub paces: Vec<PaceRow>,
    /// What is not known, and why.
    pub not_known: Vec<String>,
}

/// What a profiler's calls held the engine's thread for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfilerCalls {
    /// Job of the rank.
    pub job: String,
    /// Group of the rank.
    pub group: String,
    /// The rank.
    pub rank: u32,
    /// cuProfilerStart.
    pub start_ns: Option<u64>,
    /// cuProfilerStop.
    pub stop_ns: Option<u64>,
    /// cuCtxSynchronize before the window opened.
    pub synchronize_open_ns: Option<u64>,
    /// cuCtxSynchronize before it closed.
    pub synchronize_close_ns: Option<u64>,
}

impl ProfilerCalls {
    /// All of them.
    pub fn total_ns(&self) -> u64 {
        let calls = [self.start_ns, self.stop_ns, self.synchronize_open_ns, self.synchronize_close_ns];
        calls.into_iter().flatten().fold(0, u64::saturating_add)
    }
}

/// An iteration at the window's edge.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Edge {
    /// `first` or `last`.
    pub edge: String,
    /// Place in `ranks`: the one that took longest.
    pub rank: u32,
    /// Its number.
    pub iteration: u64,
    /// Its phase.
    pub phase: Phase,
    /// Host time inside the call.
    pub duration_ns: u64,
    /// Median of the other iterations of that phase; null where there are too few.
    pub typical_ns: Option<u64>,
    /// 99th percentile of them.
    pub p99_ns: Option<u64>,
}

/// What is missing, and what was left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// Whether all is there: `true`, `false` or `"unknown"`.
    #[serde(serialize_with = "write_complete", deserialize_with = "read_complete")]
    pub complete: Option<bool>,
    /// What is missing, in words.
    pub missing: Vec<String>,
    /// Rank by rank, and other processes that recorded.
    pub ranks: Vec<LossRow>,
    /// Files that could not be used, in words.
    pub refused: Vec<String>,
    /// Values of GPU counters that were dropped.
    pub gpu_values_dropped: u64,
    /// Why there are no GPU counters, or no more.
    pub gpus_absent: Option<String>,
}

/// What one rank lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LossRow {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// The rank.
    pub rank: u32,
    /// `rank`, or `source` for a process that runs no iterations.
    pub role: String,
    /// What people call it.
    pub label: String,
    /// Iterations that its window covers.
    pub expected: u64,
    /// Iterations that are there.
    pub recorded: u64,
    /// Records dropped because there was no room for them.
    pub dropped: u64,
    /// Bytes left out: a torn or damaged end of its file.
    pub cut_bytes: u64,
    /// Iterations left out: too far out of order.
    pub disordered: u64,
    /// Events left out: of a kind that this version does not know.
    pub unknown: u64,
    /// Iterations whose end is not known: cut off, or ended by the next one's begin.
    pub without_end: u64,
    /// Why its window closed.
    pub closed_by: Option<String>,
}

/// Kernels in a profiler's report of the same window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kernels {
    /// Which file.
    pub report: String,
    /// Kernels in it.
    pub kernels: u64,
    /// Iterations in it, by our NVTX ranges.
    pub iterations: u64,
    /// Kernels per iteration.
    pub per_iteration: Option<f64>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

fn write_complete<S: Serializer>(complete: &Option<bool>, s: S) -> Result<S::Ok, S::Error> {
    match complete {
        Some(complete) => s.serialize_bool(*complete),
        None => s.serialize_str("unknown"),
    }
}

fn read_complete<'de, D: Deserializer<'de>>(d: D) -> Result<Option<bool>, D::Error> {
    Ok(serde_json::Value::deserialize(d)?.as_bool())
}
