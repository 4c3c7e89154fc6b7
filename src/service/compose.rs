//! Putting the sidecar together: logs, session, GPUs, HTTP, and what the settings mean to each.

use std::time::Duration;

use super::serve::{ServeError, serve};
use crate::capture::open::OpenError;
use crate::capture::options::Options;
use crate::capture::request::Profiler;
use crate::capture::{self, store};
use crate::config::{DefaultProfiler, Settings, SettingsError};
use crate::telemetry::logs::{self, LogsError};
use crate::telemetry::nvml::Sampler;

/// Why the sidecar did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings can't be run with.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Logging could not be set up.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The session could not be set up.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// HTTP could not be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs the sidecar until SIGTERM or SIGINT.
///
/// # Errors
/// See [`RunError`].
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let settings = settings.checked()?;
    // Written out to its end when it is dropped.
    let _logs = logs::init(&settings.log, settings.self_trace.as_ref())?;
    let captures = capture::open(options(&settings))?;
    // Ended when it is dropped, whatever comes of serving.
    let sampler = Sampler::start(&settings.nvml, &captures);
    serve(settings, captures, sampler.gpus()).await?;
    Ok(())
}

/// What the settings mean to the session; where they say 0 for without bound, it is none.
pub fn options(settings: &Settings) -> Options {
    let limit = |n: u64| (n > 0).then_some(n);
    let retention = settings.retention;
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
        buffer_bytes: settings.buffer_bytes,
        lease: Duration::from_millis(settings.lease_ms),
        retention: store::Retention {
            max_age: limit(retention.max_age_hours).map(|h| Duration::from_secs(h.saturating_mul(3600))),
            max_captures: limit(retention.max_captures).map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            max_bytes: limit(retention.max_bytes),
        },
    }
}
