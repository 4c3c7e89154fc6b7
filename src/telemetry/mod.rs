//! What Stepscope says of itself: log lines, a trace of the service, metrics.
//!
//! Called by `cli` (set up) and `service` (metrics). Nothing here knows HTTP or captures.

pub mod logs;
pub mod metrics;
