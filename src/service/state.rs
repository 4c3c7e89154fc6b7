//! What the handlers share. Called by [`super::router`] and all routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::limit::StartLimit;
use crate::capture::handle::Captures;
use crate::config::Settings;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::nvml::Gpus;

/// Requests answered at once, health checks not counted; one more is 503. A stop that waits is one.
pub const MAX_REQUESTS: usize = 512;
/// Traces and ledgers written at once: each holds a thread. One more is 503.
pub const MAX_DOWNLOADS: usize = 16;

/// One per service.
#[derive(Debug)]
pub struct Shared {
    /// The session.
    pub captures: Captures,
    /// The GPUs' counters.
    pub gpus: Gpus,
    /// What is set.
    pub settings: Settings,
    /// The token callers have to bring.
    pub token: Option<SecretString>,
    /// What is counted.
    pub metrics: Metrics,
    /// How many starts are taken.
    pub starts: StartLimit,
    /// Room for requests.
    pub requests: Arc<Semaphore>,
    /// Room for downloads.
    pub downloads: Arc<Semaphore>,
    /// When this service started.
    pub started: Instant,
    stopping: AtomicBool,
}

/// What every handler gets.
pub type AppState = Arc<Shared>;

impl Shared {
    /// The state of a service that is about to start.
    pub fn new(captures: Captures, gpus: Gpus, settings: Settings, token: Option<SecretString>) -> AppState {
        let started = Instant::now();
        Arc::new(Self {
            captures,
            gpus,
            token,
            metrics: Metrics::default(),
            starts: StartLimit::new(settings.start_rate_per_second, started),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            started,
            stopping: AtomicBool::new(false),
            settings,
        })
    }

    /// From now on `/readyz` says no.
    pub fn begin_shutdown(&self) {
        self.stopping.store(true, Ordering::Relaxed); // a flag on its own: nothing is published through it
    }

    /// Whether a shutdown has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
