//! One request: checked, sent on, answered.
//!
//! A request goes out on a connection that waited, else on a new one. If that connection turns out to have been closed by
//! the engine, and nothing of an answer was seen, the request is sent once more: always if no byte of it went out, else only
//! if its method says that twice is as good as once and it has no body. Called by `service`, for every request that is not
//! ours.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::EXPECT;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{Answer, Outgoing, Wanted};
use super::counts::{Counted, Counts};
use super::error::{ForwardError, Refusal};
use super::exchange::Exchange;
use super::flights::Flights;
use super::headers;
use super::link::Link;
use super::pool::{IDLE, Pool};
use super::upgrade;
use super::upstream::Upstream;
use crate::capture::beside::passed::PassedQueue;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// The other end of the connection.
    pub address: IpAddr,
    /// It came over TLS.
    pub is_secure: bool,
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstream: Upstream,
    pub(super) pool: Pool,
    pub(super) counts: Arc<Counts>,
    flights: Arc<Flights>,
    /// Tunnels, and whoever sweeps the pool.
    pub(super) tasks: TaskTracker,
    pub(super) ending: CancellationToken,
    room: Arc<Semaphore>,
    most: usize,
}

/// The way to the engine.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// To this engine, for so many requests at once; captures get to see them through the queue. Asks nobody: the engine
    /// may come later.
    pub fn new(upstream: Upstream, most: usize, queue: Arc<PassedQueue>) -> Self {
        Self {
            shared: Arc::new(Shared {
                upstream,
                pool: Pool::default(),
                counts: Arc::default(),
                flights: Flights::new(queue),
                tasks: TaskTracker::new(),
                ending: CancellationToken::new(),
                room: Arc::new(Semaphore::new(most)),
                most,
            }),
        }
    }

    /// What was counted.
    pub fn counted(&self) -> Counted {
        self.shared.counts.read()
    }

    /// Where the engine is.
    pub fn url(&self) -> &str {
        self.shared.upstream.url()
    }

    /// Closes connections that have waited too long, until [`Self::end`].
    pub fn sweep(&self) {
        let shared = self.shared.clone();
        self.shared.tasks.spawn(async move {
            while shared.ending.run_until_cancelled(tokio::time::sleep(IDLE / 3)).await.is_some() {
                shared.pool.sweep();
            }
            shared.pool.clear();
        });
    }

    /// Closes tunnels and connections that wait, and is back when they are.
    pub async fn end(&self) {
        self.shared.ending.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Sends a request on; answers with what the engine answers.
    ///
    /// # Errors
    /// [`ForwardError`]: the engine is not there, or the request is none that can be passed on.
    pub async fn forward(&self, request: Request<Incoming>, client: Client) -> Result<Response<Answer>, ForwardError> {
        let shared = &self.shared;
        let room = shared.room.clone().try_acquire_owned().map_err(|_| ForwardError::Full(shared.most))?;
        let flight = shared.flights.begin(&request);
        let mut exchange = Exchange::begin(&shared.counts, &shared.flights, flight, room);
        match self.carry(request, client, &exchange).await {
            Ok(Carried::Answer(head, body, link)) => {
                Ok(Response::from_parts(head, Answer::new(body, link, shared.clone(), exchange)))
            }
            Ok(Carried::Tunnel(head, body, ends, link)) => {
                upgrade::tunnel(shared.clone(), exchange, ends, link);
                Ok(Response::from_parts(head, Answer::of_tunnel(body)))
            }
            Err(error @ ForwardError::Refused(_)) => {
                exchange.refused();
                Err(error)
            }
            Err(error) => {
                exchange.upstream_failed();
                Err(error)
            }
        }
    }

    async fn carry(
        &self,
        mut request: Request<Incoming>,
        client: Client,
        exchange: &Exchange,
    ) -> Result<Carried, ForwardError> {
        let shared = &self.shared;
        if request.method() == Method::CONNECT {
            return Err(ForwardError::Refused(Refusal::Connect));
        }
        let has_body = !hyper::body::Body::is_end_stream(request.body());
        let wishes = headers::request(&mut request, client, has_body, &shared.upstream.authority)
            .map_err(ForwardError::Refused)?;
        let ours = wishes.upgrade.then(|| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        head.extensions.clear(); // the front connection's
        let mut request = Request::from_parts(head, Outgoing::new(body, &shared.counts));
        if wishes.waits {
            let wanted = Arc::new(Wanted::default());
            request.body_mut().wait_for(&wanted);
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == hyper::StatusCode::CONTINUE {
                    wanted.say();
                }
            });
        } else {
            request.headers_mut().remove(EXPECT);
        }
        let (response, link) = self.send(request, exchange).await?;
        exchange.answered(response.status().as_u16());
        let (mut head, body) = response.into_parts();
        head.version = hyper::Version::HTTP_11;
        if head.status == hyper::StatusCode::SWITCHING_PROTOCOLS {
            let Some(ours) = ours else {
                return Err(self.broken("it switched to a protocol that nobody asked for"));
            };
            let Some(theirs) = head.extensions.remove::<OnUpgrade>() else {
                return Err(self.broken("its connection can't be taken over"));
            };
            return Ok(Carried::Tunnel(head, body, (ours, theirs), link));
        }
        headers::answer(&mut head.headers);
        Ok(Carried::Answer(head, body, link))
    }

    async fn send(
        &self,
        mut request: Request<Outgoing>,
        exchange: &Exchange,
    ) -> Result<(Response<Incoming>, Link), ForwardError> {
        let shared = &self.shared;
        while let Some(mut link) = shared.pool.take() {
            let again = (request.body().is_empty() && is_harmless(request.method())).then(|| copy(&request, shared));
            exchange.forwarded();
            match link.send(request).await {
                Ok(response) => return Ok((response, link)),
                Err(mut error) => {
                    // A connection that waited and was closed before it answered. Not even begun, it is as if never sent.
                    let unsent = error.take_message();
                    request = match unsent.or(again).filter(|_| was_closed(error.error())) {
                        Some(request) => request,
                        None => return Err(self.broken(&reason(error.error()))),
                    };
                    shared.counts.retried();
                }
            }
        }
        let mut link = self.connect().await?;
        exchange.forwarded();
        match link.send(request).await {
            Ok(response) => Ok((response, link)),
            Err(error) => Err(self.broken(&reason(error.error()))),
        }
    }

    /// A new connection. An engine that is gone, and one that is back, are said once.
    async fn connect(&self) -> Result<Link, ForwardError> {
        let shared = &self.shared;
        let connected = Link::connect(&shared.upstream).await;
        match &connected {
            Ok(_) => {
                shared.counts.connected();
                if shared.counts.found(true) {
                    tracing::info!("engine at {} is there", self.url());
                }
            }
            Err(error) => {
                if shared.counts.found(false) {
                    tracing::warn!("{error}");
                }
            }
        }
        connected
    }

    fn broken(&self, reason: &str) -> ForwardError {
        ForwardError::Broken { url: self.url().to_owned(), reason: reason.to_owned() }
    }
}

enum Carried {
    Answer(hyper::http::response::Parts, Incoming, Link),
    Tunnel(hyper::http::response::Parts, Incoming, (OnUpgrade, OnUpgrade), Link),
}

/// Twice does what once does (RFC 9110, 9.2.2).
fn is_harmless(method: &Method) -> bool {
    method.is_idempotent()
}

fn was_closed(error: &hyper::Error) -> bool {
    let lost = |cause: &std::io::Error| {
        use std::io::ErrorKind as K;
        matches!(cause.kind(), K::BrokenPipe | K::ConnectionReset | K::ConnectionAborted | K::UnexpectedEof)
    };
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || std::error::Error::source(error).and_then(|cause| cause.downcast_ref()).is_some_and(lost)
}

/// With its cause: hyper's own words leave it out.
fn reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn copy(request: &Request<Outgoing>, shared: &Shared) -> Request<Outgoing> {
    let mut copy = Request::new(Outgoing::empty(&shared.counts));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}
