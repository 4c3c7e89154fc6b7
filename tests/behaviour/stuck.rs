//! Iterations that hang, engines that go idle or exit: closed within seconds, and said so.

use std::time::{Duration, Instant};

use crate::support::{Engine, Place, Sidecar, number};

#[test]
fn a_hanging_iteration_is_cut_off_soon_after_the_stop() {
    let place = Place::new();
    let arguments = ["--iterations", "0", "--step-us", "500", "--hang-at", "300", "--hang-ms", "60000"];
    let _engine = Engine::start(&place.segments(), &arguments);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    crate::support::eventually("the hang", || {
        let status = sidecar.get("/stepscope/v1/status").ok();
        status["ranks"].as_array().unwrap().iter().all(|r| r["begun"] == 300 && r["ended"] == 299).then_some(())
    });
    let stopped = Instant::now();
    sidecar.stop_profile();
    assert!(stopped.elapsed() < Duration::from_secs(1), "a stop does not wait for the engine");
    let capture = sidecar.finished(id);
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], false);
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!(rank["mid_iteration"], true, "{capture:#}");
        assert_eq!(number(&rank["last_iteration"]), 300);
    }
    let ledger = sidecar.ledger(id);
    let cut: Vec<_> = ledger.iter().filter(|row| row["iteration"] == 300).collect();
    assert_eq!(cut.len(), 2);
    assert!(cut.iter().all(|row| row["mid_iteration"] == true));
}

#[test]
fn an_engine_that_goes_idle_after_the_last_iteration_needs_no_further_step() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--idle-after", "400", "--step-us", "1000"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"start_iteration": 397, "max_iterations": 4}"#);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(number(&capture["ranks"][1]["last_iteration"]), 400);
}

#[test]
fn a_cap_closes_an_engine_that_went_idle_inside_the_window() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0", "--step-us", "200"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 100, "max_duration_ms": 400}"#);
    engine.make(5);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["closed_by"], "max_duration", "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!(number(&rank["last_iteration"]), 5);
    }
}

#[test]
fn an_engine_that_exits_inside_the_window_is_reported() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0", "--step-us", "200"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 100}"#);
    engine.make(9);
    sidecar.begun(9);
    engine.end();
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!((&capture["state"], &capture["closed_by"]), (&"done".into(), &"exit".into()), "{capture:#}");
    assert_eq!(capture["complete"], false);
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!((number(&rank["first_iteration"]), number(&rank["last_iteration"])), (1, 9));
    }
}

#[test]
fn a_window_that_nobody_reaches_is_given_up() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0"]);
    let sidecar = Sidecar::start(&place, &["--max-wait-ms", "300"]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 100}"#);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!((&capture["state"], &capture["closed_by"]), (&"cancelled".into(), &"max_wait".into()), "{capture:#}");
}
