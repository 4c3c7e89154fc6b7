//! What the settings mean to the session. Called by `cli`, which opens the session before it serves.

use std::time::Duration;

use crate::capture::options::Options;
use crate::capture::request::Profiler;
use crate::capture::store::Retention;
use crate::config::{DefaultProfiler, Settings};

const SECONDS_PER_HOUR: u64 = 3600;

/// The session's part of the settings.
pub fn options(settings: &Settings) -> Options {
    Options {
        dir: settings.dir.clone(),
        data: settings.data.clone(),
        trust_group: settings.trust_group,
        default_delay_iterations: settings.default_delay_iterations,
        default_max_iterations: settings.default_max_iterations,
        default_profiler: match settings.default_profiler {
            DefaultProfiler::Steps => Profiler::Steps,
            DefaultProfiler::Cuda => Profiler::Cuda,
        },
        max_duration: Duration::from_millis(settings.max_duration_ms),
        max_wait: Duration::from_millis(settings.max_wait_ms),
        max_events: settings.max_events,
        max_bytes: settings.max_bytes,
        lease: Duration::from_millis(settings.lease_ms),
        retention: Retention {
            max_age: bound(settings.retention.max_age_hours)
                .map(|hours| Duration::from_secs(hours.saturating_mul(SECONDS_PER_HOUR))),
            max_captures: bound(settings.retention.max_captures)
                .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
            max_bytes: bound(settings.retention.max_bytes),
        },
    }
}

/// In the settings 0 is without bound.
fn bound(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}
