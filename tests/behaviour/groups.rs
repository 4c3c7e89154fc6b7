//! Several engines, and one engine of several groups, under one sidecar: each group exact by its own numbers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Engine, Place, Sidecar, number};

/// First and last iteration of every rank, by job and group.
fn spans(capture: &Value) -> BTreeMap<(String, String), Vec<(u64, u64)>> {
    let mut spans: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for r in capture["ranks"].as_array().unwrap() {
        let key = (r["job"].as_str().unwrap().to_owned(), r["group"].as_str().unwrap().to_owned());
        spans.entry(key).or_default().push((number(&r["first_iteration"]), number(&r["last_iteration"])));
    }
    spans
}

#[test]
fn two_engines_are_captured_at_once_or_one_by_name() {
    let place = Place::new();
    let _fast = Engine::start(&place.segments(), &["--iterations", "0", "--job", "fast", "--step-us", "300"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    sidecar.begun(200);
    let _slow = Engine::start(&place.segments(), &["--iterations", "0", "--job", "slow", "--step-us", "3000"]);
    sidecar.attached(4);
    let started = sidecar.start_profile(r#"{"delay_iterations": 5, "max_iterations": 20}"#);
    let jobs: Vec<&str> = started["groups"].as_array().unwrap().iter().map(|g| g["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["fast", "slow"]);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["complete"], true, "{capture:#}");
    let spans_of_both = spans(&capture);
    assert_eq!(spans_of_both.len(), 2);
    for spans in spans_of_both.values() {
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[0], spans[1]);
        assert_eq!(spans[0].1 - spans[0].0 + 1, 20);
    }
    let started = sidecar.start_profile(r#"{"max_iterations": 4, "job": "slow"}"#);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(spans(&capture).keys().map(|k| k.0.as_str()).collect::<Vec<_>>(), ["slow"]);
}

#[test]
fn groups_of_one_engine_step_apart() {
    let place = Place::new();
    let arguments = ["--iterations", "0", "--groups", "2", "--ranks", "2", "--step-us", "500", "--job", "one"];
    let _engine = Engine::start(&place.segments(), &arguments);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(4);
    let started = sidecar.start_profile(r#"{"delay_iterations": 3, "max_iterations": 10}"#);
    assert_eq!(started["groups"].as_array().unwrap().len(), 2);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["complete"], true, "{capture:#}");
    let spans = spans(&capture);
    assert_eq!(spans.len(), 2);
    for ((job, _), spans) in &spans {
        assert_eq!(job, "one");
        assert_eq!(spans[0], spans[1]);
        assert_eq!(spans[0].1 - spans[0].0 + 1, 10);
    }
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "recording");
    sidecar.stop_profile();
    let capture = sidecar.finished(id);
    for spans in self::spans(&capture).values() {
        assert_eq!(spans[0], spans[1], "{capture:#}");
    }
}

#[test]
fn a_rank_that_is_not_there_is_named() {
    let place = Place::new();
    let engine = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "3"]);
    let sidecar = Sidecar::start(&place, &[]);
    let ranks = sidecar.attached(3);
    let gone = ranks.iter().find(|r| r["rank"] == 1).unwrap();
    crate::support::engine::signal(number(&gone["pid"]) as u32, "KILL");
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 3}"#);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["complete"], false);
    assert_eq!(capture["groups"][0]["missing_ranks"], serde_json::json!([1]));
    assert!(capture["missing"][0].as_str().unwrap().contains("[1]"), "{capture:#}");
    drop(engine);
}
