//! Who answers: we, or the engine behind us.
//!
//! Without an engine behind us, all is the router's. With one, ours are [`is_ours`] and nothing else, byte for byte: neither
//! is a path decoded nor are its dots and slashes made sense of, so no way of writing one can reach the other side. What is
//! the engine's passes neither the token, nor the check of origins, nor the room for requests: those are ours.
//!
//! In front of the router and not its fallback, so that what passes costs no span, no label and no boxed layers. Called by
//! [`super::connections`].

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::caller::Peer;
use super::error::ApiError;
use super::router::PROFILE_PATHS;
use crate::proxy::body::Answer;
use crate::proxy::{Client, Proxy};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;

/// What is ours whatever stands behind us.
pub fn is_ours(path: &str) -> bool {
    path.starts_with("/stepscope/") || PROFILE_PATHS.contains(&path)
}

/// Router and proxy.
#[derive(Debug, Clone)]
pub struct Answers {
    router: Router,
    proxy: Option<Proxy>,
}

impl From<Router> for Answers {
    fn from(router: Router) -> Self {
        Self::new(router, None)
    }
}

impl Answers {
    /// All is the router's, but for what is the engine's.
    pub fn new(router: Router, proxy: Option<Proxy>) -> Self {
        Self { router, proxy }
    }

    /// For the requests of one connection.
    pub(super) fn of(&self, peer: Peer, is_secure: bool) -> AnswersOf {
        AnswersOf { answers: self.clone(), peer, client: Client { address: peer.0.ip(), is_secure } }
    }
}

/// What answers one connection.
#[derive(Debug, Clone)]
pub(super) struct AnswersOf {
    answers: Answers,
    peer: Peer,
    client: Client,
}

impl Service<Request<Incoming>> for AnswersOf {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        match &self.answers.proxy {
            Some(proxy) if !is_ours(request.uri().path()) => {
                let (proxy, client) = (proxy.clone(), self.client);
                Box::pin(async move {
                    Ok(match proxy.forward(request, client).await {
                        Ok(response) => response.map(AnswerBody::Theirs),
                        Err(error) => ApiError::from(error).into_response().map(AnswerBody::Ours),
                    })
                })
            }
            _ => {
                request.extensions_mut().insert(self.peer);
                let answer = TowerToHyperService::new(self.answers.router.clone()).call(request);
                Box::pin(async move { answer.await.map(|response| response.map(AnswerBody::Ours)) })
            }
        }
    }
}

/// An answer's body.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// Of one of our routes.
    Ours(Body),
    /// Of the engine.
    Theirs(Answer),
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Ours(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Theirs(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours(body) => body.is_end_stream(),
            Self::Theirs(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours(body) => body.size_hint(),
            Self::Theirs(body) => body.size_hint(),
        }
    }
}
