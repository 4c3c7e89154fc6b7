//! The composition: check, bind, answer, and on SIGTERM or SIGINT shut down in order.
//!
//! Order of a shutdown: `/readyz` says no; nothing more is accepted; a running capture is ended and exported while
//! callers that wait for it still wait; then connections are closed. Called by `cli`.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::connections::{Bounds, Front, answer};
use super::door::{Door, DoorError, warn_of_what_is_open};
use super::front::Answers;
use super::reload::{has_files, on_hangup};
use super::router::router;
use super::state::{AppState, Shared};
use crate::capture::handle::Captures;
use crate::config::{Settings, SettingsError};
use crate::proxy::upstream::WrongUrl;
use crate::proxy::{Proxy, Upstream, descriptors};
use crate::telemetry::nvml::Gpus;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings can't be run with.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address can't be had.
    #[error("can't listen on {address}: {source}: stop what listens there, or choose another with --listen")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Tokens, audit or TLS can't be had.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// There can be no engine there.
    #[error("upstream: {0}")]
    Upstream(#[from] WrongUrl),
    /// Every request would come back to us.
    #[error("--upstream {0} is this sidecar itself: give one of --upstream and --listen another port")]
    Loop(String),
    /// No signals can be received.
    #[error("signals can't be received: {0}")]
    Signals(std::io::Error),
}

/// A service that is bound and not yet answering; callers may connect, and wait.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    state: AppState,
    bounds: Bounds,
}

/// Connections at once with an engine behind us: each of its streams is one.
const CONNECTIONS: usize = 4096;

impl Server {
    /// Checks the settings and binds.
    pub async fn bind(settings: Settings, captures: Captures, gpus: Gpus) -> Result<Self, ServeError> {
        let settings = settings.checked()?;
        let door = Door::open(&settings)?;
        warn_of_what_is_open(&settings);
        let failed = |source| ServeError::Bind { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut bounds = Bounds::default();
        let upstream = settings.upstream.as_deref().map(Upstream::parse).transpose()?;
        let proxy = match upstream {
            Some(upstream) if upstream.is_at(address) => return Err(ServeError::Loop(upstream.url().to_owned())),
            Some(upstream) => {
                bounds.connections = descriptors::room_for(CONNECTIONS);
                if bounds.connections < CONNECTIONS {
                    tracing::warn!(
                        "room for {} connections only, of {CONNECTIONS}: raise the limit of open files (ulimit -n)",
                        bounds.connections
                    );
                }
                Some(Proxy::new(upstream, bounds.connections, captures.passed().clone()))
            }
            None => None,
        };
        Ok(Self { listener, address, state: Shared::new(captures, gpus, settings, door, proxy), bounds })
    }

    /// Where it listens; the port that was taken when the settings said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Answers until `stop`, then shuts down in order.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, address, state, bounds } = self;
        let scheme = if state.tls.is_some() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{address}");
        if let Some(proxy) = &state.proxy {
            tracing::info!("in front of the engine at {}: what is not ours goes there", proxy.url());
            proxy.sweep();
        }
        let listener = Front { listener, tls: state.tls.clone() };
        let answers = Answers::new(router(state.clone()), state.proxy.clone());
        let patience = Duration::from_millis(state.settings.shutdown_patience_ms);
        let stopping = Notify::new();
        let end = async {
            stop.await;
            state.begin_shutdown();
            tracing::info!("shutting down: a running capture has {} ms to end", patience.as_millis());
            stopping.notify_one();
            state.captures.shut_down(patience).await;
        };
        // A moment longer than the capture, so that whoever waits for it still gets an answer.
        let connections = patience + Duration::from_secs(1);
        tokio::join!(answer(listener, answers, bounds, stopping.notified(), connections), end);
        if let Some(proxy) = &state.proxy {
            proxy.end().await;
        }
        drop(tokio::task::spawn_blocking(move || state.audit.close()).await);
        tracing::info!("stopped");
    }
}

/// Serves until SIGTERM or SIGINT; SIGHUP reads tokens and certificate again. Says where at level info: `listening on http://…`.
pub async fn serve(settings: Settings, captures: Captures, gpus: Gpus) -> Result<(), ServeError> {
    let terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let hangup = has_files(&settings).then(|| signal(SignalKind::hangup())).transpose().map_err(ServeError::Signals)?;
    let server = Server::bind(settings, captures, gpus).await?;
    let reloads = hangup.map(|hangup| tokio::spawn(on_hangup(hangup, server.state.clone())));
    server.run(either(terminate, interrupt)).await;
    if let Some(reloads) = reloads {
        reloads.abort();
    }
    Ok(())
}

async fn either(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
