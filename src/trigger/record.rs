//! `profiling.json`: what was called and what came of it.
//!
//! The keys `engine`, `starts`, `stops`, and in their elements `url`, `sent_at_ns`, `sent_at_iso`, `status`, `error`,
//! `stop_reason`, are those that a benchmark client's own record has; what is ours stands beside them. `sent_at_ns` is
//! CLOCK_MONOTONIC of this host. Times of captures are the realtime clock of the host they were taken on.

use serde::Serialize;
use serde_json::Value;

/// The whole record.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    /// Who was called: an engine's name, `stepscope`, or `mixed`.
    pub engine: String,
    /// Every start, one a target and phase.
    pub starts: Vec<CallRecord>,
    /// Every stop, one a capture that was started.
    pub stops: Vec<CallRecord>,
    /// Version of this document's own part: 1.
    pub schema: u32,
    /// Version of stepscope that wrote it.
    pub stepscope_version: String,
    /// The command.
    pub command: CommandRecord,
    /// What was asked for, as a sidecar is told it.
    pub window: Value,
    /// Phases, in order; one, unless the benchmark said where its phases are.
    pub phases: Vec<PhaseRecord>,
    /// Words for whoever reads it.
    pub warnings: Vec<String>,
}

/// One call, with what came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CallRecord {
    /// What was called.
    pub url: String,
    /// When it was sent, CLOCK_MONOTONIC.
    pub sent_at_ns: u64,
    /// The same, as local time.
    pub sent_at_iso: String,
    /// HTTP status; null when nothing came back in time.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
    /// Of a stop: `phase_end` or `abort`.
    pub stop_reason: Option<&'static str>,
    /// Which target, from 0.
    pub target: usize,
    /// Which phase, from 1.
    pub phase: usize,
    /// Who answered there.
    pub engine: &'static str,
    /// How long the answer took, nanoseconds.
    pub duration_ns: Option<u64>,
    /// The capture, where a sidecar answered.
    pub capture_id: Option<String>,
    /// What was sent.
    pub body: Option<Value>,
    /// What came of it after it had been given up.
    pub late: Option<String>,
}

/// The command, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CommandRecord {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// When it was started, local time; null when it was not.
    pub started_at_iso: Option<String>,
    /// How long it ran, nanoseconds.
    pub duration_ns: Option<u64>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// One phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PhaseRecord {
    /// From 1.
    pub phase: usize,
    /// What the benchmark called it.
    pub name: Option<String>,
    /// From the first call to the last window opened, nanoseconds.
    pub start_duration_ns: u64,
    /// How far apart it all was.
    pub skew: Skew,
    /// What came of each target that started.
    pub captures: Vec<CaptureRecord>,
    /// All traces in one.
    pub merged: Option<ArtifactRecord>,
    /// Why there is no merged one.
    pub not_merged: Option<String>,
}

/// How far apart things were that should be one; null where fewer than two are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Skew {
    /// Opening calls, as they were sent; this host's clock.
    pub calls_ns: Option<u64>,
    /// Their answers, as they came; this host's clock.
    pub answers_ns: Option<u64>,
    /// Windows agreed on; each target's own realtime clock.
    pub agreed_ns: Option<u64>,
    /// Windows opened, the first rank of each target; each target's own realtime clock.
    pub opened_ns: Option<u64>,
}

/// What came of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CaptureRecord {
    /// Which target, from 0.
    pub target: usize,
    /// Its base address.
    pub url: String,
    /// Who answered.
    pub engine: &'static str,
    /// The capture, where a sidecar answered.
    pub capture_id: Option<String>,
    /// Where it stood at last: `done`, `cancelled`, `failed`, or what it was when nobody waited any longer.
    pub state: Option<String>,
    /// Whether all is there.
    pub complete: Value,
    /// What is missing.
    pub missing: Vec<String>,
    /// Its ranks and what each captured.
    pub ranks: Vec<RankRecord>,
    /// Its trace.
    pub trace: Option<ArtifactRecord>,
    /// Words of the sidecar's, and ours: how the window was put to an engine, what went wrong.
    pub warnings: Vec<String>,
}

/// One rank's window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RankRecord {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// `closed`, `missed`, `cancelled`, `lost`, …
    pub state: String,
    /// First iteration captured.
    pub first_iteration: Option<u64>,
    /// Last iteration captured.
    pub last_iteration: Option<u64>,
    /// How many.
    pub iterations: u64,
    /// When it opened, the target's realtime clock.
    pub opened_at_ns: Option<u64>,
    /// When it closed.
    pub closed_at_ns: Option<u64>,
    /// Why it closed.
    pub closed_by: Option<String>,
}

/// A file that was left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ArtifactRecord {
    /// Its name in the folder.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// `trace`, or of the merged one what the merge says of itself.
    pub about: String,
}
