//! What a report has to be told besides the fragments: it comes from the capture's manifest.

use super::model::{Pace, ProfilerCalls};
use crate::trace::meta::ExportMeta;

/// A capture, as its report speaks of it.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// What a trace is told too: windows, drops, completeness.
    pub meta: ExportMeta,
    /// When it was accepted, RFC 3339.
    pub accepted_at: String,
    /// What was switched on.
    pub profiler: String,
    /// Why it ended.
    pub closed_by: Option<String>,
    /// Rank by rank.
    pub ranks: Vec<RankAbout>,
    /// Values of GPU counters that were dropped.
    pub gpu_values_dropped: u64,
    /// Why there are no GPU counters, or no more.
    pub gpus_absent: Option<String>,
}

/// One rank.
#[derive(Debug, Clone, Default)]
pub struct RankAbout {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// Iterations that its window covers.
    pub iterations: u64,
    /// How fast it stepped before the window, and behind it, when nothing was recorded.
    pub before: Option<Pace>,
    /// Behind it.
    pub after: Option<Pace>,
    /// What its profiler's calls took; `None`: it made none.
    pub calls: Option<ProfilerCalls>,
}
