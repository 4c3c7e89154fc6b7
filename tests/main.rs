//! The one integration binary: its modules mirror `src/`, and what people see of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, reason = "tests")]

mod behaviour;
mod cli;
mod hazards;
mod merge;
mod profilers;
mod proxy;
mod report;
mod service;
mod structure;
mod support;
mod telemetry;
mod trace;
mod trigger;
mod wire;
