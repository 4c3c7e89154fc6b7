//! What the benchmarks of the hook share.

pub mod agent;
pub mod consumer;
pub mod hook;
pub mod recorder;
pub mod rounds;
