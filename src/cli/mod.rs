//! The command `stepscope`: one file per subcommand, the arguments in [`arguments`], the exit codes in [`exit`].
//!
//! Results go to standard output (a table, or with `--json` the sidecar's JSON unchanged), everything else to standard
//! error. Only this room prints and only this room uses `anyhow`.
//!
//! Called by `main.rs`. Uses `client`, and of `trace` the names of formats; `serve` uses `config` and `service`, `doctor` the room of that name, `exec`, `nsys`
//! and `reports` the room `launch`, `engine` the simulator.
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
mod get;
mod nsys;
mod reports;
mod run;
mod serve;
mod start;
mod status;
mod stop;
pub mod table;
mod wait;
pub mod wanted;

pub use run::main;
