//! What Stepscope says of itself and of the machine: log lines, a trace of the service, metrics, counters of the GPUs.
//!
//! Called by `cli` (set up), `service` (metrics, GPUs) and `doctor` (GPUs). Nothing here knows HTTP; the GPUs' sampler
//! hands what it reads to the running capture.

mod lines;
pub mod logs;
pub mod metrics;
pub mod nvml;
