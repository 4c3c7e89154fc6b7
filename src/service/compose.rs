//! Putting the sidecar together: logs, session, GPUs, HTTP, and what the settings mean to each.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::serve::{ServeError, serve};
use crate::capture::native::Native;
use crate::capture::open::OpenError;
use crate::capture::options::Options;
use crate::capture::request::Profiler;
use crate::capture::{self, store};
use crate::config::{DefaultProfiler, EngineKind, Settings, SettingsError};
use crate::native::{EngineProfiler, EngineSettings, EngineUrlError, Kind};
use crate::proxy::Upstream;
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
    /// The engine's own profiler can't be asked.
    #[error("engine.url: {0}")]
    Engine(#[from] EngineUrlError),
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
    let captures = capture::open(Options { native: native(&settings)?, ..options(&settings) })?;
    // Ended when it is dropped, whatever comes of serving.
    let sampler = Sampler::start(&settings.nvml, &captures);
    serve(settings, captures, sampler.gpus()).await?;
    Ok(())
}

/// The engine's own profiler, if the settings say where that engine is.
fn native(settings: &Settings) -> Result<Option<Arc<dyn Native>>, RunError> {
    let engine = &settings.engine;
    // The engine that this sidecar stands in front of is the one whose profiler is meant.
    let upstream = settings.upstream.as_deref().map(Upstream::parse).transpose().map_err(ServeError::from)?;
    let upstream = upstream.map(|upstream| upstream.url().to_owned());
    let Some(url) = engine.url.clone().or(upstream) else { return Ok(None) };
    let settings = EngineSettings {
        url,
        kind: engine.kind.map(|kind| match kind {
            EngineKind::Vllm => Kind::Vllm,
            EngineKind::Sglang => Kind::Sglang,
            EngineKind::TensorRtLlm => Kind::TensorRtLlm,
        }),
        folder: engine.profile_dir.clone(),
        token: settings.engine_token()?,
        patience: Duration::from_millis(engine.patience_ms),
        ask_at_once: engine.url.is_some(),
    };
    Ok(Some(Arc::new(EngineProfiler::new(settings, Handle::current())?)))
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
            DefaultProfiler::Engine => Profiler::Engine,
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
        native: None,
    }
}
