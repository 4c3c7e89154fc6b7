//! `status`, `ranks`, `capabilities`, and what SGLang's profiler asks before it starts.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::capture::handle::RankStatus;
use crate::service::body::{FIELDS, MAX_BODY_BYTES};
use crate::service::state::AppState;
use crate::trace::output::{Format, LedgerFormat};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything at a glance.
pub async fn status(State(state): State<AppState>) -> Json<Value> {
    let snapshot = state.captures.snapshot();
    let [done, cancelled, failed] = snapshot.finished_total;
    let audit = state.audit.counts();
    Json(json!({
        "stepscope_version": VERSION,
        "state": snapshot.running.as_ref().map_or("idle", |capture| capture.state.as_str()),
        "profiling": state.settings.profiling,
        "uptime_ms": u64::try_from(state.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "dir": snapshot.dir,
        "ranks": snapshot.ranks,
        "refused": snapshot.refused,
        "running": snapshot.running,
        "finished_total": {"done": done, "cancelled": cancelled, "failed": failed},
        "gpus": state.gpus.status(),
        "gpus_absent": state.gpus.absent(),
        "departed_records_total": snapshot.departed_records_total,
        "departed_dropped_total": snapshot.departed_dropped_total,
        "store_bytes": snapshot.store_bytes,
        "audit": {
            "file": audit.has_file,
            "written_total": audit.written_total,
            "lost_total": audit.lost_total,
            "left_out_total": audit.left_out_total,
        },
    }))
}

/// Attached ranks, and segments refused.
pub async fn ranks(State(state): State<AppState>) -> Json<Value> {
    let snapshot = state.captures.snapshot();
    Json(json!({"ranks": snapshot.ranks, "refused": snapshot.refused}))
}

/// Whether some rank can serve the profiler `cuda`, as far as the agents have said; they look when a start asks.
fn cuda(ranks: &[RankStatus]) -> Value {
    let obstacles: Vec<&String> = ranks.iter().filter_map(|rank| rank.capabilities.cuda_obstacle.as_ref()).collect();
    if ranks.is_empty() {
        return json!({"available": "unknown", "reason": "no engine is attached"});
    }
    if obstacles.len() == ranks.len() {
        return json!({"available": false, "reason": obstacles.first()});
    }
    match ranks.iter().any(|rank| rank.capabilities.cuda_initialized == "yes") {
        true => json!({"available": true, "reason": null}),
        false => {
            json!({"available": "unknown", "reason": "nobody has asked the driver yet: a start with profiler cuda does"})
        }
    }
}

/// Whether the engine's own profiler can be had: it is asked, unless it is only the one that this sidecar stands in front of.
async fn engine(state: &AppState) -> Value {
    if state.settings.engine.url.is_none() && state.settings.upstream.is_some() {
        let reason = "nobody has asked the engine yet: a start with profiler engine does";
        return json!({"available": "unknown", "reason": reason});
    }
    match state.captures.check_engine().await {
        Ok(()) => json!({"available": true, "reason": null}),
        Err(reason) => json!({"available": false, "reason": reason}),
    }
}

/// What this version can do, instead of trial and 404.
pub async fn capabilities(State(state): State<AppState>) -> Json<Value> {
    let settings = &state.settings;
    let gpus_absent = state.gpus.absent();
    Json(json!({
        "stepscope_version": VERSION,
        "api": 1,
        "profiling": settings.profiling,
        "profilers": {
            "steps": {"available": true, "reason": null},
            "cuda": cuda(&state.captures.snapshot().ranks),
            "engine": engine(&state).await,
        },
        "counters": {
            "nvml": {"available": gpus_absent.is_none(), "reason": gpus_absent},
        },
        "formats": Format::ALL.map(Format::name),
        "ledger_formats": LedgerFormat::ALL.map(LedgerFormat::name),
        "start_fields": FIELDS,
        "defaults": {
            "delay_iterations": settings.default_delay_iterations,
            "max_iterations": settings.default_max_iterations,
            "profiler": settings.default_profiler,
        },
        "limits": {
            "max_duration_ms": settings.max_duration_ms,
            "max_wait_ms": settings.max_wait_ms,
            "max_events": settings.max_events,
            "max_bytes": settings.max_bytes,
            "body_bytes": MAX_BODY_BYTES,
            "starts_per_second": settings.start_rate_per_second,
        },
    }))
}

/// `python -m sglang.profiler` saves this beside its traces, and does not start without it.
pub async fn server_info(State(state): State<AppState>) -> Json<Value> {
    let snapshot = state.captures.snapshot();
    let mut engines: Vec<&str> = snapshot.ranks.iter().map(|rank| rank.engine.as_str()).collect();
    engines.sort_unstable();
    engines.dedup();
    Json(json!({"version": VERSION, "server": "stepscope", "engines": engines}))
}
