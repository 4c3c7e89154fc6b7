//! What every error looks like to a caller.

use std::fmt::Write;
use std::time::Duration;

use axum::response::IntoResponse;
use stepscope::capture::manifest::CaptureId;
use stepscope::capture::request::{CaptureError, Profiler, StartError};
use stepscope::config::tokens::Right;
use stepscope::proxy::ForwardError;
use stepscope::proxy::error::Refusal;
use stepscope::service::body::{BodyError, read_start};
use stepscope::service::error::ApiError;

fn all() -> Vec<ApiError> {
    let id = || CaptureId("0199c0de-0000-7000-8000-000000000001".into());
    let field = read_start(None, "", br#"{"num_steps":-1}"#).unwrap_err();
    let starts = [
        StartError::Running(id()),
        StartError::NoEngine { looked_in: "/dev/shm/stepscope-0".into(), hint: "; the folder does not exist".into() },
        StartError::Past { requested: 5, group: "g".into(), job: "j".into(), next: 9 },
        StartError::UnknownJob { asked: "x".into(), attached: vec!["j".into()] },
        StartError::UnknownRanks { asked: vec![9], attached: vec![0, 1] },
        StartError::AboveLimit { field: "max_bytes", asked: 9, limit: 5 },
        StartError::Unavailable { profiler: Profiler::Cuda, reasons: vec!["rank 0: not in this version".into()] },
        StartError::NotAgreed(6),
        StartError::Store("No space left on device".into()),
        StartError::ShuttingDown,
    ];
    let captures = [
        CaptureError::Unknown("x".into()),
        CaptureError::Busy(id(), "recording"),
        CaptureError::UnknownRank { id: id(), rank: 9, ranks: vec![0, 1] },
        CaptureError::Files { id: id(), reason: "no manifest".into() },
        CaptureError::ShuttingDown,
    ];
    let bodies = [
        BodyError::TooLong,
        BodyError::TooSlow(10),
        BodyError::Broken("connection reset".into()),
        BodyError::NotText(3),
        BodyError::NotJson { reason: "expected value".into(), hint: "" },
        BodyError::NotAnObject("7".into()),
        BodyError::Query("bad".into()),
        field,
    ];
    let url = || "http://127.0.0.1:8000".to_owned();
    let forwards = [
        ForwardError::Absent { url: url(), source: std::io::Error::other("connection refused") },
        ForwardError::Unreached { url: url(), after: Duration::from_secs(5) },
        ForwardError::Broken { url: url(), reason: "connection closed before message completed".into() },
        ForwardError::Full(4096),
        ForwardError::Refused(Refusal::NoHost),
        ForwardError::Refused(Refusal::TwoLengths),
        ForwardError::Refused(Refusal::Coding),
        ForwardError::Refused(Refusal::Connect),
    ];
    let own = [
        ApiError::ProfilingOff,
        ApiError::NoSuchPath("/x".into()),
        ApiError::MethodNotAllowed { method: "PUT".into(), path: "/start_profile".into() },
        ApiError::Unauthorized,
        ApiError::NoRight { name: "bench".into(), right: Right::Delete, has: vec![Right::Look, Right::Capture] },
        ApiError::TokenInUrl("access_token"),
        ApiError::ForeignOrigin,
        ApiError::ForeignHost("evil.example".into()),
        ApiError::BrokenHost,
        ApiError::TooManyStarts(Duration::from_millis(1500)),
        ApiError::Busy("512 requests"),
        ApiError::Internal("broken".into()),
    ];
    let starts = starts.into_iter().map(ApiError::from);
    let captures = captures.into_iter().map(ApiError::from);
    let forwards = forwards.into_iter().map(ApiError::from);
    starts.chain(forwards).chain(captures).chain(bodies.into_iter().map(ApiError::from)).chain(own).collect()
}

#[tokio::test]
async fn every_error_has_vllms_shape_and_says_what_to_do() {
    let mut shown = String::new();
    for error in all() {
        let response = error.into_response();
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let challenge = response.headers().get("www-authenticate").is_some();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        writeln!(shown, "{body}").unwrap();
        if let Some(retry) = retry {
            writeln!(shown, "  retry-after: {retry}").unwrap();
        }
        if challenge {
            writeln!(shown, "  www-authenticate: Bearer").unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_start_meets_404_for_one_reason_alone() {
    let on_start =
        |error: &ApiError| matches!(error, ApiError::Start(_) | ApiError::Body(_) | ApiError::TooManyStarts(_));
    for error in all().iter().filter(|error| on_start(error)) {
        assert_ne!(error.answer().status, 404, "{error}");
    }
    assert_eq!(ApiError::ProfilingOff.answer().status, 404);
}
