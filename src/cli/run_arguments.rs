//! What can be typed after `run` and `phase`.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags, reason = "these comments are help texts")]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::window_arguments::WindowArguments;

/// `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Whom to call: a sidecar, or an engine by its inference endpoint; given once for each [STEPSCOPE_URL, else
    /// http://127.0.0.1:8001]
    #[arg(long, value_name = "URL")]
    pub target: Vec<String>,
    /// A file of targets, one a line: an address, and if need be engine=NAME and token=TEXT; # begins a comment
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Who answers there: auto (asked: a sidecar, else vllm), stepscope, vllm, sglang, vllm-omni, tensorrt-llm or dynamo
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub engine: String,
    /// Bearer token of the targets; better set in the variable, since arguments can be seen by others
    #[arg(long, env = "STEPSCOPE_TOKEN", hide_env_values = true)]
    pub token: Option<SecretString>,
    /// Certificates (PEM) to trust instead of the system's, where a target speaks HTTPS
    #[arg(long, value_name = "FILE", env = "STEPSCOPE_CACERT", hide_env_values = true)]
    pub cacert: Option<PathBuf>,
    /// How long a target may take to be armed, and to open
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub timeout: f64,
    /// How long captures may take to be done once the command is over, and engines to stop
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub wait: f64,
    /// Folder for what is left; made if it is not there [stepscope-run-<date>-<time>, here]
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Capture nothing until the benchmark says so with `stepscope phase start`
    #[arg(long)]
    pub phase: bool,
    /// Leave the traces as they are, one a target
    #[arg(long)]
    pub no_merge: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub window: WindowArguments,
    /// The benchmark and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A number of seconds that makes sense.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0.001 to 86400".into()),
    }
}

/// Which edge of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Edge {
    /// It begins.
    Start,
    /// It ends.
    Stop,
}

/// `phase`.
#[derive(Debug, Args)]
pub struct PhaseArguments {
    /// Which edge
    pub edge: Edge,
    /// What the phase is called in the record
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Fail where nothing is captured
    #[arg(long)]
    pub strict: bool,
    /// The socket of the run
    #[arg(long, env = "STEPSCOPE_PHASE_SOCKET", hide_env_values = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}
