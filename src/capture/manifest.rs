//! What is said of a capture: the manifest on disk and the body of `captures/{id}` are the same document.

use serde::{Deserialize, Serialize};

use crate::trace::counter::GpuIdentity;

pub use crate::report::pace::Pace;

pub use super::native::manifest::{NativeCall, NativeFile, NativeFound, NativeReport};

/// A capture's name: a UUIDv7, so that names sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaptureId(pub String);

impl std::fmt::Display for CaptureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a capture stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Accepted; no rank has begun an iteration since.
    Armed,
    /// Iterations go by, the first one of the window is not reached.
    Delaying,
    /// At least one rank's window is open.
    Recording,
    /// Every window is closed; the last records are fetched.
    Draining,
    /// The trace is being written; a new start is possible.
    Exporting,
    /// Over, files are there.
    Done,
    /// Stopped before any window opened.
    Cancelled,
    /// Over, with a reason.
    Failed,
}

impl State {
    /// The word that stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Delaying => "delaying",
            Self::Recording => "recording",
            Self::Draining => "draining",
            Self::Exporting => "exporting",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Nothing about it changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }

    /// No other capture can start meanwhile.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Armed | Self::Delaying | Self::Recording | Self::Draining)
    }
}

/// Why a window closed. Per rank, and for the capture as a whole (the first cause that is not `max_iterations`, if any).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// The last iteration asked for ended.
    MaxIterations,
    /// Somebody called stop.
    Stop,
    /// `max_duration_ms` ran out.
    MaxDuration,
    /// `max_events` was reached.
    MaxEvents,
    /// `max_bytes` was reached.
    MaxBytes,
    /// The longest wait for the window to open ran out.
    MaxWait,
    /// The sidecar did not renew the lease in time.
    Lease,
    /// The engine exited in order.
    Exit,
    /// The engine's process died.
    Died,
    /// The segment's memory went away under the sidecar.
    Lost,
    /// The rank saw the window too late and did not open it.
    Missed,
    /// The sidecar shut down.
    Shutdown,
    /// The sidecar died; another one finished the capture.
    SidecarDied,
    /// The capture's files could not be written.
    Failed,
}

/// Whether all that was asked for is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Complete {
    /// Every rank, every iteration, no record dropped.
    Yes,
    /// Something is missing, and named in `missing`.
    No,
    /// Not known (yet).
    #[default]
    Unknown,
}

impl Serialize for Complete {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Yes => s.serialize_bool(true),
            Self::No => s.serialize_bool(false),
            Self::Unknown => s.serialize_str("unknown"),
        }
    }
}

impl<'de> Deserialize<'de> for Complete {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(d)? {
            serde_json::Value::Bool(true) => Self::Yes,
            serde_json::Value::Bool(false) => Self::No,
            _ => Self::Unknown,
        })
    }
}

/// What was asked for, after the server's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Iterations skipped.
    pub delay_iterations: u64,
    /// Iterations wanted; 0 is until stop.
    pub max_iterations: u64,
    /// Asked for by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_iteration: Option<u64>,
    /// Longest window, milliseconds.
    pub max_duration_ms: u64,
    /// Most records.
    pub max_events: u64,
    /// Most bytes in fragments.
    pub max_bytes: u64,
}

/// The ranks that step together, and the numbers they agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// Its job.
    pub job: String,
    /// Its name.
    pub group: String,
    /// `first_iteration` less the delay.
    pub accepted_iteration: u64,
    /// First iteration of the window.
    pub first_iteration: u64,
    /// Last one that was agreed on; null while it is open-ended.
    pub last_iteration: Option<u64>,
    /// Ranks the engine says it has; 0 when it does not say.
    pub world_size: u32,
    /// Ranks taking part.
    pub ranks: Vec<u32>,
    /// Ranks of the world size that were not attached.
    pub missing_ranks: Vec<u32>,
    /// How many openings were withdrawn because a rank had run past them.
    pub withdrawn: u32,
}

/// What really happened in one rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankReport {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// What people call it.
    pub label: String,
    /// Engine and version.
    pub engine: String,
    /// Process id in the engine's pid namespace.
    pub pid: u32,
    /// `waiting`, `open`, `closed`, `missed`, `cancelled` or `lost`.
    pub state: String,
    /// `first_iteration` less the delay.
    pub accepted_iteration: u64,
    /// First iteration captured; null when none was.
    pub first_iteration: Option<u64>,
    /// Last iteration captured.
    pub last_iteration: Option<u64>,
    /// How many, from first to last.
    pub iterations: u64,
    /// Records kept.
    pub records: u64,
    /// Records dropped because there was no room for them.
    pub dropped: u64,
    /// Records that died with a sidecar: its disk stood still, and it had them in its memory alone.
    #[serde(default)]
    pub lost: u64,
    /// Why it closed.
    pub closed_by: Option<ClosedBy>,
    /// When it opened, nanoseconds since the epoch, by the wall clock as it was at the end.
    pub opened_at_ns: Option<u64>,
    /// When it closed, nanoseconds since the epoch.
    pub closed_at_ns: Option<u64>,
    /// Closed while an iteration ran.
    pub mid_iteration: bool,
    /// An iteration began while the window was being closed; it is outside.
    pub overlapped: bool,
    /// Iterations that ran on beyond the agreed last one before this rank looked; trimmed.
    pub overrun_iterations: u64,
    /// How fast it stepped in the seconds before the window. Null: hardly, or nobody saw it.
    #[serde(default)]
    pub pace_before: Option<Pace>,
    /// And just behind it.
    #[serde(default)]
    pub pace_after: Option<Pace>,
    /// What its profiler did; null when nothing was switched on besides recording.
    #[serde(default)]
    pub profiler: Option<ProfilerReport>,
}

/// A call into the CUDA driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReport {
    /// The `CUresult`; 0 is success.
    pub code: u32,
    /// Its name, where we know it.
    pub name: Option<String>,
    /// How long it held the engine's thread, nanoseconds.
    pub duration_ns: u64,
}

/// What the profiler did in one rank. A call that was not made is null.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProfilerReport {
    /// This rank makes the calls of its tool's session.
    pub leader: bool,
    /// The tool's session that it runs in; null for none.
    pub session: Option<String>,
    /// The iteration before which the profiler was started.
    pub start_iteration: Option<u64>,
    /// cuProfilerStart.
    pub start: Option<CallReport>,
    /// cuProfilerStop.
    pub stop: Option<CallReport>,
    /// cuCtxSynchronize before the window opened.
    pub synchronize_open: Option<CallReport>,
    /// cuCtxSynchronize before it closed.
    pub synchronize_close: Option<CallReport>,
    /// The NVTX range `capture@stepscope` was opened and closed in a tool that listens.
    pub capture_range: bool,
    /// Every iteration was an NVTX range in a tool that listens.
    pub iteration_ranges: bool,
    /// `engine`: its own thread stopped the profiler; `helper`: the agent's. Null: it was not stopped.
    pub stopped_by: Option<String>,
    /// No CUDA context was current on the engine's thread when the profiler was started.
    pub no_context: bool,
    /// Iterations whose time on the device could not be had.
    pub device_times_missed: u64,
}

/// A file that came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Name below the capture's folder.
    pub name: String,
    /// What it is: `trace` is ours; `engine_trace`, `engine_table` and `engine_file` are the engine's own profiler's.
    pub kind: String,
    /// Size.
    pub bytes: u64,
    /// Events inside, as far as they were counted.
    pub events: u64,
    /// The rank whose it is, by its name; of the engine's files only.
    #[serde(default)]
    pub rank: Option<u32>,
    /// When it was written, RFC 3339; of the engine's files only.
    #[serde(default)]
    pub written_at: Option<String>,
}

/// The GPUs' counters in a capture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuReport {
    /// Whose counters there are.
    pub gpus: Vec<GpuIdentity>,
    /// Values kept.
    pub values: u64,
    /// Values dropped because they came faster than they could be written.
    pub dropped: u64,
    /// Why there are none, or no more.
    pub absent: Option<String>,
}

/// A process of the engine that runs no iterations, and told of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceReport {
    /// Its job.
    pub job: String,
    /// What people call it.
    pub label: String,
    /// Engine and version.
    pub engine: String,
    /// Process id in the engine's pid namespace.
    pub pid: u32,
    /// Records kept.
    pub records: u64,
    /// Records dropped because there was no room for them.
    pub dropped: u64,
}

/// How many of the requests are recorded from some moment on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Since when, nanoseconds since the epoch.
    pub at_ns: u64,
    /// One in so many, the same ones in every process.
    pub one_in: u64,
}

/// The whole story of a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document: 1.
    pub schema: u32,
    /// Version of stepscope that wrote it.
    pub stepscope_version: String,
    /// Its name.
    pub capture_id: CaptureId,
    /// Where it stands.
    pub state: State,
    /// Whether all is there.
    pub complete: Complete,
    /// What is missing, in words.
    pub missing: Vec<String>,
    /// Why it ended.
    pub closed_by: Option<ClosedBy>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Words for the caller.
    pub warnings: Vec<String>,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// The same, nanoseconds since the epoch.
    pub accepted_at_ns: u64,
    /// How far the wall clock was set while this was recorded, nanoseconds: below zero, back. Windows and trace are by the
    /// clock as it was at the end; durations are by one that nobody sets. 0 as long as the capture runs.
    #[serde(default)]
    pub wall_clock_stepped_ns: i64,
    /// Accepted, and not told to open yet: nothing is asked of the engines.
    #[serde(default)]
    pub held: bool,
    /// When the ranks agreed on the window, nanoseconds since the epoch; null until then.
    #[serde(default)]
    pub agreed_at_ns: Option<u64>,
    /// When it became final, RFC 3339.
    pub finished_at: Option<String>,
    /// From the caller.
    pub profile_prefix: Option<String>,
    /// What was switched on.
    pub profiler: String,
    /// What was asked for.
    pub window: Window,
    /// What was agreed, group by group.
    pub groups: Vec<GroupReport>,
    /// What happened, rank by rank.
    pub ranks: Vec<RankReport>,
    /// What other processes of the engine told.
    #[serde(default)]
    pub sources: Vec<SourceReport>,
    /// How many of the requests were recorded: one in `one_in`, more or fewer as records were dropped. Empty: none was asked for.
    #[serde(default)]
    pub sampling: Vec<Sampling>,
    /// Moments of requests kept.
    #[serde(default)]
    pub request_moments: u64,
    /// Records kept, all ranks.
    pub records: u64,
    /// Records dropped, all ranks.
    pub dropped: u64,
    /// The GPUs' counters.
    #[serde(default)]
    pub gpus: GpuReport,
    /// Bytes in fragments.
    pub fragment_bytes: u64,
    /// Exported files.
    pub artifacts: Vec<Artifact>,
    /// What the engine's own profiler did; null when it was not asked.
    #[serde(default)]
    pub native: Option<NativeReport>,
}
