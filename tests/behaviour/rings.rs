//! A full ring: the engine goes on, drops are counted, and everybody says the same number.

use serde_json::Value;

use crate::support::{Engine, Place, Sidecar, number};

fn dropped_in_metrics(text: &str) -> u64 {
    let lines = text.lines().filter(|l| l.starts_with("stepscope_records_dropped_total"));
    lines.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

fn dropped_in_trace(trace: &Value) -> u64 {
    let counters = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "C");
    let mut last = std::collections::BTreeMap::new();
    for event in counters.filter(|e| e["name"].as_str().unwrap().contains("dropped")) {
        for (name, value) in event["args"].as_object().unwrap() {
            last.insert((event["name"].to_string(), name.clone()), value.as_f64().unwrap() as u64);
        }
    }
    last.values().sum()
}

#[test]
fn a_full_ring_drops_counts_and_never_stops_the_engine() {
    let place = Place::new();
    let small = [("STEPSCOPE_SEGMENT_BYTES", "131072")];
    let mut engine =
        Engine::start_with(&place.segments(), &["--paced", "--iterations", "0", "--step-us", "50"], &small);
    let sidecar = Sidecar::start(&place, &["--lease-ms", "60000"]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    engine.make(10);
    sidecar.in_state(id, "recording");
    sidecar.begun(10);
    sidecar.signal("STOP");
    engine.make(5000);
    // The engine makes them all although nobody fetches anything.
    let segments = place.segments();
    crate::support::eventually("5010 iterations", || {
        let paths: Vec<_> = std::fs::read_dir(&segments).unwrap().map(|e| e.unwrap().path()).collect();
        let ended = |path: &std::path::Path| {
            let bytes = std::fs::read(path).unwrap();
            let at = stepscope::wire::layout::STATUS_OFFSET as usize + 64;
            u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
        };
        paths.iter().all(|p| ended(p) == 5010).then_some(())
    });
    sidecar.signal("CONT");
    sidecar.stop_profile();
    let capture = sidecar.finished(id);
    let dropped = number(&capture["dropped"]);
    assert!(dropped > 5000, "{capture:#}");
    assert_eq!(capture["complete"], false);
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!(number(&rank["last_iteration"]), 5010);
        assert!(number(&rank["dropped"]) > 2500, "{capture:#}");
        // A thread's name is a record too.
        assert_eq!(number(&rank["records"]) + number(&rank["dropped"]), 5010 + 1, "{capture:#}");
    }
    let status = sidecar.get("/stepscope/v1/status").ok();
    let in_status: u64 = status["ranks"].as_array().unwrap().iter().map(|r| number(&r["dropped_total"])).sum();
    assert_eq!(in_status, dropped);
    assert_eq!(dropped_in_metrics(&sidecar.get("/metrics").body), dropped);
    let trace = sidecar.get("/stepscope/v1/captures/latest/trace?format=json").ok();
    assert_eq!(dropped_in_trace(&trace), dropped);
    assert!(trace.to_string().contains(&dropped.to_string()) || trace["metadata"].is_object());

    // The next capture has nothing of it.
    let next = sidecar.start_profile(r#"{"max_iterations": 20}"#)["capture_id"].as_str().unwrap().to_owned();
    engine.make(50);
    let capture = sidecar.finished(&next);
    assert_eq!((number(&capture["dropped"]), &capture["complete"]), (0, &true.into()), "{capture:#}");
    let trace = sidecar.get(&format!("/stepscope/v1/captures/{next}/trace?format=json")).ok();
    assert_eq!(dropped_in_trace(&trace), 0);
}
