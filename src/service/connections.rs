//! Accepting connections, with bounds on what a slow or greedy client can hold.
//!
//! At most [`Bounds::connections`] at once; more wait in the kernel's queue. A client that does not finish the head of
//! its request, or keeps a connection without using it, is cut off after [`Bounds::head`]; one that does not read its
//! answer, after [`Bounds::write`]. On stop nothing more is accepted, requests under way are finished within the
//! patience given, and what is left is closed. No task outlives [`answer`].
//!
//! Called by [`mod@super::serve`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::caller::Peer;
use super::tls::{Duplex, Tls};

/// What one client, and all of them, can hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Open connections.
    pub connections: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head: Duration,
    /// How long a client may read nothing of its answer.
    pub write: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 1024, head: Duration::from_secs(15), write: Duration::from_secs(60) }
    }
}

/// Where connections come in, and whether TLS is spoken there.
#[derive(Debug)]
pub struct Front {
    /// Bound.
    pub listener: TcpListener,
    /// None: plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

impl From<TcpListener> for Front {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }
}

/// Answers until `stop`; then gives requests under way this much time.
pub async fn answer(
    front: impl Into<Front>,
    router: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
    patience: Duration,
) {
    let Front { listener, tls } = front.into();
    let open = GracefulShutdown::new();
    let closing = CancellationToken::new();
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head);

    let mut tasks = JoinSet::new();

    tokio::pin!(stop);
    loop {
        let accepted = async {
            let Ok(room) = room.clone().acquire_owned().await else { return None }; // never closed
            match listener.accept().await {
                Ok((stream, peer)) => Some((stream, Peer(peer), room)),
                Err(error) => {
                    // Out of descriptors, most likely: the next try would fail at once, and spin.
                    tracing::warn!("could not accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    None
                }
            }
        };
        let (stream, peer, room) = tokio::select! {
            () = &mut stop => break,
            Some(_ended) = tasks.join_next() => continue,
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => continue,
            },
        };
        let _ = stream.set_nodelay(true); // only a matter of speed
        let wrap = move |stream: TcpStream| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(bounds.write));
            Box::pin(stream)
        };
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            inner.call(request)
        });
        let (http, watcher, tls, closing) = (http.clone(), open.watcher(), tls.clone(), closing.clone());
        tasks.spawn(async move {
            let stream: Box<dyn Duplex> = match tls {
                None => Box::new(wrap(stream)),
                Some(tls) => {
                    let shaken = tokio::select! {
                        () = closing.cancelled() => None,
                        shaken = tls.shake(stream, wrap) => shaken,
                    };
                    let Some(shaken) = shaken else { return };
                    shaken
                }
            };
            let connection = http.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::trace!("a connection ended: {error}");
            }
            drop(room);
        });
    }
    drop(listener);
    closing.cancel();
    if tokio::time::timeout(patience, open.shutdown()).await.is_err() {
        tracing::info!("closing connections that did not finish in time");
    }
    tasks.shutdown().await;
}
