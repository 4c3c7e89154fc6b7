//! Either side may come first, and engines may come while a capture runs.

use std::time::{Duration, Instant};

use crate::support::{Engine, Place, Sidecar, number};

#[test]
fn an_engine_is_found_whoever_comes_first() {
    let place = Place::new();
    let engine = Engine::start(&place.segments(), &["--iterations", "0"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    drop(engine);
    sidecar.attached(0);
    let began = Instant::now();
    let _later = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "1"]);
    sidecar.attached(1);
    assert!(began.elapsed() < Duration::from_secs(10));
    let started = sidecar.start_profile(r#"{"max_iterations": 3}"#);
    assert_eq!(sidecar.finished(started["capture_id"].as_str().unwrap())["complete"], true);
}

#[test]
fn no_engine_is_503_and_says_where_it_looked() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let refused = sidecar.post("/start_profile", "");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.message().contains(place.segments().to_str().unwrap()), "{}", refused.body);
}

#[test]
fn an_engine_that_comes_during_a_capture_changes_nothing_of_it() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 2000}"#);
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "recording");
    let _other = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "1", "--job", "other"]);
    sidecar.attached(3);
    let capture = sidecar.finished(id);
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(capture["ranks"].as_array().unwrap().len(), 2);
    let both = sidecar.start_profile(r#"{"max_iterations": 5}"#);
    let capture = sidecar.finished(both["capture_id"].as_str().unwrap());
    assert_eq!(capture["ranks"].as_array().unwrap().len(), 3);
    assert_eq!(capture["complete"], true, "{capture:#}");
}

#[test]
fn segments_of_engines_that_ended_are_removed() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    for _ in 0..3 {
        let engine = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "2"]);
        sidecar.attached(2);
        drop(engine);
        sidecar.attached(0);
    }
    let left = || std::fs::read_dir(place.segments()).unwrap().count();
    crate::support::eventually("the segments to go", || (left() == 0).then_some(()));
}

#[test]
fn ranks_can_be_chosen() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "3"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(3);
    let started = sidecar.start_profile(r#"{"max_iterations": 3, "ranks": [1]}"#);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    let reports = capture["ranks"].as_array().unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(number(&reports[0]["rank"]), 1);
    // The others were not asked for, so nothing is missing.
    assert_eq!(capture["complete"], true, "{capture:#}");
    let refused = sidecar.post("/start_profile", r#"{"ranks": [7]}"#);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.message().contains("[0, 1, 2]"), "{}", refused.body);
}
