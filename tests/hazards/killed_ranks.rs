//! Ranks of one group are killed one after the other.

use super::support::{numbers, promised, rank_of};
use crate::support::engine::signal;
use crate::support::{Engine, Place, Sidecar, eventually, number};

#[test]
fn each_is_named_with_its_records_up_to_the_kill() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&place.segments(), &["--ranks", "3", "--iterations", "0", "--step-us", "500"]);
    let ranks = sidecar.attached(3);
    let pid = |rank: u64| number(&ranks.iter().find(|r| number(&r["rank"]) == rank).unwrap()["pid"]) as u32;
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    let records = |rank: u64| number(&rank_of(&sidecar.capture(&id), rank)["records"]);
    let grows = |rank: u64| {
        let before = records(rank);
        eventually("more records", || (records(rank) > before + 20).then_some(()));
    };
    grows(0);
    for victim in [0, 1] {
        signal(pid(victim), "KILL");
        let seen = eventually("the death to be seen", || {
            let report = rank_of(&sidecar.capture(&id), victim);
            (report["closed_by"] == "died").then_some(report)
        });
        assert_eq!(seen["state"], "lost");
        sidecar.in_state(&id, "recording");
        grows(2);
    }
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    let (ledger, missing) = (sidecar.ledger(&id), capture["missing"].to_string());
    for rank in 0..3 {
        let report = rank_of(&capture, rank);
        assert!(number(&report["iterations"]) > 20, "{capture:#}");
        assert_eq!(numbers(&ledger, rank), promised(&report), "rank {rank}: whole up to its end");
        let named = missing.contains(&format!("rank {rank} of group 0"));
        assert_eq!(named && missing.contains("its process died"), rank < 2, "{missing}");
    }
    let last = |rank: u64| *promised(&rank_of(&capture, rank)).last().unwrap();
    assert!(last(0) < last(1) && last(1) < last(2), "{capture:#}");
    assert_eq!(rank_of(&capture, 2)["closed_by"], "stop");
}

#[test]
fn when_the_last_one_dies_the_capture_ends_by_itself() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "500"]);
    let ranks = sidecar.attached(2);
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    eventually("records", || (number(&sidecar.capture(&id)["records"]) > 50).then_some(()));
    for rank in &ranks {
        signal(number(&rank["pid"]) as u32, "KILL");
    }
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["closed_by"]), (&"done".into(), &"died".into()), "{capture:#}");
    let ledger = sidecar.ledger(&id);
    for rank in 0..2 {
        assert_eq!(numbers(&ledger, rank), promised(&rank_of(&capture, rank)));
    }
    sidecar.attached(0);
}
