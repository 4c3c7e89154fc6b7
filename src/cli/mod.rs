//! The command `stepscope`: one file per subcommand, the arguments in [`arguments`] and [`file_arguments`], the exit codes in [`exit`].
//!
//! Results go to standard output (a table, or with `--json` the sidecar's JSON unchanged), everything else to standard
//! error. Only this room prints and only this room uses `anyhow`.
//!
//! Called by `main.rs`. Uses `client`, of `trace` the names of formats, and `report` to read and show what the client brings; `serve` uses
//! `config` and `service`, `doctor` the room of that name, `exec`, `nsys`, `reports` and `report` the room `launch`, `merge` the room of that
//! name, `run` and `phase` the room `trigger`, `engine` the simulator.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

pub mod arguments;
mod captures;
mod children;
pub mod compare_table;
mod completions;
mod connect;
mod cuda;
mod demo;
mod dispatch;
mod doctor;
mod engine;
mod engine_files;
mod exec;
pub mod exit;
pub mod file_arguments;
mod get;
mod merge;
mod nsys;
mod phase;
mod report;
mod report_arguments;
mod report_kernels;
pub mod report_table;
mod reports;
mod run;
mod run_arguments;
mod serve;
mod start;
mod status;
mod stop;
pub mod table;
mod wait;
pub mod wanted;
mod window_arguments;

pub use dispatch::main;
