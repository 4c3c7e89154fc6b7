//! Why an engine is not seen or not captured: what `stepscope doctor` finds on this machine, and the line that mends each thing.
//!
//! It only reads, and only in ways that can't disturb: a segment is opened read-only, read with `pread`, never mapped
//! and never locked (so closing it drops no lock, and a file cut short raises no signal). It runs in a short-lived
//! process of its own, and asks the CUDA driver in yet another one.
//!
//! Called by `cli::doctor`. Uses `wire`, `telemetry` to ask NVML, and of `launch` what it knows of nsys's command lines.

pub mod driver;
mod examine;
mod finding;
mod folder;
mod gpus;
mod launched;
mod machine;
mod processes;
mod python;
mod segments;
mod space;

pub use examine::{examine, folder, verdict};
pub use finding::{Finding, Level};
pub use space::free_bytes;
