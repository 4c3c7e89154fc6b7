//! What the handlers share. Called by [`super::router`] and all routes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::audit::Audit;
use super::door::Door;
use super::limit::StartLimits;
use super::tls::Tls;
use super::tokens::Tokens;
use crate::capture::handle::Captures;
use crate::config::Settings;
use crate::proxy::Proxy;
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
    /// Names by which callers without a token may call this server.
    pub hosts: Vec<String>,
    /// Who did what.
    pub audit: Arc<Audit>,
    /// The way to the engine, where one is behind us.
    pub proxy: Option<Proxy>,
    /// What is counted.
    pub metrics: Metrics,
    /// How many starts are taken.
    pub starts: StartLimits,
    /// Room for requests.
    pub requests: Arc<Semaphore>,
    /// Room for downloads.
    pub downloads: Arc<Semaphore>,
    /// When this service started.
    pub started: Instant,
    tokens: RwLock<Arc<Tokens>>,
    /// What connections are served with, if not in plain.
    pub tls: Option<Arc<Tls>>,
    /// How long a body may take to arrive.
    pub body_patience: Duration,
    stopping: AtomicBool,
}

/// What every handler gets.
pub type AppState = Arc<Shared>;

impl Shared {
    /// The state of a service that is about to start.
    pub fn new(captures: Captures, gpus: Gpus, settings: Settings, door: Door, proxy: Option<Proxy>) -> AppState {
        let started = Instant::now();
        Arc::new(Self {
            captures,
            gpus,
            hosts: settings.allowed_host.iter().cloned().chain(own_name()).collect(),
            audit: door.audit,
            tls: door.tls,
            body_patience: door.body_patience,
            tokens: RwLock::new(Arc::new(door.tokens)),
            proxy,
            metrics: Metrics::default(),
            starts: StartLimits::new(settings.start_rate_per_second, started),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            started,
            stopping: AtomicBool::new(false),
            settings,
        })
    }

    /// The tokens there are.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these.
    pub fn set_tokens(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
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

/// What this machine calls itself: nobody else can point that name here.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
