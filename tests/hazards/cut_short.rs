//! A segment's file is cut short while the sidecar has it mapped.

use super::support::{captures_whole, example_rank, numbers, promised, rank_of, refusal};
use crate::support::engine::signal;
use crate::support::{Engine, Place, Sidecar, eventually, number};

#[test]
fn that_rank_is_lost_and_named_and_the_others_are_delivered() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let engines: Vec<_> = (0..2).map(|rank| example_rank(&place.segments(), "cut", rank, 2)).collect();
    let ranks = sidecar.attached(2);
    let of = |rank: u64| ranks.iter().find(|r| number(&r["rank"]) == rank).unwrap();
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");

    // Held still, so that it lives on: whoever cuts a live engine's memory short ends that engine.
    let victim = engines[0].0.id();
    signal(victim, "STOP");
    let file = std::path::PathBuf::from(of(0)["segment"].as_str().unwrap());
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(4096).unwrap();

    let reason = eventually("the refusal in status", || refusal(&sidecar, &file));
    assert!(reason.contains("cut short"), "{reason}");
    let status = sidecar.get("/stepscope/v1/status").ok();
    assert_eq!(status["ranks"].as_array().unwrap().len(), 1, "{status:#}");

    let before = number(&rank_of(&sidecar.capture(&id), 1)["records"]);
    eventually("the other rank to go on", || {
        (number(&rank_of(&sidecar.capture(&id), 1)["records"]) > before).then_some(())
    });
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], false);
    assert_eq!(rank_of(&capture, 0)["closed_by"], "lost");
    let missing = capture["missing"].to_string();
    assert!(missing.contains("rank 0 of group 0 of job cut") && missing.contains("memory is gone"), "{missing}");
    assert!(!missing.contains("rank 1 of group"), "{missing}");
    let whole = rank_of(&capture, 1);
    assert_eq!(whole["state"], "closed");
    assert!(number(&whole["iterations"]) > 0);
    assert_eq!(numbers(&sidecar.ledger(&id), 1), promised(&whole));

    // The next capture takes the rank that is whole.
    let next = sidecar.start_profile("{\"max_iterations\": 10}")["capture_id"].as_str().unwrap().to_owned();
    let next = sidecar.finished(&next);
    assert_eq!(promised(&rank_of(&next, 1)).len(), 10);
}

#[test]
fn cut_to_nothing_while_idle() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _idle = Engine::start(&place.segments(), &["--ranks", "1", "--paced", "--iterations", "0", "--job", "idle"]);
    let file = std::path::PathBuf::from(sidecar.attached(1)[0]["segment"].as_str().unwrap());
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    let reason = eventually("the refusal in status", || refusal(&sidecar, &file));
    assert!(reason.contains("cut short"), "{reason}");
    let refused = sidecar.post("/start_profile", "{}");
    assert_eq!(refused.status, 503);
    assert!(refused.message().contains("cut short"), "{}", refused.message());
    // Another engine is found and captured as ever.
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "500"]);
    sidecar.attached(2);
    captures_whole(&sidecar, 20);
}
