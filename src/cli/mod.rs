//! The command `stepscope`: one file per subcommand, the arguments in [`arguments`] and [`file_arguments`], the exit codes in [`exit`].
//!
//! Results go to standard output (a table, or with `--json` the sidecar's JSON unchanged), everything else to standard
//! error. Only this room prints and only this room uses `anyhow`.
//!
//! Called by `main.rs`. Uses `client`; `serve` uses `config` and `service`, `doctor` the room of that name, `exec`, `nsys`
//! and `reports` the room `launch`, `merge` the room of that name, `engine` the simulator.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

pub mod arguments;
mod captures;
mod children;
mod completions;
mod connect;
mod cuda;
mod demo;
mod doctor;
mod engine;
mod exec;
pub mod exit;
pub mod file_arguments;
mod get;
mod merge;
mod nsys;
mod reports;
mod run;
mod serve;
mod start;
mod status;
mod stop;
pub mod table;
mod wait;

pub use run::main;
