//! `/start_profile` and `/stop_profile`: what every engine has, answered in milliseconds.
//!
//! A start waits for no iteration, and for a capture that ends a second at most; a stop waits only when it is told to
//! (`?wait=SECONDS`), and always is 200 when there is nothing to stop, since clients stop without asking.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, header};
use serde_json::{Map, Value, json};

use crate::capture::handle::Stopped;
use crate::capture::manifest::{CaptureId, Manifest};
use crate::capture::request::StartError;
use crate::service::audit::Note;
use crate::service::body::{BodyError, FIELDS, MAX_BODY_BYTES, read_fields, read_query, start_of};
use crate::service::caller::{Caller, Peer};
use crate::service::error::ApiError;
use crate::service::state::AppState;
use crate::service::values::{Fields, wrong};

/// The longest wait that is granted, seconds.
pub const LONGEST_WAIT_SECONDS: f64 = 600.0;

/// Starts a capture.
pub async fn start(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    if !state.settings.profiling {
        return Err(ApiError::ProfilingOff);
    }
    let key = asker(request.extensions());
    state.starts.take(&key, Instant::now()).map_err(ApiError::TooManyStarts)?;
    let (head, body) = request.into_parts();
    let body = read_body(body, state.body_patience).await?;
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let [of_query, fields] = read_fields(content_type, head.uri.query().unwrap_or_default(), &body)?;
    let note = noted(&head.extensions);
    note.asked(fields.known(FIELDS));
    // What can't be meant is an error, also where the body says something else.
    start_of(&of_query)?;
    let asked = start_of(&fields)?;
    let manifest = state.captures.start(asked).await.map_err(|error| for_this_caller(error, &head.extensions))?;
    note.capture(&manifest.capture_id.0);
    Ok(Json(started(&manifest)))
}

/// Stops the capture that runs.
pub async fn stop(State(state): State<AppState>, request: Request) -> Result<Json<Value>, ApiError> {
    if !state.settings.profiling {
        return Err(ApiError::ProfilingOff);
    }
    let (head, body) = request.into_parts();
    // Older clients send a whole completions payload. It means nothing, and is taken off the connection before anything
    // is answered, so that the connection can be kept.
    let _unread = read_body(body, state.body_patience).await;
    let query = Fields::new(read_query(head.uri.query().unwrap_or_default())?, Map::new());
    let note = noted(&head.extensions);
    note.asked(query.known(&["wait", "capture_id"]));
    let wait = read_wait(&query)?;
    let id = query.text("capture_id")?.map(|id| CaptureId(id.to_owned()));
    let Some(Stopped { mut manifest, was_over }) = state.captures.stop(id).await? else {
        return Ok(Json(json!({"state": "idle", "capture_id": null})));
    };
    note.capture(&manifest.capture_id.0);
    if let Some(patience) = wait
        && !manifest.state.is_final()
    {
        manifest = state.captures.wait(&manifest.capture_id, patience).await?;
    }
    let mut answer = stopped(&manifest);
    if was_over {
        // Nothing was running: the newest capture is told of all the same, for clients that stop unconditionally.
        answer["capture_state"] = answer["state"].take();
        answer["state"] = json!("idle");
    }
    Ok(Json(answer))
}

/// Who is let in by their network alone is not told where things lie on this machine.
fn for_this_caller(error: StartError, extensions: &Extensions) -> StartError {
    match error {
        StartError::NoEngine { .. } if matches!(extensions.get(), Some(Caller::Open(_))) => StartError::NoEngine {
            looked_in: "this sidecar's folder of segments".into(),
            hint: "; its `status` says more to whoever has a token".into(),
        },
        other => other,
    }
}

/// Whose starts this one is counted with.
fn asker(extensions: &Extensions) -> String {
    extensions.get::<Caller>().unwrap_or(&Caller::Here).key(extensions.get::<Peer>().copied())
}

/// The request's line in the audit.
pub fn noted(extensions: &Extensions) -> Note {
    extensions.get::<Note>().cloned().unwrap_or_default()
}

/// `?wait=SECONDS`; more than the longest is cut to it.
pub fn read_wait(query: &Fields) -> Result<Option<Duration>, ApiError> {
    let Some(text) = query.text("wait")? else { return Ok(None) };
    match text.trim().parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 && seconds.is_finite() => {
            Ok(Some(Duration::from_secs_f64(seconds.min(LONGEST_WAIT_SECONDS))))
        }
        _ => Err(wrong("wait", format!("expected seconds, from 0 to {LONGEST_WAIT_SECONDS}")).into()),
    }
}

async fn read_body(body: Body, patience: Duration) -> Result<axum::body::Bytes, BodyError> {
    match tokio::time::timeout(patience, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Err(_late) => Err(BodyError::TooSlow(patience.as_secs())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(inner) = cause {
                if inner.to_string().contains("length limit exceeded") {
                    return Err(BodyError::TooLong);
                }
                cause = inner.source();
            }
            Err(BodyError::Broken(error.to_string()))
        }
    }
}

/// The answer to a start.
pub fn started(manifest: &Manifest) -> Value {
    json!({
        "capture_id": manifest.capture_id,
        "state": manifest.state,
        "held": manifest.held,
        "agreed_at_ns": manifest.agreed_at_ns,
        "window": manifest.window,
        "groups": manifest.groups,
        "ranks": manifest.ranks,
        "native": manifest.native,
        "warnings": manifest.warnings,
        "links": links(&manifest.capture_id),
    })
}

/// The answer to a stop.
pub fn stopped(manifest: &Manifest) -> Value {
    json!({
        "capture_id": manifest.capture_id,
        "state": manifest.state,
        "complete": manifest.complete,
        "missing": manifest.missing,
        "closed_by": manifest.closed_by,
        "reason": manifest.reason,
        "window": manifest.window,
        "groups": manifest.groups,
        "ranks": manifest.ranks,
        "dropped": manifest.dropped,
        "native": manifest.native,
        "warnings": manifest.warnings,
        "links": links(&manifest.capture_id),
    })
}

/// Where the rest is; paths without a host, so that they hold behind a proxy too.
fn links(id: &CaptureId) -> Value {
    let own = format!("/stepscope/v1/captures/{id}");
    json!({
        "trace": format!("{own}/trace?format=json.gz"),
        "iterations": format!("{own}/iterations"),
        "report": format!("{own}/report"),
        "stop": format!("/stop_profile?capture_id={id}"),
        "self": own,
    })
}
