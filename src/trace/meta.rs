//! What an exporter has to be told besides the fragments: it comes from the capture's manifest.

/// A capture, as its trace speaks of it.
#[derive(Debug, Clone, Default)]
pub struct ExportMeta {
    /// The capture's id.
    pub capture_id: String,
    /// Version of stepscope that exports.
    pub stepscope_version: String,
    /// Whether all is there; `None`: not known.
    pub complete: Option<bool>,
    /// What is missing, in words.
    pub missing: Vec<String>,
    /// Requests were told of; `false` spares an export to look for them.
    pub requests: bool,
    /// How many of the requests were recorded, one in 2^`shift`: since when, nanoseconds since the epoch. In order.
    pub sampling: Vec<(u64, u32)>,
    /// What is known rank by rank. A fragment without an entry here is exported whole.
    pub ranks: Vec<RankWindow>,
}

/// The window of one rank, as it really was.
#[derive(Debug, Clone, Default)]
pub struct RankWindow {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// First iteration of the window; what lies before it is trimmed.
    pub first_iteration: Option<u64>,
    /// Last iteration of the window; what lies behind it is trimmed.
    pub last_iteration: Option<u64>,
    /// Records dropped in this capture.
    pub dropped: u64,
    /// When the gate opened, nanoseconds since the epoch.
    pub opened_at_ns: Option<u64>,
    /// When it closed.
    pub closed_at_ns: Option<u64>,
    /// Why it closed, the manifest's word.
    pub closed_by: Option<String>,
}

impl ExportMeta {
    /// When the window of a job opened first and closed last; all of time where that is not known.
    pub(super) fn window(&self, job: &str) -> (u64, u64) {
        let of_job = || self.ranks.iter().filter(|rank| rank.job == job);
        let opened_ns = of_job().filter_map(|rank| rank.opened_at_ns).min();
        let closed_ns = of_job().filter_map(|rank| rank.closed_at_ns).max();
        (opened_ns.unwrap_or(0), closed_ns.unwrap_or(u64::MAX))
    }
}

/// Which ranks of a capture an export is of; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// This rank only.
    pub rank: Option<u32>,
    /// This group only.
    pub group: Option<String>,
    /// This job only.
    pub job: Option<String>,
}

impl Selection {
    /// One rank, of every group that has it.
    pub fn rank(rank: u32) -> Self {
        Self { rank: Some(rank), ..Self::default() }
    }

    pub(super) fn takes(&self, job: &str, group: &str, rank: u32) -> bool {
        self.rank.is_none_or(|r| r == rank)
            && self.group.as_deref().is_none_or(|g| g == group)
            && self.job.as_deref().is_none_or(|j| j == job)
    }
}
