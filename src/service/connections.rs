//! Accepting connections, with bounds on what a slow or greedy client can hold.
//!
//! At most [`Bounds::connections`] at once; more wait in the kernel's queue. A client that does not finish the head of
//! its request, or keeps a connection without using it, is cut off after [`Bounds::head`]; one that does not read its
//! answer, after [`Bounds::write`]. On stop nothing more is accepted, requests under way are finished within the
//! patience given, and what is left is closed. No task outlives [`answer`].
//!
//! HTTP/1.1, and in plain HTTP/2 too for whoever begins with it (prior knowledge): told by the first bytes, which are
//! looked at and left where they are.
//!
//! Called by [`mod@super::serve`].

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::Peer;
use super::front::Answers;
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

/// Longest head of a request; a longer one is 431. Also what is read at once.
const HEAD_BYTES: usize = 128 << 10;
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 1024;
/// An HTTP/2 connection that does not answer a ping for as long is closed.
const PING: Duration = Duration::from_secs(20);

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
    answers: impl Into<Answers>,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
    patience: Duration,
) {
    let Front { listener, tls } = front.into();
    let closing = CancellationToken::new();
    let room = Arc::new(Semaphore::new(bounds.connections));
    let spoken = Spoken::new(bounds, answers.into());
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
        let (spoken, tls, closing) = (spoken.clone(), tls.clone(), closing.clone());
        tasks.spawn(async move {
            spoken.converse(stream, peer, tls.as_deref(), &closing).await;
            drop(room);
        });
    }
    drop(listener);
    closing.cancel();
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, finished).await.is_err() {
        tracing::info!("closing connections that did not finish in time");
    }
    tasks.shutdown().await;
    spoken.streams.end().await;
}

/// What is spoken on a connection, and who answers.
#[derive(Debug, Clone)]
struct Spoken {
    bounds: Bounds,
    answers: Answers,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    streams: Streams,
}

impl Spoken {
    fn new(bounds: Bounds, answers: Answers) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(HEAD_BYTES);
        let streams = Streams::default();
        let mut http2 = http2::Builder::new(streams.clone());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_concurrent_streams(STREAMS);
        Self { bounds, answers, http1, http2, streams }
    }

    /// Serves one connection to its end; once `closing`, to the end of what is under way.
    async fn converse(&self, stream: TcpStream, peer: Peer, tls: Option<&Tls>, closing: &CancellationToken) {
        let bounds = self.bounds;
        let wrap = move |stream: TcpStream| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(bounds.write));
            Box::pin(stream)
        };
        let agreed = async {
            match tls {
                Some(tls) => Some((tls.shake(stream, wrap).await?, false)),
                None => {
                    let begins = tokio::time::timeout(bounds.head, begins_with_preface(&stream)).await;
                    Some((Box::new(wrap(stream)) as Box<dyn Duplex>, begins.ok()?))
                }
            }
        };
        let Some(Some((stream, is_http2))) = closing.run_until_cancelled(agreed).await else { return };
        let (stream, service) = (TokioIo::new(stream), self.answers.of(peer, tls.is_some()));
        let ended = if is_http2 {
            let mut connection = pin!(self.http2.serve_connection(stream, service));
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        } else {
            let mut connection = pin!(self.http1.serve_connection(stream, service).with_upgrades());
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = ended {
            tracing::trace!("a connection ended: {error}");
        }
    }
}

/// Whether a client begins with HTTP/2. What can't be looked at is HTTP/1.1's to say.
async fn begins_with_preface(stream: &TcpStream) -> bool {
    const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut seen).await {
            Ok(0) | Err(_) => return false,
            Ok(bytes) if bytes == PREFACE.len() => return seen == *PREFACE,
            // So far it may be: what is there stays there, and would be found at once again.
            Ok(bytes) if PREFACE.starts_with(&seen[..bytes]) => tokio::time::sleep(Duration::from_millis(5)).await,
            Ok(_) => return false,
        }
    }
}

/// Runs the requests of HTTP/2 connections, which are tasks.
#[derive(Debug, Clone, Default)]
struct Streams {
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Streams {
    async fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move { ending.run_until_cancelled(stream).await });
    }
}
