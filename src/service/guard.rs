//! What every request passes before its handler: counted, told from a foreign page's, asked who it is, given room.
//!
//! Health checks pass without a token and without room, so that a full service can still say that it lives. In order: a
//! token in the URL is refused (it would be in somebody's log), then a web page from elsewhere, then who has no right, then,
//! of callers without a token, one who calls this server by a name that anybody could point here. Called by
//! [`super::router`].

use std::any::Any;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use super::audit::Pending;
use super::auth::{self, Host};
use super::caller::{Caller, Needs, Peer, admit};
use super::error::ApiError;
use super::router::ROUTES;
use super::state::AppState;

/// The outermost middleware.
pub async fn guard(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", method = %request.method(), route, status = tracing::field::Empty);
    let peer = request.extensions().get::<Peer>().copied();
    let known = ROUTES.iter().find(|known| known.path == route);
    let needs = known.map_or(Needs::AnyToken, |route| route.needs(request.method()));
    let (caller, admitted) = admission(&state, needs, peer, &request);
    let pending = known
        .and_then(|route| route.action(request.method()))
        .map(|action| Pending::new(state.audit.clone(), action, caller.to_string(), peer.map(|Peer(address)| address)));
    let response = match admitted {
        Ok(_room) => {
            if let Some(pending) = &pending {
                request.extensions_mut().insert(pending.note());
            }
            request.extensions_mut().insert(caller);
            next.run(request).instrument(span.clone()).await
        }
        Err(error) => error.into_response(),
    };
    if let Some(pending) = pending {
        pending.answered(&response);
    }
    let status = response.status().as_u16();
    span.record("status", status);
    tracing::debug!(parent: &span, status, "answered");
    state.metrics.request_answered(&route, status);
    response
}

fn admission(
    state: &AppState,
    needs: Needs,
    peer: Option<Peer>,
    request: &Request,
) -> (Caller, Result<Option<OwnedSemaphorePermit>, ApiError>) {
    let (caller, may) = admit(&state.tokens(), &state.settings.open_profile_routes, needs, peer, request.headers());
    let admitted = harmless(state, &caller, request).and(may).and_then(|()| match needs {
        Needs::Nothing => Ok(None),
        _ => match state.requests.clone().try_acquire_owned() {
            Ok(room) => Ok(Some(room)),
            Err(_full) => Err(ApiError::Busy("512 requests")),
        },
    });
    (caller, admitted)
}

/// Whether nobody is behind it who only makes others ask, and nothing is shown that should not be.
fn harmless(state: &AppState, caller: &Caller, request: &Request) -> Result<(), ApiError> {
    if let Some(parameter) = auth::token_in_url(request.uri()) {
        return Err(ApiError::TokenInUrl(parameter));
    }
    if auth::is_foreign(request.headers()) {
        return Err(ApiError::ForeignOrigin);
    }
    match auth::host(request.uri(), request.headers()) {
        Host::Broken => Err(ApiError::BrokenHost),
        // Others bring a token, which no page has got hold of, or are refused anyway.
        Host::Named(name) if caller.needs_no_token() && !auth::cannot_be_rebound(&name, &state.hosts) => {
            Err(ApiError::ForeignHost(name))
        }
        _ => Ok(()),
    }
}

/// A handler that panics is an answer of 500, in the shape of all others.
pub fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!("a handler panicked: {text}");
    ApiError::Internal("an error of Stepscope's own; its log says more".to_owned()).into_response()
}
