//! One connection to the engine, driven by whoever uses it.
//!
//! There is no task behind it: the request that has it polls it, first for the answer's head, then with every piece of its
//! body. So whoever is dropped takes the connection along at once, and nothing is handed from task to task.
//! While it waits for its next request nobody polls it; [`Link::is_fresh`] finds out whether the engine closed it meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::Outgoing;
use super::error::ForwardError;
use super::upstream::Upstream;

/// How long the engine may take to accept a connection.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection and the handle that sends on it.
pub struct Link {
    sender: SendRequest<Outgoing>,
    /// `None`: it is over.
    driver: Option<Driver>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("is_open", &self.driver.is_some()).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects.
    pub(super) async fn connect(upstream: &Upstream) -> Result<Self, ForwardError> {
        let absent = |source| ForwardError::Absent { url: upstream.url().to_owned(), source };
        let connecting = TcpStream::connect(upstream.host_and_port());
        let stream = match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(absent)?,
            Err(_late) => {
                return Err(ForwardError::Unreached { url: upstream.url().to_owned(), after: CONNECT_PATIENCE });
            }
        };
        let _ = stream.set_nodelay(true); // only a matter of speed
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| absent(std::io::Error::other(error)))?;
        Ok(Self { sender, driver: Some(Box::pin(driver.with_upgrades())) })
    }

    /// Lets it read and write what it can.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(driver) = &mut self.driver else { return Poll::Ready(()) };
        if driver.as_mut().poll(context).is_ready() {
            // What went wrong is told to the request or to its body.
            self.driver = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Whether the next request may go out on it: it is through with the last one, and the engine has not closed it.
    pub(super) fn is_fresh(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop())).is_pending() && self.sender.is_ready()
    }

    /// Sends a request; answers with the head that comes back.
    #[allow(clippy::result_large_err, reason = "the error is the request itself, handed back to be sent elsewhere")]
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let answer = self.sender.try_send_request(request);
        tokio::pin!(answer);
        std::future::poll_fn(|context| {
            let Some(driver) = &mut self.driver else { return answer.as_mut().poll(context) };
            if driver.as_mut().poll(context).is_ready() {
                self.driver = None;
            }
            answer.as_mut().poll(context)
        })
        .await
    }
}
