//! Stop, and everything that closes a window besides its last iteration.

use serde_json::Value;

use crate::support::{Engine, Place, Sidecar, eventually, number};

/// All ranks ended at the same iteration, and have a record of each.
fn assert_even(sidecar: &Sidecar, capture: &Value) {
    let reports = capture["ranks"].as_array().unwrap();
    let span = |r: &Value| (number(&r["first_iteration"]), number(&r["last_iteration"]));
    for report in reports {
        assert_eq!(span(report), span(&reports[0]), "{capture:#}");
    }
    let (first, last) = span(&reports[0]);
    let ledger = sidecar.ledger(capture["capture_id"].as_str().unwrap());
    assert_eq!(ledger.len() as u64, (last - first + 1) * reports.len() as u64);
}

fn running(ranks: u32) -> (Place, Engine, Sidecar) {
    let place = Place::new();
    let step = if ranks > 2 { "2000" } else { "500" };
    let engine =
        Engine::start(&place.segments(), &["--ranks", &ranks.to_string(), "--iterations", "0", "--step-us", step]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(ranks as usize);
    sidecar.begun(20);
    (place, engine, sidecar)
}

#[test]
fn a_stop_closes_every_running_rank_at_the_same_iteration() {
    for ranks in [2, 8] {
        let (_place, _engine, sidecar) = running(ranks);
        for _ in 0..5 {
            let started = sidecar.start_profile("");
            let id = started["capture_id"].as_str().unwrap();
            sidecar.in_state(id, "recording");
            let stopped = sidecar.stop_profile();
            assert_eq!(stopped["capture_id"], id);
            let capture = sidecar.finished(id);
            assert_eq!((&capture["state"], &capture["closed_by"]), (&"done".into(), &"stop".into()), "{capture:#}");
            assert_eq!(capture["complete"], true, "{capture:#}");
            assert_even(&sidecar, &capture);
        }
    }
}

#[test]
fn each_cap_closes_every_rank_at_the_same_iteration() {
    for ranks in [2, 8] {
        let (_place, _engine, sidecar) = running(ranks);
        for (body, cause) in [
            (r#"{"max_duration_ms": 150}"#, "max_duration"),
            (r#"{"max_events": 40}"#, "max_events"),
            (r#"{"max_bytes": 20000}"#, "max_bytes"),
        ] {
            let started = sidecar.start_profile(body);
            let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
            assert_eq!(capture["closed_by"], cause, "{capture:#}");
            assert_eq!(capture["complete"], true, "{capture:#}");
            assert_even(&sidecar, &capture);
            if cause == "max_events" {
                assert!(number(&capture["records"]) >= 40);
            }
        }
    }
}

#[test]
fn a_cap_above_the_servers_limit_is_refused() {
    let (_place, _engine, sidecar) = running(1);
    let refused = sidecar.post("/start_profile", r#"{"max_duration_ms": 999999999}"#);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["param"], "max_duration_ms");
}

#[test]
fn stop_before_the_window_cancels_it_on_every_rank() {
    let (_place, _engine, sidecar) = running(2);
    let started = sidecar.start_profile(r#"{"delay_iterations": 1000000, "max_iterations": 4}"#);
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "delaying");
    sidecar.stop_profile();
    let capture = sidecar.finished(id);
    assert_eq!(capture["state"], "cancelled", "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!(rank["state"], "cancelled");
        assert_eq!(number(&rank["iterations"]), 0);
        assert!(rank["first_iteration"].is_null());
    }
    // And what was cancelled does not open later: the next one is as exact as ever.
    let started = sidecar.start_profile(r#"{"max_iterations": 3}"#);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(number(&capture["ranks"][0]["iterations"]), 3);
    assert_even(&sidecar, &capture);
}

#[test]
fn stop_on_an_idle_engine_closes_at_the_last_iteration_begun() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0", "--step-us", "200"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    engine.make(7);
    sidecar.begun(7);
    sidecar.stop_profile();
    let capture = sidecar.finished(id);
    assert_eq!(capture["closed_by"], "stop", "{capture:#}");
    assert_eq!(capture["complete"], true, "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!((number(&rank["first_iteration"]), number(&rank["last_iteration"])), (1, 7));
        assert_eq!(rank["mid_iteration"], false);
    }
}

#[test]
fn a_start_right_behind_a_stop_waits_for_what_is_drained() {
    let (_place, _engine, sidecar) = running(2);
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..20 {
        // Never refused, whether the window has opened, closes, or is cancelled.
        let started = sidecar.start_profile("");
        ids.push(started["capture_id"].as_str().unwrap().to_owned());
        if ids.len().is_multiple_of(2) {
            sidecar.in_state(ids.last().unwrap(), "recording");
        }
        sidecar.stop_profile();
    }
    ids.dedup();
    assert_eq!(ids.len(), 20);
    for id in &ids {
        let capture = sidecar.finished(id);
        assert!(["done", "cancelled"].contains(&capture["state"].as_str().unwrap()), "{capture:#}");
        assert_ne!(capture["complete"], false, "{capture:#}");
    }
}

#[test]
fn stop_is_idempotent_and_starts_do_not_overlap() {
    let (_place, _engine, sidecar) = running(2);
    assert_eq!(sidecar.stop_profile()["state"], "idle");
    let first = sidecar.start_profile("");
    let id = first["capture_id"].as_str().unwrap();
    let second = sidecar.post("/start_profile", "");
    assert_eq!(second.status, 409, "{}", second.body);
    assert!(second.message().contains(id), "{}", second.body);
    sidecar.in_state(id, "recording");
    sidecar.stop_profile();
    sidecar.stop_profile();
    sidecar.finished(id);
    let again = sidecar.stop_profile();
    assert_eq!(again["state"], "idle", "{again:#}");
    assert_eq!(again["capture_id"], id);
    // After one that closed by itself.
    let third = sidecar.start_profile(r#"{"max_iterations": 2}"#);
    let id = third["capture_id"].as_str().unwrap();
    sidecar.finished(id);
    assert_eq!(sidecar.stop_profile()["state"], "idle");
    let fourth = sidecar.start_profile(r#"{"max_iterations": 2}"#);
    assert_eq!(sidecar.finished(fourth["capture_id"].as_str().unwrap())["state"], "done");
}

#[test]
fn a_start_after_a_refused_one_works() {
    let (_place, _engine, sidecar) = running(1);
    assert_eq!(sidecar.post("/start_profile", r#"{"start_iteration": 1}"#).status, 400);
    assert_eq!(sidecar.post("/start_profile", r#"{"job": "nobody"}"#).status, 400);
    assert_eq!(sidecar.post("/start_profile", r#"{"delay_iterations": "x"}"#).status, 400);
    let started = sidecar.start_profile(r#"{"max_iterations": 2}"#);
    assert_eq!(sidecar.finished(started["capture_id"].as_str().unwrap())["complete"], true);
}

#[test]
fn stop_can_wait_for_the_trace() {
    let (_place, _engine, sidecar) = running(2);
    let started = sidecar.start_profile("");
    sidecar.in_state(started["capture_id"].as_str().unwrap(), "recording");
    let stopped = sidecar.post("/stop_profile?wait=30", "").ok();
    assert_eq!(stopped["capture_id"], started["capture_id"]);
    assert_eq!(stopped["state"], "done", "{stopped:#}");
    let trace = sidecar.get("/stepscope/v1/captures/latest/trace?format=json").ok();
    assert!(!trace["traceEvents"].as_array().unwrap().is_empty());
}

#[test]
fn an_orderly_shutdown_ends_the_capture_and_says_so() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    assert!(sidecar.end().success());
    let next = Sidecar::start(&place, &[]);
    let capture = next.capture(&id);
    assert_eq!((&capture["state"], &capture["closed_by"]), (&"done".into(), &"shutdown".into()), "{capture:#}");
    assert_eq!(capture["complete"], false);
    assert_even(&next, &capture);
    eventually("the ranks to be attached again", || (!next.attached(2).is_empty()).then_some(()));
}

#[test]
fn a_stop_lets_a_slow_iteration_end_instead_of_cutting_one_off() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "1200000"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "recording");
    sidecar.begun(4);
    sidecar.stop_profile();
    let capture = sidecar.finished(id);
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(capture["ranks"][0]["last_iteration"], capture["ranks"][1]["last_iteration"]);
    assert!(number(&capture["ranks"][0]["iterations"]) > 0);
}
