//! The window is exact: D skipped, M captured, the same numbers on every rank.

use serde_json::{Value, json};

use crate::support::{Engine, Place, Sidecar, number};

/// Checks that a finished capture holds exactly these iterations on every rank, in manifest and ledger.
fn assert_exact(sidecar: &Sidecar, capture: &Value, ranks: u64, delay: u64, max: u64) {
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(capture["closed_by"], "max_iterations");
    let reports = capture["ranks"].as_array().unwrap();
    assert_eq!(reports.len() as u64, ranks);
    let first = number(&reports[0]["first_iteration"]);
    for report in reports {
        assert_eq!(number(&report["first_iteration"]), first);
        assert_eq!(number(&report["accepted_iteration"]) + delay, first);
        assert_eq!(number(&report["last_iteration"]), first + max - 1);
        assert_eq!(number(&report["iterations"]), max);
        assert_eq!(number(&report["dropped"]), 0);
    }
    let ledger = sidecar.ledger(capture["capture_id"].as_str().unwrap());
    for rank in 0..ranks {
        let numbers: Vec<u64> =
            ledger.iter().filter(|row| number(&row["rank"]) == rank).map(|row| number(&row["iteration"])).collect();
        assert_eq!(numbers, (first..first + max).collect::<Vec<_>>(), "rank {rank}");
    }
}

#[test]
fn every_delay_and_length_is_exact_on_every_rank_of_a_running_engine() {
    for (ranks, step_us) in [(1, "500"), (2, "500"), (8, "2000")] {
        let place = Place::new();
        let _engine = Engine::start(
            &place.segments(),
            &["--ranks", &ranks.to_string(), "--iterations", "0", "--step-us", step_us],
        );
        let sidecar = Sidecar::start(&place, &[]);
        sidecar.attached(ranks as usize);
        for delay in [0, 1, 7, 50] {
            for max in [1, 4, 100] {
                let body = json!({"delay_iterations": delay, "max_iterations": max}).to_string();
                let started = sidecar.start_profile(&body);
                let id = started["capture_id"].as_str().unwrap();
                assert_exact(&sidecar, &sidecar.finished(id), ranks, delay, max);
            }
        }
    }
}

#[test]
fn on_an_idle_engine_the_first_one_is_the_next_but_delay() {
    for ranks in [1, 2, 8] {
        let place = Place::new();
        let mut engine = Engine::start(
            &place.segments(),
            &["--ranks", &ranks.to_string(), "--paced", "--iterations", "0", "--step-us", "100"],
        );
        let sidecar = Sidecar::start(&place, &[]);
        sidecar.attached(ranks as usize);
        let mut made = 0;
        for delay in [0, 1, 7, 50] {
            for max in [1, 4, 100] {
                // Idle for longer than the engine counts as running.
                std::thread::sleep(std::time::Duration::from_millis(80));
                let body = json!({"delay_iterations": delay, "max_iterations": max}).to_string();
                let started = sidecar.start_profile(&body);
                let id = started["capture_id"].as_str().unwrap();
                assert_eq!(number(&started["ranks"][0]["accepted_iteration"]), made + 1);
                // Exactly as many as it takes: it closes at the end of the last one, and needs no further step.
                engine.make(delay + max);
                let capture = sidecar.finished(id);
                assert_exact(&sidecar, &capture, ranks, delay, max);
                assert_eq!(number(&capture["ranks"][0]["first_iteration"]), made + delay + 1);
                made += delay + max;
            }
        }
        engine.end();
    }
}

#[test]
fn a_first_iteration_by_number_is_met_and_one_in_the_past_refused() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0", "--step-us", "100"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    engine.make(10);
    sidecar.begun(10);
    std::thread::sleep(std::time::Duration::from_millis(80));
    let refused = sidecar.post("/start_profile", r#"{"start_iteration": 5, "max_iterations": 1}"#);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.message().contains("can start at 11"), "{}", refused.body);
    let started = sidecar.start_profile(r#"{"start_iteration": 15, "max_iterations": 2}"#);
    engine.make(6);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!((number(&rank["first_iteration"]), number(&rank["last_iteration"])), (15, 16));
    }
    // SGLang's start_step in the past means the next one.
    std::thread::sleep(std::time::Duration::from_millis(80));
    let started = sidecar.start_profile(r#"{"start_step": "3", "num_steps": "2"}"#);
    engine.make(2);
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(number(&capture["ranks"][0]["first_iteration"]), 17);
}

#[test]
fn the_ledger_says_what_the_engine_scheduled() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0", "--step-us", "100"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 200}"#);
    engine.make(200);
    let id = started["capture_id"].as_str().unwrap().to_owned();
    sidecar.finished(&id);
    let mut batching = stepscope::simulator::batching::Batching::new(0);
    let mut expected: Vec<[u64; 5]> = Vec::new();
    for iteration in 1..=200 {
        let b = batching.schedule().batch;
        let counts = [b.context_requests, b.context_tokens, b.generation_requests, b.generation_tokens].map(u64::from);
        expected.push([iteration, counts[0], counts[1], counts[2], counts[3]]);
    }
    let ledger = sidecar.ledger(&id);
    for rank in 0..2 {
        let names = ["iteration", "context_requests", "context_tokens", "generation_requests", "generation_tokens"];
        let rows = ledger.iter().filter(|row| number(&row["rank"]) == rank);
        let found: Vec<[u64; 5]> = rows.map(|row| names.map(|name| number(&row[name]))).collect();
        assert_eq!(found, expected);
    }
    for row in &ledger {
        assert!(number(&row["duration_ns"]) >= 100_000, "{row}");
        assert!(row["device_ns"].is_null());
        assert!(row["interval_ns"].is_null() || number(&row["interval_ns"]) >= number(&row["duration_ns"]), "{row}");
    }
}
