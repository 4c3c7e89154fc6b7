//! What can be set, with its default and its unit.
//!
//! Names of fields are the keys of the settings file. Called by whoever configures something.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::networks::Network;

/// What is switched on when a start does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DefaultProfiler {
    /// Iterations with their batch.
    #[default]
    Steps,
    /// The CUDA profiler API.
    Cuda,
    /// The engine's own profiler.
    Engine,
}

/// Kinds of engines that have a profiler of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's trtllm-serve.
    #[serde(rename = "tensorrt-llm")]
    #[value(name = "tensorrt-llm")]
    TensorRtLlm,
}

/// How the engine's own profiler is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineSettings {
    /// Where the engine's own HTTP is; without it `upstream`, without both there is no profiler `engine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which engine it is; not given, it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EngineKind>,
    /// The folder that its profiler writes to, as the sidecar sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_dir: Option<PathBuf>,
    /// The bearer token that it asks for. Never shown again.
    #[serde(skip_serializing)]
    pub token: Option<SecretString>,
    /// The file that token is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// How long it may take to stop its profiler and to write, milliseconds.
    pub patience_ms: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { url: None, kind: None, profile_dir: None, token: None, token_file: None, patience_ms: 1_800_000 }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how; always to stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// A level, or `tracing-subscriber` directives such as `info,stepscope::capture=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// How long captures are kept. 0 means without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Oldest capture kept, hours.
    pub max_age_hours: u64,
    /// Most captures kept.
    pub max_captures: u64,
    /// Most bytes of all captures together.
    pub max_bytes: u64,
}

/// How GPUs are sampled through NVML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NvmlSettings {
    /// How often while no window is open, milliseconds; 0 is not at all.
    pub period_ms: u64,
    /// How often while one is, milliseconds; 0 leaves the counters out of captures.
    pub window_period_ms: u64,
    /// The library; looked for as the dynamic linker does.
    pub library: PathBuf,
}

impl Default for NvmlSettings {
    fn default() -> Self {
        Self { period_ms: 1_000, window_period_ms: 50, library: "libnvidia-ml.so.1".into() }
    }
}

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where HTTP is served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The engine behind this sidecar, `http://HOST:PORT`: what is not ours is passed on to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Where captures are kept.
    pub data: PathBuf,
    /// Where the engines' segments are.
    pub dir: PathBuf,
    /// Also take segments of the folder's group, not the user's own alone.
    pub trust_group: bool,
    /// The bearer token that callers have to bring. Never shown again.
    #[serde(skip_serializing)]
    pub token: Option<SecretString>,
    /// The file the token is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The file of several tokens, each with a name and its rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_file: Option<PathBuf>,
    /// Networks whose callers may start and stop without a token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_profile_routes: Vec<Network>,
    /// Names by which callers without a token may call this server, beside addresses, `localhost` and the machine's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_host: Vec<String>,
    /// Where each start, opening, stop and removal is written down, as JSON lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<PathBuf>,
    /// The certificate, with its chain, PEM; with it HTTP is served over TLS alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Whether captures can be started at all; off, `/start_profile` and `/stop_profile` are 404.
    pub profiling: bool,
    /// Iterations skipped when a start does not say.
    pub default_delay_iterations: u64,
    /// Iterations wanted when a start does not say; 0 is until stop.
    pub default_max_iterations: u64,
    /// What is switched on when a start does not say.
    pub default_profiler: DefaultProfiler,
    /// Longest window, milliseconds.
    pub max_duration_ms: u64,
    /// Longest wait from a start to the opening of its window, milliseconds.
    pub max_wait_ms: u64,
    /// Most records of one capture; 0 is without bound.
    pub max_events: u64,
    /// Most bytes of one capture.
    pub max_bytes: u64,
    /// Most bytes of a capture's records that wait in memory while the disk does not take them; 0 is none.
    pub buffer_bytes: u64,
    /// How long an agent keeps a window open without a sign of life from the sidecar, milliseconds.
    pub lease_ms: u64,
    /// How long captures are kept.
    pub retention: Retention,
    /// How GPUs are sampled.
    pub nvml: NvmlSettings,
    /// How the engine's own profiler is asked.
    pub engine: EngineSettings,
    /// Starts accepted per second and caller, twice as many at once; 0 is without bound.
    pub start_rate_per_second: f64,
    /// How long a shutdown waits for a running capture and its export, milliseconds.
    pub shutdown_patience_ms: u64,
    /// Where the service writes a Chrome trace of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_trace: Option<PathBuf>,
    /// What is logged.
    pub log: LogSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self::defaults(None, None)
    }
}

impl Settings {
    /// The defaults, given the values of `XDG_DATA_HOME` and `HOME`.
    pub fn defaults(xdg_data_home: Option<&Path>, home: Option<&Path>) -> Self {
        let absolute = |path: Option<&Path>| path.filter(|path| path.is_absolute()).map(Path::to_path_buf);
        let data = absolute(xdg_data_home)
            .or_else(|| absolute(home).map(|home| home.join(".local/share")))
            .unwrap_or_else(|| "/var/lib".into())
            .join("stepscope");
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8001).into(),
            upstream: None,
            data,
            dir: format!("/dev/shm/stepscope-{}", user_id()).into(),
            trust_group: false,
            token: None,
            token_file: None,
            tokens_file: None,
            open_profile_routes: Vec::new(),
            allowed_host: Vec::new(),
            audit_log: None,
            tls_cert: None,
            tls_key: None,
            profiling: true,
            default_delay_iterations: 0,
            default_max_iterations: 0,
            default_profiler: DefaultProfiler::Steps,
            max_duration_ms: 3_600_000,
            max_wait_ms: 3_600_000,
            max_events: 0,
            max_bytes: 2 << 30,
            buffer_bytes: 64 << 20,
            lease_ms: 10_000,
            retention: Retention::default(),
            nvml: NvmlSettings::default(),
            engine: EngineSettings::default(),
            start_rate_per_second: 10.0,
            shutdown_patience_ms: 8_000,
            self_trace: None,
            log: LogSettings::default(),
        }
    }
}

/// The effective user, as the kernel names this process's owner.
fn user_id() -> u32 {
    std::fs::metadata("/proc/self").map(|meta| meta.uid()).unwrap_or(0)
}
