//! Every error as a status, a stable reason and a message that says what to do next.
//!
//! One shape for all, vLLM's: `{"error":{"message","type","param","code","reason"}}`, where `code` is the status and
//! `reason`, our own, never changes its spelling. Clients read 404 as "profiling is switched off", so nothing that
//! `/start_profile` and `/stop_profile` can meet otherwise is a 404.
//!
//! Called by all of `service`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::body::BodyError;
use super::values::Wrong;
use crate::capture::request::{CaptureError, StartError};
use crate::config::tokens::Right;
use crate::proxy::ForwardError;
use crate::proxy::error::Refusal;

/// Whatever a request can meet.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body or the query can't be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A start was refused.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Something about a capture was refused.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A request could not be carried to the engine behind us.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// Profiling is switched off.
    #[error("profiling is switched off on this server: set `profiling = true` to allow captures")]
    ProfilingOff,
    /// No such path.
    #[error("there is nothing at {0:.200}: see /openapi.json for what there is")]
    NoSuchPath(String),
    /// Not with this method.
    #[error("{method:.20} is not allowed at {path:.200}: see /openapi.json for what is")]
    MethodNotAllowed {
        /// What was tried.
        method: String,
        /// Where.
        path: String,
    },
    /// No token, or a wrong one.
    #[error("this server asks for its token: send `Authorization: Bearer <token>`")]
    Unauthorized,
    /// A token that is not good for this.
    #[error("token {name} has no right to this: it takes `{}`, and the token has {}", right.name(), words(has))]
    NoRight {
        /// Whose token.
        name: Arc<str>,
        /// What it lacks.
        right: Right,
        /// What it has.
        has: Vec<Right>,
    },
    /// A token where logs, histories and proxies see it.
    #[error(
        "a token in the URL ends up in logs and histories: send `Authorization: Bearer <token>`, and draw a new token"
    )]
    TokenInUrl(&'static str),
    /// A web page of somebody else.
    #[error("requests of web pages from elsewhere are refused")]
    ForeignOrigin,
    /// A name that anybody may have pointed here, of a caller without a token.
    #[error(
        "this server is not known as {0:.100}: without a token call it by its address, or start it with --allowed-host NAME"
    )]
    ForeignHost(String),
    /// No Host that can be meant.
    #[error("the request says more than one host, or none that can be: send one Host header")]
    BrokenHost,
    /// Plain HTTP to a port that speaks TLS.
    #[error("this port speaks HTTPS: begin the URL with https://")]
    SpeaksHttps,
    /// Too many starts.
    #[error("too many starts: try again in {} s", retry_seconds(*.0))]
    TooManyStarts(Duration),
    /// No room for one more.
    #[error("{0} at once are all this server takes: try again in a moment")]
    Busy(&'static str),
    /// A handler panicked, or a file could not be written.
    #[error("{0}")]
    Internal(String),
}

/// What the caller gets to see.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable word for programs.
    pub reason: &'static str,
    /// The field that is wrong.
    pub param: Option<String>,
    /// Words for people.
    pub message: String,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// As JSON, in the one shape.
    pub fn body(&self) -> Value {
        let Self { status, reason, param, message, .. } = self;
        let error = json!({
            "message": message, "type": kind(*status), "param": param, "code": status.as_u16(), "reason": reason,
        });
        json!({ "error": error })
    }
}

impl From<Wrong> for ApiError {
    fn from(wrong: Wrong) -> Self {
        Self::Body(BodyError::Field(wrong))
    }
}

impl ApiError {
    /// Status and body, for where there is no HTTP yet to carry them.
    pub fn shown(&self) -> (StatusCode, String) {
        let answer = self.answer();
        (answer.status, answer.body().to_string())
    }

    /// The one table from errors to answers.
    pub fn answer(&self) -> Answer {
        use StatusCode as S;
        const MOMENT: Duration = Duration::from_secs(1);
        let mut message = self.to_string();
        let mut param = None;
        let mut retry_after = None;
        let (status, reason) = match self {
            Self::Body(error) => match error {
                BodyError::TooLong => (S::PAYLOAD_TOO_LARGE, "body_too_long"),
                BodyError::TooSlow(_) => (S::REQUEST_TIMEOUT, "body_too_slow"),
                BodyError::Broken(_) => (S::BAD_REQUEST, "body_broken"),
                BodyError::NotText(_) => (S::BAD_REQUEST, "body_not_utf8"),
                BodyError::NotJson { .. } => (S::BAD_REQUEST, "body_not_json"),
                BodyError::NotAnObject(_) => (S::BAD_REQUEST, "body_not_an_object"),
                BodyError::Query(_) => (S::BAD_REQUEST, "query_unreadable"),
                BodyError::Field(wrong) => {
                    param = Some(wrong.field.clone());
                    (S::BAD_REQUEST, "wrong_value")
                }
            },
            Self::Start(error) => match error {
                StartError::Running(id) => {
                    message =
                        format!("{message}: POST /stop_profile ends it, GET /stepscope/v1/captures/{id} shows it");
                    (S::CONFLICT, "capture_running")
                }
                StartError::NoEngine { .. } => (S::SERVICE_UNAVAILABLE, "no_engine"),
                StartError::Past { .. } => {
                    param = Some("start_iteration".to_owned());
                    (S::BAD_REQUEST, "iteration_is_past")
                }
                StartError::UnknownJob { .. } => {
                    param = Some("job".to_owned());
                    (S::BAD_REQUEST, "unknown_job")
                }
                StartError::UnknownRanks { .. } => {
                    param = Some("ranks".to_owned());
                    (S::BAD_REQUEST, "unknown_ranks")
                }
                StartError::AboveLimit { field, .. } => {
                    param = Some((*field).to_owned());
                    (S::BAD_REQUEST, "above_limit")
                }
                StartError::Unavailable { .. } => {
                    param = Some("profiler".to_owned());
                    (S::UNPROCESSABLE_ENTITY, "profiler_unavailable")
                }
                StartError::NotAgreed(_) => {
                    retry_after = Some(MOMENT);
                    (S::SERVICE_UNAVAILABLE, "not_agreed")
                }
                StartError::NotHeld(..) => (S::CONFLICT, "not_held"),
                StartError::Busy => {
                    retry_after = Some(MOMENT);
                    (S::SERVICE_UNAVAILABLE, "busy")
                }
                StartError::Store(_) => (S::INSUFFICIENT_STORAGE, "store_failed"),
                StartError::ShuttingDown => (S::SERVICE_UNAVAILABLE, "shutting_down"),
            },
            Self::Capture(error) => match error {
                CaptureError::Unknown(_) => (S::NOT_FOUND, "unknown_capture"),
                CaptureError::Busy(..) => (S::CONFLICT, "capture_busy"),
                CaptureError::UnknownRank { .. } => {
                    param = Some("rank".to_owned());
                    (S::NOT_FOUND, "unknown_rank")
                }
                CaptureError::UnknownArtifact { .. } => (S::NOT_FOUND, "unknown_artifact"),
                CaptureError::Files { .. } => (S::INTERNAL_SERVER_ERROR, "files_unreadable"),
                CaptureError::TooMany => {
                    retry_after = Some(MOMENT);
                    (S::SERVICE_UNAVAILABLE, "busy")
                }
                CaptureError::ShuttingDown => (S::SERVICE_UNAVAILABLE, "shutting_down"),
            },
            Self::Forward(error) => match error {
                ForwardError::Absent { .. } => (S::BAD_GATEWAY, "engine_absent"),
                ForwardError::Unreached { .. } => (S::GATEWAY_TIMEOUT, "engine_unreached"),
                ForwardError::Broken { .. } => (S::BAD_GATEWAY, "engine_broke_off"),
                ForwardError::Full(_) => {
                    retry_after = Some(MOMENT);
                    (S::SERVICE_UNAVAILABLE, "busy")
                }
                ForwardError::Refused(refusal) => match refusal {
                    Refusal::NoHost | Refusal::TwoHosts | Refusal::WrongHost => (S::BAD_REQUEST, "wrong_host"),
                    Refusal::TwoLengths => (S::BAD_REQUEST, "two_lengths"),
                    Refusal::Coding => (S::NOT_IMPLEMENTED, "unknown_coding"),
                    Refusal::Connect => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
                },
            },
            Self::ProfilingOff => (S::NOT_FOUND, "profiling_off"),
            Self::NoSuchPath(_) => (S::NOT_FOUND, "no_such_path"),
            Self::MethodNotAllowed { .. } => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized"),
            Self::NoRight { .. } => (S::FORBIDDEN, "no_right"),
            Self::TokenInUrl(parameter) => {
                param = Some((*parameter).to_owned());
                (S::BAD_REQUEST, "token_in_url")
            }
            Self::ForeignOrigin => (S::FORBIDDEN, "foreign_origin"),
            Self::ForeignHost(_) => (S::MISDIRECTED_REQUEST, "foreign_host"),
            Self::SpeaksHttps => (S::BAD_REQUEST, "speaks_https"),
            Self::BrokenHost => (S::BAD_REQUEST, "broken_host"),
            Self::TooManyStarts(wait) => {
                retry_after = Some(*wait);
                (S::TOO_MANY_REQUESTS, "too_many_starts")
            }
            Self::Busy(_) => {
                retry_after = Some(MOMENT);
                (S::SERVICE_UNAVAILABLE, "busy")
            }
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal"),
        };
        Answer { status, reason, param, message, retry_after }
    }
}

/// The word that vLLM's clients know for a status.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UnauthorizedError",
        StatusCode::FORBIDDEN => "ForbiddenError",
        StatusCode::NOT_FOUND => "NotFoundError",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowedError",
        StatusCode::CONFLICT => "ConflictError",
        StatusCode::UNPROCESSABLE_ENTITY => "UnprocessableEntityError",
        StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
        status if status.is_client_error() => "BadRequestError",
        _ => "InternalServerError",
    }
}

/// The stable word of an error, beside its answer: for the audit.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub &'static str);

fn words(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}

fn retry_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let answer = self.answer();
        let body = answer.body();
        let Answer { status, reason, message, retry_after, .. } = answer;
        // Of requests to an engine that is gone there may be thousands: the proxy says it once.
        if status.is_server_error() && !matches!(self, Self::Forward(_)) {
            tracing::warn!(%status, reason, "{message}");
        }
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(Reason(reason));
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = retry_after {
            headers.insert(header::RETRY_AFTER, retry_seconds(wait).max(1).into());
        }
        response
    }
}
