//! What can be typed after `stepscope report`.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags, reason = "these comments are help texts")]

use std::path::PathBuf;

use clap::Args;

use super::arguments::ConnectArguments;

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Which capture, by id, or a file with a report; two are compared [the newest capture]
    #[arg(value_name = "ID|FILE", num_args = 0..=2)]
    pub captures: Vec<String>,
    /// Also write a page to this file: plots and all tables in one, without a network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Count the kernels in this report of nsys, of the same window, and say so if there are none
    #[arg(long, value_name = "FILE")]
    pub nsys: Option<PathBuf>,
    /// The nsys to read it with
    #[arg(long, value_name = "FILE", default_value = "nsys")]
    pub nsys_program: PathBuf,
    /// Wait at most this long for a capture that is not over yet
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Print JSON instead of tables: the sidecar's report unchanged, or the comparison
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}
