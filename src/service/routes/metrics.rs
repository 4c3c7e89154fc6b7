//! `/metrics`: what the session knows, read when asked.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::capture::handle::Snapshot;
use crate::proxy::counts::Counted;
use crate::service::error::ApiError;
use crate::service::state::AppState;
use crate::telemetry::metrics::{CONTENT_TYPE, ProxyReadings, RankCounts, RankLabels, Readings};

/// All metrics.
pub async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let mut readings = readings(&state.captures.snapshot());
    let audit = state.audit.counts();
    let lines = [audit.written_total, audit.lost_total, audit.left_out_total];
    readings.audit_lines_total = ["written", "lost", "left_out"].into_iter().zip(lines).collect();
    readings.gpus = state.gpus.readings();
    readings.proxy = state.proxy.as_ref().map(|proxy| passed(&proxy.counted()));
    let text = state.metrics.text(readings).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn passed(counted: &Counted) -> ProxyReadings {
    ProxyReadings {
        requests_total: counted.answered_total,
        in_flight: counted.in_flight,
        to_engine_bytes_total: counted.sent_bytes_total,
        to_client_bytes_total: counted.received_bytes_total,
        upstream_errors_total: counted.upstream_errors_total,
        client_aborts_total: counted.client_aborts_total,
        tunnels_total: counted.tunnels_total,
        connections_total: counted.connections_total,
        retries_total: counted.retried_total,
    }
}

/// A snapshot as metrics. Ranks that are gone are kept as one, so that no total falls when one leaves.
pub fn readings(snapshot: &Snapshot) -> Readings {
    let mut readings = Readings {
        captures_total: ["done", "cancelled", "failed"].into_iter().zip(snapshot.finished_total).collect(),
        capture_running: snapshot.running.is_some(),
        segments_refused: snapshot.refused.len() as u64,
        store_bytes: snapshot.store_bytes,
        buffered_bytes: snapshot.buffered_bytes,
        ..Readings::default()
    };
    for rank in &snapshot.ranks {
        let steps = rank.role == "rank";
        readings.ranks_attached += u64::from(steps);
        let name = if steps { rank.rank.to_string() } else { "source".to_owned() };
        let labels = RankLabels { job: rank.job.clone(), group: rank.group.clone(), rank: name };
        let counts = readings.ranks.entry(labels).or_default();
        // What a segment says of itself may be anything.
        counts.records_total = counts.records_total.saturating_add(rank.records_total);
        counts.dropped_total = counts.dropped_total.saturating_add(rank.dropped_total);
        if steps {
            counts.iterations_total = Some(counts.iterations_total.unwrap_or(0).saturating_add(rank.ended));
        }
    }
    let departed = RankLabels { job: String::new(), group: String::new(), rank: "departed".to_owned() };
    readings.ranks.insert(
        departed,
        RankCounts {
            records_total: snapshot.departed_records_total,
            dropped_total: snapshot.departed_dropped_total,
            iterations_total: None,
        },
    );
    readings
}
