//! Bodies both ways: frame by frame as they come, none held, none kept.
//!
//! [`Outgoing`] is what the engine gets, [`Answer`] what the client gets. The answer's body owns the connection it comes
//! from: at its end the connection goes back to the pool, dropped before it is closed.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::counts::Counts;
use super::exchange::Exchange;
use super::forward::Shared;
use super::link::Link;

/// How long a client that waits for a 100 is kept waiting for the engine's.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request's body.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// `None`: there is none.
    body: Option<Incoming>,
    counts: Arc<Counts>,
    waiting: Option<Waiting>,
}

impl Outgoing {
    pub(super) fn new(body: Incoming, counts: &Arc<Counts>) -> Self {
        let body = (!body.is_end_stream()).then_some(body);
        Self { body, counts: counts.clone(), waiting: None }
    }

    pub(super) fn empty(counts: &Arc<Counts>) -> Self {
        Self { body: None, counts: counts.clone(), waiting: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    /// Nothing of it is asked for until the engine wants it: asking is what has the client get its 100.
    pub(super) fn wait_for(&mut self, wanted: &Arc<Wanted>) {
        let patience = Box::pin(tokio::time::sleep(CONTINUE_PATIENCE));
        self.waiting = Some(Waiting { wanted: wanted.clone(), patience });
    }
}

/// Whether the engine said 100.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    said: OnceLock<()>,
    waker: AtomicWaker,
}

impl Wanted {
    pub(super) fn say(&self) {
        let _ = self.said.set(()); // said twice is said
        self.waker.wake();
    }
}

#[derive(Debug)]
struct Waiting {
    wanted: Arc<Wanted>,
    patience: Pin<Box<Sleep>>,
}

impl Waiting {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wanted.waker.register(context.waker());
        if self.wanted.said.get().is_some() {
            return Poll::Ready(());
        }
        self.patience.as_mut().poll(context)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.poll(context));
            self.waiting = None;
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if let Some(bytes) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            self.counts.sent(bytes.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An answer's body, with the connection it comes from.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    /// `None`: it is over, or became a tunnel.
    source: Option<Source>,
    /// It broke off, and what came before is on its way to the client.
    broken: Option<hyper::Error>,
}

#[derive(Debug)]
struct Source {
    link: Link,
    shared: Arc<Shared>,
    exchange: Exchange,
}

impl Answer {
    pub(super) fn new(body: Incoming, link: Link, shared: Arc<Shared>, exchange: Exchange) -> Self {
        let mut answer = Self { body, source: Some(Source { link, shared, exchange }), broken: None };
        if answer.body.is_end_stream() {
            answer.finish();
        }
        answer
    }

    /// Of a connection that is a tunnel from here on.
    pub(super) fn of_tunnel(body: Incoming) -> Self {
        Self { body, source: None, broken: None }
    }

    fn finish(&mut self) {
        if let Some(mut source) = self.source.take() {
            source.exchange.finished();
            source.shared.pool.put(source.link);
        }
    }

    fn fail(&mut self, error: &hyper::Error) {
        if let Some(mut source) = self.source.take() {
            tracing::debug!("the engine broke off its answer: {error}");
            source.exchange.upstream_failed();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut frame = Pin::new(&mut this.body).poll_frame(context);
        if frame.is_pending()
            && let Some(source) = &mut this.source
        {
            // Asking the body is what lets the connection read more of it.
            let _over = source.link.drive(context);
            frame = Pin::new(&mut this.body).poll_frame(context);
        }
        match ready!(frame) {
            Some(Ok(frame)) => {
                if let (Some(source), Some(bytes)) = (&this.source, frame.data_ref()) {
                    source.exchange.received(bytes.len());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.fail(&error);
                // In the next turn: an error has the server forget what it was about to write.
                this.broken = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // With the last frame taken, nobody asks for the end.
        if self.body.is_end_stream() {
            self.finish();
        }
    }
}
