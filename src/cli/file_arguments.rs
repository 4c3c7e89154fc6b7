//! What can be typed after the commands that work on files alone, without a sidecar.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags, reason = "these comments are help texts")]

use std::path::PathBuf;

use clap::Args;

/// `merge`.
#[derive(Debug, Args)]
pub struct MergeArguments {
    /// Traces (json, json.gz, json.zst) and reports of nsys (.nsys-rep, .qdstrm, .sqlite); told by content
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// File to write; its ending says how it is packed: .json, .json.gz or .json.zst
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Shift an input by nanoseconds, or say when its time 0 is if it does not; its label is its file name without endings
    #[arg(long, value_name = "LABEL=NS", allow_hyphen_values = true)]
    pub offset: Vec<String>,
    /// Merge although nobody knows well how the inputs lie; those that state no time begin with the earliest other one
    #[arg(long)]
    pub force: bool,
    /// The nsys that exports reports
    #[arg(long, value_name = "FILE", default_value = "nsys")]
    pub nsys: PathBuf,
    /// Print what was merged as JSON
    #[arg(long)]
    pub json: bool,
}
