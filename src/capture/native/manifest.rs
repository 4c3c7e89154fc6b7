//! The manifest's part about the engine's own profiler: what was asked of it, what it answered, and which iterations its files
//! show.

use serde::{Deserialize, Serialize};

use crate::capture::manifest::Complete;

/// A call to the engine's HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NativeCall {
    /// What it answered; null: nothing.
    pub status: Option<u16>,
    /// How long that took, milliseconds.
    pub duration_ms: u64,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A file that it wrote, where the engine put it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NativeFile {
    /// Where, as the sidecar sees it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written to, RFC 3339.
    pub written_at: String,
    /// The rank in its name.
    pub rank: Option<u32>,
    /// Its name is of this capture alone, so that nobody writes it again.
    pub ours: bool,
}

/// The iterations that one of its traces shows, in our numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NativeFound {
    /// The artefact.
    pub artifact: String,
    /// Whose iterations these are.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank.
    pub rank: u32,
    /// The first one that it shows.
    pub first_iteration: Option<u64>,
    /// The last one.
    pub last_iteration: Option<u64>,
    /// How many.
    pub iterations: u64,
    /// Of those, in front of our window.
    pub before: u64,
    /// Of those, behind it.
    pub after: u64,
    /// Besides them, steps in which nothing was computed. The engine counts those as iterations; they are none.
    pub empty: u64,
    /// Iterations of our window that it does not show.
    pub lacking: u64,
}

/// What the engine's own profiler did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NativeReport {
    /// `waiting`, `starting`, `on`, `stopping`, `collecting`, `over`, or `unused`: the window never came near, or
    /// had passed before it could be asked (`problems` says so).
    pub state: String,
    /// `vllm`, `sglang` or `tensorrt-llm`; empty while it is not known.
    pub kind: String,
    /// The engine's version, where it says so.
    pub version: Option<String>,
    /// What was sent with the start.
    pub sent: Option<serde_json::Value>,
    /// What the start answered.
    pub start: Option<NativeCall>,
    /// What the stop answered.
    pub stop: Option<NativeCall>,
    /// How long the stop has been waited for, milliseconds.
    pub stopping_ms: u64,
    /// Bytes that it has written, as far as can be seen.
    pub bytes: u64,
    /// Where its files are looked for; null: nowhere.
    pub folder: Option<String>,
    /// Its files, where the engine put them.
    pub files: Vec<NativeFile>,
    /// Which iterations its traces show.
    pub found: Vec<NativeFound>,
    /// Whether these are the window's iterations, no more and no less.
    pub exact: Complete,
    /// How they differ, or why that is not known, in words.
    pub difference: Option<String>,
    /// What went wrong.
    pub problems: Vec<String>,
}
