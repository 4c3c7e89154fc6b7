//! The flags of `stepscope serve`.
//!
//! Every flag is optional, so that one that is not given leaves the layer below alone. The token has no flag: a command
//! line is there for everybody on the machine to read.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags, reason = "these comments are help texts")]

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::networks::Network;
use super::settings::{DefaultProfiler, EngineKind, LogFormat};

/// Flags of `serve`; the cli flattens them.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct ServeArguments {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Address and port to serve HTTP on [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// The engine, http://HOST:PORT: requests that are not ours are passed on to it
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Folder to keep captures in [default: $XDG_DATA_HOME/stepscope, else ~/.local/share/stepscope]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Folder of the engines' segments [default: /dev/shm/stepscope-<uid>]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Also take segments of the folder's group, not only the user's own
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_group: Option<bool>,
    /// File that holds the bearer token callers have to bring
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// File of several tokens, each with a name and its rights (TOML; read again on SIGHUP)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_file: Option<PathBuf>,
    /// Let callers from this network start and stop without a token, for clients that can send none; may be repeated
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_profile_routes: Vec<Network>,
    /// Answer callers without a token under this name too, beside addresses, localhost and this machine's own; may be
    /// repeated
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_host: Vec<String>,
    /// Write down each start, opening, stop and removal, as JSON lines (opened again on SIGHUP)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<PathBuf>,
    /// Certificate with its chain (PEM): serve HTTPS (read again on SIGHUP)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Whether captures can be started at all [default: true]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiling: Option<bool>,
    /// Iterations to skip when a start does not say [default: 0]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_delay_iterations: Option<u64>,
    /// Iterations to capture when a start does not say; 0 is until stop [default: 0]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_iterations: Option<u64>,
    /// What to switch on when a start does not say [default: steps]
    #[arg(long, value_enum, value_name = "PROFILER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_profiler: Option<DefaultProfiler>,
    /// Longest window, milliseconds [default: 3600000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_ms: Option<u64>,
    /// Longest wait from a start to its window, milliseconds [default: 3600000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait_ms: Option<u64>,
    /// Most records of one capture; 0 is without bound [default: 0]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// Most bytes of one capture [default: 2147483648]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Memory for a capture's records while the disk does not take them, bytes; 0 is none [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_bytes: Option<u64>,
    /// How long a window stays open without a sign of life from the sidecar, milliseconds [default: 10000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// How long captures are kept.
    #[command(flatten)]
    pub retention: RetentionArguments,
    /// How GPUs are sampled.
    #[command(flatten)]
    pub nvml: NvmlArguments,
    /// How the engine's own profiler is asked.
    #[command(flatten)]
    pub engine: EngineProfilerArguments,
    /// Starts accepted per second and caller, twice as many at once; 0 is without bound [default: 10]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_rate_per_second: Option<f64>,
    /// How long a shutdown waits for a running capture, milliseconds [default: 8000]
    #[arg(long, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown_patience_ms: Option<u64>,
    /// Write a Chrome trace of the service itself
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_trace: Option<PathBuf>,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArguments,
}

/// Flags of retention.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct RetentionArguments {
    /// Remove captures older than this many hours; 0 keeps them [default: 0]
    #[arg(long = "retention-max-age-hours", value_name = "HOURS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_hours: Option<u64>,
    /// Keep this many captures at most; 0 is without bound [default: 0]
    #[arg(long = "retention-max-captures", value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_captures: Option<u64>,
    /// Keep this many bytes of captures at most; 0 is without bound [default: 0]
    #[arg(long = "retention-max-bytes", id = "retention_max_bytes", value_name = "BYTES")]
    #[serde(rename = "max_bytes", skip_serializing_if = "Option::is_none")]
    pub max_store_bytes: Option<u64>,
}

/// Flags of NVML.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct NvmlArguments {
    /// How often GPUs are sampled while no window is open, milliseconds; 0 is not at all [default: 1000]
    #[arg(long = "nvml-period-ms", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
    /// How often while one is open, milliseconds; 0 leaves GPUs out of captures [default: 50]
    #[arg(long = "nvml-window-period-ms", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_period_ms: Option<u64>,
    /// The NVML library [default: libnvidia-ml.so.1]
    #[arg(long = "nvml-library", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
}

/// Flags of the engine's own profiler.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct EngineProfilerArguments {
    /// Where the engine's own HTTP is, for the profiler `engine` [default: --upstream]
    #[arg(long = "engine-url", value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which engine that is [default: it is asked]
    #[arg(long = "engine-kind", value_enum, value_name = "KIND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EngineKind>,
    /// Folder that the engine's profiler writes to, as seen from here
    #[arg(long = "engine-profile-dir", value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_dir: Option<PathBuf>,
    /// File that holds the bearer token which the engine asks for
    #[arg(long = "engine-token-file", id = "engine_token_file", value_name = "FILE")]
    #[serde(rename = "token_file", skip_serializing_if = "Option::is_none")]
    pub engine_token_file: Option<PathBuf>,
    /// How long the engine may take to stop its profiler and to write, milliseconds [default: 1800000]
    #[arg(long = "engine-patience-ms", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
}

/// Flags of the log.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct LogArguments {
    /// What to log: a level, or directives such as info,stepscope::capture=debug [default: info]
    #[arg(long = "log-level", value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// How log lines look [default: text]
    #[arg(long = "log-format", value_enum, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
}
