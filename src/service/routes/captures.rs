//! Captures that are there: list, manifest, trace, ledger, report, removal. `latest` stands for the newest one's id.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Extensions, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::profile::{noted, read_wait, started};
use crate::capture::export::Export;
use crate::capture::manifest::Manifest;
use crate::capture::request::{CaptureError, ReportFormat};
use crate::service::body::read_query;
use crate::service::error::ApiError;
use crate::service::state::AppState;
use crate::service::stream::stream;
use crate::service::values::{Fields, Wrong, shown, wrong};
use crate::trace::output::{Format, LedgerFormat};

type Id = Result<Path<String>, PathRejection>;

const LIST: u64 = 100;
const LONGEST_LIST: u64 = 1000;

/// Newest first.
pub async fn list(State(state): State<AppState>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let limit = match fields(query)?.number(&["limit"])? {
        None => LIST,
        Some((_, limit @ 1..=LONGEST_LIST)) => limit,
        Some(_) => return Err(wrong("limit", format!("expected a number from 1 to {LONGEST_LIST}")).into()),
    };
    let all = state.captures.list();
    let shown: Vec<&Manifest> = all.iter().map(AsRef::as_ref).take(limit as usize).collect();
    Ok(Json(json!({"captures": shown, "total": all.len()})))
}

/// One manifest.
pub async fn show(State(state): State<AppState>, id: Id, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let id = name(id)?;
    let wait = read_wait(&fields(query)?)?;
    let mut manifest = state.captures.get(&id)?;
    if let Some(patience) = wait
        && !manifest.state.is_final()
    {
        manifest = state.captures.wait(&manifest.capture_id, patience).await?;
    }
    Ok(Json(manifest.as_ref()).into_response())
}

/// Opens one that is held.
pub async fn open(
    State(state): State<AppState>,
    id: Id,
    RawQuery(query): RawQuery,
    extensions: Extensions,
) -> Result<Json<Value>, ApiError> {
    if !state.settings.profiling {
        return Err(ApiError::ProfilingOff);
    }
    let note = noted(&extensions);
    let fields = fields(query)?;
    note.asked(fields.known(&["start_iteration"]));
    let id = state.captures.get(&name(id)?)?.capture_id.clone();
    note.capture(&id.0);
    let first = fields.number(&["start_iteration"])?.map(|(_, first)| first);
    Ok(Json(started(&*state.captures.open(id, first).await?)))
}

/// Removes it, with its files.
pub async fn delete(State(state): State<AppState>, id: Id, extensions: Extensions) -> Result<Json<Value>, ApiError> {
    let id = name(id)?;
    let note = noted(&extensions);
    note.asked(Map::from_iter([("id".to_owned(), json!(id))]));
    let manifest = state.captures.get(&id)?;
    note.capture(&manifest.capture_id.0);
    state.captures.delete(&manifest.capture_id.0).await?;
    Ok(Json(json!({"deleted": manifest.capture_id})))
}

/// The trace, streamed.
pub async fn trace(State(state): State<AppState>, id: Id, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let id = name(id)?;
    let fields = fields(query)?;
    let format = match fields.text("format")? {
        None => Format::Json,
        Some(asked) => Format::of_name(asked).ok_or_else(|| unknown_format(asked, &Format::names()))?,
    };
    let download = state.captures.trace(&id, format, rank(&fields)?)?;
    attachment(&state, download, format.media_type()).await
}

/// The ledger, streamed.
pub async fn iterations(
    State(state): State<AppState>,
    id: Id,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let id = name(id)?;
    let fields = fields(query)?;
    let format = match fields.text("format")? {
        None => LedgerFormat::JsonLines,
        Some(asked) => LedgerFormat::of_name(asked).ok_or_else(|| unknown_format(asked, &LedgerFormat::names()))?,
    };
    let requests = match fields.text("requests")? {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(other) => {
            return Err(wrong("requests", format!("{} is neither true nor false", shown(&other.into()))).into());
        }
    };
    let download = state.captures.iterations(&id, format, rank(&fields)?, requests)?;
    attachment(&state, download, format.media_type()).await
}

/// A file as it lies there.
pub async fn artifact(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((id, artifact)) = path.map_err(|_| CaptureError::Unknown("of that name".to_owned()))?;
    let download = state.captures.artifact(&name(Ok(Path(id)))?, &artifact)?;
    attachment(&state, download, "application/octet-stream").await
}

fn unknown_format(asked: &str, names: &str) -> Wrong {
    wrong("format", format!("{} is none of: {names}", shown(&asked.into())))
}

/// The one rank that is asked for.
fn rank(fields: &Fields) -> Result<Option<u32>, Wrong> {
    let Some((_, rank)) = fields.number(&["rank"])? else { return Ok(None) };
    u32::try_from(rank).map(Some).map_err(|_| wrong("rank", format!("{rank} is no rank")))
}

/// A download under the name that it is offered with.
async fn attachment(state: &AppState, download: (Export, String), media_type: &str) -> Result<Response, ApiError> {
    let (export, name) = download;
    let body = stream(state, export).await?;
    let disposition = format!("attachment; filename=\"{}\"", harmless(&name));
    let headers = [(header::CONTENT_TYPE, media_type), (header::CONTENT_DISPOSITION, disposition.as_str())];
    Ok((headers, body).into_response())
}

/// What a page of ours may do: show itself. Its text comes from engines.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";

/// The report, computed anew.
pub async fn report(State(state): State<AppState>, id: Id, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let id = name(id)?;
    let fields = fields(query)?;
    let (format, kind) = match fields.text("format")? {
        None | Some("json") => (ReportFormat::Json, "application/json"),
        Some("html") => (ReportFormat::Html, "text/html; charset=utf-8"),
        Some(other) => return Err(wrong("format", format!("{} is none of: json, html", shown(&other.into()))).into()),
    };
    let export = state.captures.report(&id, format)?;
    let body = stream(&state, export).await?;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, body).into_response())
}

/// An id, or `latest`. What can't be either is a capture that does not exist, and never reaches a file system.
fn name(id: Id) -> Result<String, ApiError> {
    let Path(id) = id.map_err(|_| CaptureError::Unknown("of that name".to_owned()))?;
    let plain = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain { Ok(id) } else { Err(CaptureError::Unknown(shown(&id.into())).into()) }
}

fn fields(query: Option<String>) -> Result<Fields, ApiError> {
    Ok(Fields::new(read_query(query.as_deref().unwrap_or_default())?, Map::new()))
}

/// A file name as a header may hold it, quotes and all.
fn harmless(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' }).collect()
}
