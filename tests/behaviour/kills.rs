//! SIGKILL and SIGSTOP on either side.

use crate::support::engine::signal;
use crate::support::{Engine, Place, Sidecar, eventually, number};

/// Both agents close by themselves, which `doctor` sees without a sidecar.
fn lease_runs_out(place: &Place) {
    eventually("the lease to run out", || {
        let doctor = std::process::Command::new(crate::support::stepscope())
            .args(["doctor", "--json", "--url", "http://127.0.0.1:1", "--dir"])
            .arg(place.segments())
            .output()
            .unwrap();
        let text = String::from_utf8(doctor.stdout).unwrap();
        (text.matches("gate closed").count() >= 2 && !text.contains("gate open")).then_some(())
    });
}

#[test]
fn a_killed_sidecar_leaves_no_window_open_and_the_next_one_finishes_the_capture() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "1000"]);
    let sidecar = Sidecar::start(&place, &["--lease-ms", "1000"]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    sidecar.begun(200);
    sidecar.kill();
    lease_runs_out(&place);
    let next = Sidecar::start(&place, &[]);
    let capture = next.finished(&id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], false);
    assert_eq!(capture["closed_by"], "sidecar_died");
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!(rank["closed_by"], "lease", "{capture:#}");
        assert!(number(&rank["iterations"]) > 100, "{capture:#}");
    }
    // What the rings held when it died is there, once.
    let ledger = next.ledger(&id);
    for rank in 0..2u64 {
        let numbers: Vec<u64> =
            ledger.iter().filter(|r| number(&r["rank"]) == rank).map(|r| number(&r["iteration"])).collect();
        let expected: Vec<u64> = (numbers[0]..numbers[0] + numbers.len() as u64).collect();
        assert_eq!(numbers, expected);
    }
    let started = next.start_profile(r#"{"max_iterations": 3}"#);
    assert_eq!(next.finished(started["capture_id"].as_str().unwrap())["complete"], true);
}

#[test]
fn a_killed_rank_ends_where_its_records_end_and_the_others_go_on() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "1000", "--ranks", "3"]);
    let sidecar = Sidecar::start(&place, &[]);
    let ranks = sidecar.attached(3);
    let victim = number(&ranks.iter().find(|r| r["rank"] == 2).unwrap()["pid"]) as u32;
    let started = sidecar.start_profile(r#"{"max_iterations": 600}"#);
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "recording");
    signal(victim, "KILL");
    let capture = sidecar.finished(id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], false);
    assert!(capture["missing"].to_string().contains("rank 2"), "{capture:#}");
    let ledger = sidecar.ledger(id);
    for report in capture["ranks"].as_array().unwrap() {
        let rank = number(&report["rank"]);
        let rows = ledger.iter().filter(|r| number(&r["rank"]) == rank).count() as u64;
        assert_eq!(rows, number(&report["iterations"]), "rank {rank}");
        if rank == 2 {
            assert_eq!(report["closed_by"], "died");
            assert!((1..600).contains(&rows));
        } else {
            assert_eq!(rows, 600);
        }
    }
}

#[test]
fn a_sidecar_stopped_beyond_the_lease_accepts_what_happened() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "2000"]);
    let sidecar = Sidecar::start(&place, &["--lease-ms", "1000"]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "recording");
    sidecar.signal("STOP");
    lease_runs_out(&place);
    sidecar.signal("CONT");
    let capture = sidecar.finished(id);
    assert_eq!((&capture["state"], &capture["closed_by"]), (&"done".into(), &"lease".into()), "{capture:#}");
    assert_eq!(capture["complete"], false);
    let started = sidecar.start_profile(r#"{"max_iterations": 3}"#);
    assert_eq!(sidecar.finished(started["capture_id"].as_str().unwrap())["complete"], true);
}

#[test]
fn a_capture_that_was_nearly_ended_keeps_its_records_although_the_gates_have_moved_on() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "1000"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 5}"#);
    let id = started["capture_id"].as_str().unwrap().to_owned();
    let first = number(&sidecar.finished(&id)["ranks"][0]["first_iteration"]);
    // The next window takes the gates over; the manifest of the first one then looks as if its sidecar had died early.
    let next = sidecar.start_profile(r#"{"max_iterations": 5}"#);
    sidecar.finished(next["capture_id"].as_str().unwrap());
    sidecar.kill();
    let path = place.data().join("captures").join(&id).join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["state"] = "draining".into();
    manifest["artifacts"] = serde_json::json!([]);
    std::fs::write(&path, manifest.to_string()).unwrap();

    let sidecar = Sidecar::start(&place, &[]);
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!((number(&rank["first_iteration"]), number(&rank["iterations"])), (first, 5), "{capture:#}");
    }
    assert_eq!(sidecar.ledger(&id).len(), 10);
}

#[test]
fn a_start_that_was_answered_is_finished_although_the_sidecar_died_before_the_first_record() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"delay_iterations": 3, "max_iterations": 5}"#);
    let id = started["capture_id"].as_str().unwrap().to_owned();
    sidecar.kill();
    assert!(!place.data().join("captures").join(&id).join("fragments").exists(), "not one fragment was made");
    engine.make(20);
    lease_runs_out(&place);
    let next = Sidecar::start(&place, &[]);
    let capture = next.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
    let ledger = next.ledger(&id);
    for rank in 0..2u64 {
        let rows = ledger.iter().filter(|r| number(&r["rank"]) == rank);
        let numbers: Vec<u64> = rows.map(|r| number(&r["iteration"])).collect();
        let first = number(&started["groups"][0]["first_iteration"]);
        assert_eq!(numbers, (first..first + 5).collect::<Vec<_>>());
    }
}
