//! What the sidecar answers, read leniently: unknown fields are ignored, missing or null ones take their default.

use serde::{Deserialize, Deserializer};

/// `null` is the default as well.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// The elements that can be read; those of another shape are left out rather than failing the whole answer.
fn readable<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(d: D) -> Result<Vec<T>, D::Error> {
    let values = Option::<Vec<serde_json::Value>>::deserialize(d)?.unwrap_or_default();
    Ok(values.into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect())
}

/// Whether all that was asked for is there: `true`, `false` or `"unknown"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Complete {
    /// All is there.
    Yes,
    /// Something is missing.
    No,
    /// Not known (yet).
    #[default]
    Unknown,
}

impl<'de> Deserialize<'de> for Complete {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(d)? {
            serde_json::Value::Bool(true) => Self::Yes,
            serde_json::Value::Bool(false) => Self::No,
            _ => Self::Unknown,
        })
    }
}

/// What was asked for, after the server's defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Iterations skipped.
    #[serde(deserialize_with = "lenient")]
    pub delay_iterations: u64,
    /// Iterations wanted; 0 is until stop.
    #[serde(deserialize_with = "lenient")]
    pub max_iterations: u64,
    /// Asked for by number.
    pub start_iteration: Option<u64>,
}

/// The numbers a group agreed on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its job.
    #[serde(deserialize_with = "lenient")]
    pub job: String,
    /// Its name.
    #[serde(deserialize_with = "lenient")]
    pub group: String,
    /// First iteration of the window.
    pub first_iteration: Option<u64>,
    /// Last one that was agreed on; `None` while it is open-ended.
    pub last_iteration: Option<u64>,
}

/// What happened in one rank.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Rank {
    /// Its job.
    #[serde(deserialize_with = "lenient")]
    pub job: String,
    /// Its group.
    #[serde(deserialize_with = "lenient")]
    pub group: String,
    /// Its rank in the group.
    #[serde(deserialize_with = "lenient")]
    pub rank: u32,
    /// What people call it.
    #[serde(deserialize_with = "lenient")]
    pub label: String,
    /// Process id in the engine's pid namespace.
    #[serde(deserialize_with = "lenient")]
    pub pid: u32,
    /// `waiting`, `open`, `closed`, `missed`, `cancelled` or `lost`.
    #[serde(deserialize_with = "lenient")]
    pub state: String,
    /// First iteration captured.
    pub first_iteration: Option<u64>,
    /// Last iteration captured.
    pub last_iteration: Option<u64>,
    /// How many, from first to last.
    #[serde(deserialize_with = "lenient")]
    pub iterations: u64,
    /// When the window opened, nanoseconds since 1970.
    pub opened_at_ns: Option<u64>,
    /// When it closed.
    pub closed_at_ns: Option<u64>,
    /// Records dropped because there was no room for them.
    #[serde(deserialize_with = "lenient")]
    pub dropped: u64,
    /// Why it closed.
    pub closed_by: Option<String>,
}

/// A process that runs no iterations, and told of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    /// What people call it.
    #[serde(deserialize_with = "lenient")]
    pub label: String,
    /// Process id in the engine's pid namespace.
    #[serde(deserialize_with = "lenient")]
    pub pid: u32,
    /// Records kept.
    #[serde(deserialize_with = "lenient")]
    pub records: u64,
    /// Records dropped because there was no room for them.
    #[serde(deserialize_with = "lenient")]
    pub dropped: u64,
}

/// How many of the requests were recorded from some moment on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// One in so many.
    #[serde(deserialize_with = "lenient")]
    pub one_in: u64,
}

/// A file that came out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// What it is called.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// `trace` is ours; what begins with `engine` is the engine's own profiler's.
    #[serde(deserialize_with = "lenient")]
    pub kind: String,
    /// Its size.
    #[serde(deserialize_with = "lenient")]
    pub bytes: u64,
    /// The rank whose it is.
    pub rank: Option<u32>,
}

/// What the engine's own profiler did.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Native {
    /// Where it stands.
    #[serde(deserialize_with = "lenient")]
    pub state: String,
    /// Which engine.
    #[serde(deserialize_with = "lenient")]
    pub kind: String,
    /// How long it has been told to stop, milliseconds.
    #[serde(deserialize_with = "lenient")]
    pub stopping_ms: u64,
    /// Bytes that it has written.
    #[serde(deserialize_with = "lenient")]
    pub bytes: u64,
    /// Whether it has the window's iterations, no more and no less.
    pub exact: Complete,
    /// How it differs, or why that is not known.
    pub difference: Option<String>,
}

/// A capture: the answer of start, stop and `captures/{id}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Capture {
    /// Its name; empty in the answer of a stop with nothing to stop.
    #[serde(deserialize_with = "lenient")]
    pub capture_id: String,
    /// Where it stands: `armed`, `delaying`, `recording`, `draining`, `exporting`, `done`, `cancelled`, `failed`; `idle`.
    #[serde(deserialize_with = "lenient")]
    pub state: String,
    /// Whether all is there.
    pub complete: Complete,
    /// What is missing, in words.
    #[serde(deserialize_with = "lenient")]
    pub missing: Vec<String>,
    /// Why it ended.
    pub closed_by: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Words for the caller.
    #[serde(deserialize_with = "lenient")]
    pub warnings: Vec<String>,
    /// When it was accepted, RFC 3339.
    #[serde(deserialize_with = "lenient")]
    pub accepted_at: String,
    /// What was switched on.
    #[serde(deserialize_with = "lenient")]
    pub profiler: String,
    /// Accepted, and not told to open yet.
    #[serde(deserialize_with = "lenient")]
    pub held: bool,
    /// When the ranks agreed on the window, nanoseconds since 1970.
    pub agreed_at_ns: Option<u64>,
    /// What was asked for.
    #[serde(deserialize_with = "lenient")]
    pub window: Window,
    /// What was agreed, group by group.
    #[serde(deserialize_with = "readable")]
    pub groups: Vec<Group>,
    /// What happened, rank by rank.
    #[serde(deserialize_with = "readable")]
    pub ranks: Vec<Rank>,
    /// What processes told that run no iterations.
    #[serde(deserialize_with = "readable")]
    pub sources: Vec<Source>,
    /// How many of the requests were recorded.
    #[serde(deserialize_with = "readable")]
    pub sampling: Vec<Sampling>,
    /// Records kept.
    #[serde(deserialize_with = "lenient")]
    pub records: u64,
    /// Records dropped.
    #[serde(deserialize_with = "lenient")]
    pub dropped: u64,
    /// Its files.
    #[serde(deserialize_with = "readable")]
    pub artifacts: Vec<Artifact>,
    /// What the engine's own profiler did, if it was asked.
    pub native: Option<Native>,
}

impl Capture {
    /// Nothing about it changes any more.
    pub fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "done" | "cancelled" | "failed" | "idle")
    }
}

/// One attached process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RankStatus {
    /// Its job.
    #[serde(deserialize_with = "lenient")]
    pub job: String,
    /// Its group.
    #[serde(deserialize_with = "lenient")]
    pub group: String,
    /// Its rank in the group.
    #[serde(deserialize_with = "lenient")]
    pub rank: u32,
    /// Ranks of the group; 0 when the engine does not say.
    #[serde(deserialize_with = "lenient")]
    pub world_size: u32,
    /// `rank`, or `source` for a process that emits spans only.
    #[serde(deserialize_with = "lenient")]
    pub role: String,
    /// What people call it.
    #[serde(deserialize_with = "lenient")]
    pub label: String,
    /// Engine and version.
    #[serde(deserialize_with = "lenient")]
    pub engine: String,
    /// Version of its agent.
    #[serde(deserialize_with = "lenient")]
    pub agent: String,
    /// Process id in the engine's pid namespace.
    #[serde(deserialize_with = "lenient")]
    pub pid: u32,
    /// Iterations begun.
    #[serde(deserialize_with = "lenient")]
    pub begun: u64,
    /// Iterations per second.
    #[serde(deserialize_with = "lenient")]
    pub iterations_per_second: f64,
    /// `idle`, `armed`, `opening`, `open`, `closing` or `closed`.
    #[serde(deserialize_with = "lenient")]
    pub gate: String,
    /// Records dropped since the process joined.
    #[serde(deserialize_with = "lenient")]
    pub dropped_total: u64,
}

/// A segment that the sidecar did not take.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Which file.
    #[serde(deserialize_with = "lenient")]
    pub segment: String,
    /// Why, and what mends it.
    #[serde(deserialize_with = "lenient")]
    pub reason: String,
}

/// The sidecar's state.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the sidecar.
    #[serde(alias = "stepscope_version", deserialize_with = "lenient")]
    pub version: String,
    /// The folder in which it looks for segments.
    #[serde(deserialize_with = "lenient")]
    pub dir: String,
    /// Attached processes.
    #[serde(deserialize_with = "readable")]
    pub ranks: Vec<RankStatus>,
    /// Segments that were not taken.
    #[serde(deserialize_with = "readable")]
    pub refused: Vec<Refused>,
    /// The capture that keeps others from starting.
    pub running: Option<Capture>,
    /// Bytes used by all captures on disk.
    #[serde(deserialize_with = "lenient")]
    pub store_bytes: u64,
}

/// The list of captures, newest first: bare, or below `captures`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum CaptureList {
    /// A bare array.
    Bare(Vec<Capture>),
    /// An object around it.
    Wrapped {
        /// The captures.
        captures: Vec<Capture>,
    },
}

impl CaptureList {
    /// The captures.
    pub fn captures(&self) -> &[Capture] {
        match self {
            Self::Bare(captures) | Self::Wrapped { captures } => captures,
        }
    }
}
