//! What Stepscope says of itself: log lines, a trace of the service, metrics.
//!
//! Called by `cli` (set up) and `service` (metrics). Nothing here knows HTTP or captures.

mod lines;
pub mod logs;
pub mod metrics;
