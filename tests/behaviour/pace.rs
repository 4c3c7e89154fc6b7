//! How fast ranks step before and behind a window, when nothing is recorded.

use serde_json::Value;

use crate::support::{Engine, Place, Sidecar, eventually, number};

fn captured(sidecar: &Sidecar, body: &str) -> Value {
    let id = sidecar.start_profile(body)["capture_id"].as_str().unwrap().to_owned();
    sidecar.finished(&id)
}

#[test]
fn iterations_are_counted_before_and_behind_the_window_and_the_report_holds_them_beside_those_within() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "1000"]);
    sidecar.attached(2);
    sidecar.begun(500);
    let capture = captured(&sidecar, r#"{"max_iterations": 100}"#);
    assert_eq!(capture["complete"], true, "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        let [before, after] = [&rank["pace_before"], &rank["pace_after"]];
        // It ran for as long as it takes to make so many.
        assert!(number(&before["iterations"]) > 100 && number(&after["iterations"]) > 1, "{rank:#}");
        for pace in [before, after] {
            // A step sleeps for a millisecond at least.
            assert!(number(&pace["mean_ns"]) + number(&pace["uncertainty_ns"]) >= 1_000_000, "{rank:#}");
        }
    }
    let id = capture["capture_id"].as_str().unwrap();
    let report = sidecar.get(&format!("/stepscope/v1/captures/{id}/report?format=json")).ok();
    let rows = report["overhead"]["paces"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, rank) in rows.iter().zip(capture["ranks"].as_array().unwrap()) {
        assert_eq!((&row["before"], &row["after"]), (&rank["pace_before"], &rank["pace_after"]));
        assert_eq!(row["within"]["iterations"], 99);
    }
    assert_eq!(report["overhead"]["not_known"], Value::Array(vec![]));
}

#[test]
fn of_an_engine_that_makes_no_iterations_nothing_is_said() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0"]);
    sidecar.attached(2);
    let id = sidecar.start_profile(r#"{"max_iterations": 3}"#)["capture_id"].as_str().unwrap().to_owned();
    engine.make(3);
    let capture = sidecar.finished(&id);
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!((&rank["pace_before"], &rank["pace_after"]), (&Value::Null, &Value::Null), "{rank:#}");
    }
    let report = sidecar.get(&format!("/stepscope/v1/captures/{id}/report?format=json")).ok();
    assert_eq!(report["overhead"]["paces"], Value::Array(vec![]));
    assert_eq!(report["overhead"]["not_known"].as_array().unwrap().len(), 2, "{}", report["overhead"]);
}

#[test]
fn a_start_does_not_wait_for_what_is_counted_behind_the_last_window() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    // It idles behind the first window, so that there is nothing to be counted.
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0"]);
    sidecar.attached(2);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let started = eventually("a start to be taken", || {
            let reply = sidecar.post("/start_profile", r#"{"max_iterations": 1}"#);
            assert!([200, 409].contains(&reply.status), "{}", reply.body);
            (reply.status == 200).then(|| reply.json())
        });
        ids.push(started["capture_id"].as_str().unwrap().to_owned());
        engine.make(1);
    }
    for id in ids {
        assert_eq!(sidecar.finished(&id)["complete"], true);
    }
    assert_eq!(sidecar.end().code(), Some(0), "nor does its end");
}
