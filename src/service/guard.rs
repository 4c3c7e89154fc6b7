//! What every request passes before its handler: counted, told from a foreign page's, asked for the token, given room.
//!
//! Health checks pass without a token and without room, so that a full service can still say that it lives. Called by
//! [`super::router`].

use std::any::Any;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::auth;
use super::error::ApiError;
use super::router::ROUTES;
use super::state::AppState;

/// The outermost middleware.
pub async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", method = %request.method(), route, status = tracing::field::Empty);
    let response = match admit(&state, &route, &request) {
        Ok(_room) => next.run(request).instrument(span.clone()).await,
        Err(error) => error.into_response(),
    };
    let status = response.status().as_u16();
    span.record("status", status);
    tracing::debug!(parent: &span, status, "answered");
    state.metrics.request_answered(&route, status);
    response
}

fn admit(
    state: &AppState,
    route: &str,
    request: &Request,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, ApiError> {
    if auth::is_foreign(request.headers(), state.token.is_some()) {
        return Err(ApiError::ForeignOrigin);
    }
    if ROUTES.iter().any(|known| known.open && known.path == route) {
        return Ok(None);
    }
    if let Some(token) = &state.token
        && !auth::brings_token(request.headers(), token)
    {
        return Err(ApiError::Unauthorized);
    }
    match state.requests.clone().try_acquire_owned() {
        Ok(room) => Ok(Some(room)),
        Err(_full) => Err(ApiError::Busy("512 requests")),
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
