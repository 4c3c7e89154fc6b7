//! What a caller may ask for, and why it can't be had.

use std::path::PathBuf;

use super::manifest::CaptureId;

/// Where the window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// After skipping exactly this many iterations.
    Delay(u64),
    /// At exactly this iteration; one in the past is an error (`start_iteration`).
    At(u64),
    /// At this iteration, or the next one if it is past (SGLang's `start_step`).
    AtOrNext(u64),
}

/// What is switched on while the window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profiler {
    /// Iterations with their batch; needs no CUDA.
    #[default]
    Steps,
    /// cuProfilerStart and cuProfilerStop at the window's edges, for a tool that waits for them; device times.
    Cuda,
    /// The engine's own profiler, asked over its own HTTP, and iterations with their batch.
    Engine,
}

/// Where the engine's thread waits for the device, with [`Profiler::Cuda`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronize {
    /// Before the window opens and before it closes: no kernel of an earlier iteration lies in it, none of its own outside.
    #[default]
    Both,
    /// Before it closes.
    End,
    /// Nowhere.
    None,
}

/// How much an engine is to tell of itself besides its iterations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Nothing.
    Off,
    /// What people look at first.
    Basic,
    /// Requests, spans and counters.
    #[default]
    Detail,
    /// All there is.
    Verbose,
}

impl Level {
    /// The recorder's number.
    pub(super) fn number(self) -> u64 {
        self as u64
    }
}

impl Profiler {
    /// The word that callers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Cuda => "cuda",
            Self::Engine => "engine",
        }
    }
}

/// A start, checked for shape but not yet for what is attached. `None`: the server's default.
#[derive(Debug, Clone, Default)]
pub struct StartRequest {
    /// Where the window begins.
    pub begin: Option<Begin>,
    /// How many iterations; 0 is until stop.
    pub max_iterations: Option<u64>,
    /// Put in front of exported file names; already checked (1–128 of `[A-Za-z0-9._-]`, first one alphanumeric).
    pub profile_prefix: Option<String>,
    /// What to switch on.
    pub profiler: Option<Profiler>,
    /// [`Profiler::Cuda`] if it works, else steps, with a word (SGLang's activity GPU).
    pub best_profiler: bool,
    /// Where to wait for the device.
    pub synchronize: Option<Synchronize>,
    /// How many iterations before the window the profiler starts.
    pub lead_iterations: Option<u64>,
    /// How much the engine is to tell of itself.
    pub level: Option<Level>,
    /// Every rank makes the profiler's calls (one tool for each), not one per tool's session.
    pub every_rank_leads: bool,
    /// One job only, by name.
    pub job: Option<String>,
    /// These ranks only.
    pub ranks: Option<Vec<u32>>,
    /// Longest window.
    pub max_duration_ms: Option<u64>,
    /// Most records.
    pub max_events: Option<u64>,
    /// Most bytes in fragments.
    pub max_bytes: Option<u64>,
    /// Accept it, and open it only when told to ([`super::Captures::open`]), within so many milliseconds.
    pub hold_ms: Option<u64>,
    /// Words for the caller that came up while the body was read (`output_dir` is ignored, say).
    pub warnings: Vec<String>,
}

/// Formats a report can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// The document.
    Json,
    /// One self-contained page.
    Html,
}

/// Why a capture did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// One is running.
    #[error("capture {0} is running: stop it, or wait until it has drained")]
    Running(CaptureId),
    /// Nothing to capture.
    #[error("no engine is attached: looked for segments in {looked_in}{hint}")]
    NoEngine {
        /// The segment folder.
        looked_in: PathBuf,
        /// What was found instead and how to mend it; empty, or beginning with `; `.
        hint: String,
    },
    /// `start_iteration` lies in the past.
    #[error("start_iteration {requested} is past: group {group} of job {job} can start at {next} at the earliest")]
    Past {
        /// What was asked.
        requested: u64,
        /// Which group said no.
        group: String,
        /// And its job.
        job: String,
        /// The earliest that works.
        next: u64,
    },
    /// No such job.
    #[error("no job {asked:?} is attached; attached: {attached:?}")]
    UnknownJob {
        /// What was asked.
        asked: String,
        /// What there is.
        attached: Vec<String>,
    },
    /// None of these ranks.
    #[error("none of the ranks {asked:?} is attached; attached: {attached:?}")]
    UnknownRanks {
        /// What was asked.
        asked: Vec<u32>,
        /// What there is.
        attached: Vec<u32>,
    },
    /// A cap above the server's own limit.
    #[error("{field} {asked} is above this server's limit of {limit}")]
    AboveLimit {
        /// Which.
        field: &'static str,
        /// What was asked.
        asked: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The profiler can't work on any rank.
    #[error("profiler {} can't work: {}", profiler.as_str(), reasons.join("; "))]
    Unavailable {
        /// Which.
        profiler: Profiler,
        /// Why, rank by rank.
        reasons: Vec<String>,
    },
    /// The ranks ran past every opening that was offered.
    #[error("the ranks could not agree on a first iteration after {0} tries: the engine steps too fast for this host")]
    NotAgreed(u32),
    /// The capture's folder could not be made.
    #[error("the capture's folder could not be made: {0}")]
    Store(String),
    /// More is asked, or still to be written, than there is room for.
    #[error("too many captures wait to be started or written: try again in a moment")]
    Busy,
    /// It is not held, or no more.
    #[error("capture {0} is {1} and not held: only one that was started with hold_ms is opened, once")]
    NotHeld(CaptureId, &'static str),
    /// The sidecar is going down.
    #[error("the sidecar is shutting down")]
    ShuttingDown,
}

/// Why something else about captures failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CaptureError {
    /// No such capture.
    #[error("no capture {0}")]
    Unknown(String),
    /// It is still running.
    #[error("capture {0} is {1}: stop it first")]
    Busy(CaptureId, &'static str),
    /// It has no such rank.
    #[error("capture {id} has no rank {rank}: {}", if ranks.is_empty() { "it never came to have any".into() } else { format!("it has {ranks:?}") })]
    UnknownRank {
        /// Which capture.
        id: CaptureId,
        /// What was asked.
        rank: u32,
        /// What there is.
        ranks: Vec<u32>,
    },
    /// It has no such artefact.
    #[error("capture {id} has no artefact {name:?}; it has {names:?}")]
    UnknownArtifact {
        /// Which capture.
        id: CaptureId,
        /// What was asked.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
    /// Its files can't be read.
    #[error("capture {id}: {reason}")]
    Files {
        /// Which capture.
        id: CaptureId,
        /// What the file system said.
        reason: String,
    },
    /// More is asked than there is room for.
    #[error("too many calls wait for the session: try again in a moment")]
    TooMany,
    /// The sidecar is going down.
    #[error("the sidecar is shutting down")]
    ShuttingDown,
}
