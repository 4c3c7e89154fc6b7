//! One file per hazard: what may befall engine, sidecar, shared memory and disk, and what must hold all the same.
//!
//! Real processes, real shared memory, real signals. What the machine does not allow is named on standard error as
//! `SKIPPED`, and fails where `STEPSCOPE_SKIP=never` is set.

mod cut_short;
mod disk_full;
mod disk_stalls;
mod exec;
mod fork;
mod jobs;
mod killed_ranks;
mod loads;
mod second_sidecar;
mod signals;
mod small_memory;
mod stopped_rank;
mod strangers;
pub mod support;
mod suspended;
mod threads;
mod users;
mod wall_clock;
