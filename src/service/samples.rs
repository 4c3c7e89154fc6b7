//! One of each error a request can meet: the examples of `/openapi.json`, and what tests hold every answer against.
//!
//! Called by [`super::document`].

use std::time::Duration;

use super::body::BodyError;
use super::error::ApiError;
use super::values::wrong;
use crate::capture::manifest::CaptureId;
use crate::capture::request::{CaptureError, Profiler, StartError};
use crate::config::tokens::Right;
use crate::proxy::ForwardError;
use crate::proxy::error::Refusal;

/// All of them.
pub fn samples() -> Vec<ApiError> {
    let id = || CaptureId("0199c0de-0000-7000-8000-000000000001".into());
    let reason = format!("expected a whole number from 0 to {}, got -1", super::values::LARGEST);
    let starts = [
        StartError::Running(id()),
        StartError::NoEngine { looked_in: "/dev/shm/stepscope-0".into(), hint: "; the folder does not exist".into() },
        StartError::Past { requested: 5, group: "g".into(), job: "j".into(), next: 9 },
        StartError::UnknownJob { asked: "x".into(), attached: vec!["j".into()] },
        StartError::UnknownRanks { asked: vec![9], attached: vec![0, 1] },
        StartError::AboveLimit { field: "max_bytes", asked: 9, limit: 5 },
        StartError::Unavailable { profiler: Profiler::Cuda, reasons: vec!["rank 0: not in this version".into()] },
        StartError::NotAgreed(6),
        StartError::NotHeld(id(), "recording"),
        StartError::Busy,
        StartError::Store("No space left on device".into()),
        StartError::ShuttingDown,
    ];
    let captures = [
        CaptureError::Unknown("x".into()),
        CaptureError::Busy(id(), "recording"),
        CaptureError::UnknownRank { id: id(), rank: 9, ranks: vec![0, 1] },
        CaptureError::UnknownArtifact { id: id(), name: "x".into(), names: vec!["trace.json.gz".into()] },
        CaptureError::Files { id: id(), reason: "no manifest".into() },
        CaptureError::TooMany,
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
        BodyError::Field(wrong("num_steps", reason)),
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
        ApiError::SpeaksHttps,
        ApiError::TooManyStarts(Duration::from_millis(1500)),
        ApiError::Busy("512 requests"),
        ApiError::Internal("broken".into()),
    ];
    let starts = starts.into_iter().map(ApiError::from);
    let captures = captures.into_iter().map(ApiError::from);
    let forwards = forwards.into_iter().map(ApiError::from);
    starts.chain(forwards).chain(captures).chain(bodies.into_iter().map(ApiError::from)).chain(own).collect()
}
