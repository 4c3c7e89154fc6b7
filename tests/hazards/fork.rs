//! An engine that forks after it has joined, with its window open, while another thread steps.

use super::support::{Commanded, numbers, promised, rank_of};
use crate::support::{Place, Sidecar, eventually, number};

const FORKS: u64 = 100;

/// Forks within an open window; returns the finished capture's number of steps that the parent made in all.
fn forks_within_the_window(how: &str) {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    assert_eq!(engine.ask("run 500"), "running");
    sidecar.begun(10);
    let job = engine.describe()["job"].as_str().unwrap().to_owned();
    let body = format!("{{\"max_iterations\": 0, \"job\": {job:?}}}");
    let id = sidecar.start_profile(&body)["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");

    assert_eq!(engine.ask(&format!("forks {FORKS} {how}")), format!("forked {FORKS} good {FORKS}"));

    // Still open, and still growing: no child closed it.
    let during = number(&sidecar.in_state(&id, "recording")["records"]);
    eventually("the window to go on", || (number(&sidecar.capture(&id)["records"]) > during).then_some(()));
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(capture["closed_by"], "stop");
    assert_eq!(capture["ranks"].as_array().unwrap().len(), 1, "{capture:#}");
    let report = rank_of(&capture, 0);
    assert_eq!(number(&report["pid"]), u64::from(engine.pid()));
    // The numbers without a hole or a double: a child that wrote into its parent's ring would leave both.
    assert_eq!(numbers(&sidecar.ledger(&id), 0), promised(&report));
    // What the parent counted is what its own program counted.
    assert_eq!(engine.ask("halt"), "halted");
    let begun: u64 = engine.ask("begun").parse().unwrap();
    eventually("the parent's own count", || (number(&sidecar.attached(1)[0]["begun"]) == begun).then_some(()));
    let segment = engine.describe()["segment"].as_str().unwrap().to_owned();
    assert_eq!(sidecar.attached(1)[0]["segment"], segment);
}

#[test]
fn children_that_never_step_leave_no_trace() {
    forks_within_the_window("idle");
}

#[test]
fn children_that_step_get_a_segment_and_a_group_of_their_own() {
    forks_within_the_window("steps");
}

#[test]
fn a_forked_child_is_captured_as_an_engine_of_its_own() {
    // The child is the shell's subprocess of nobody: it forks, steps on, and is sliced by its own numbers.
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    assert_eq!(engine.ask("step 25"), "stepped");
    assert_eq!(engine.ask("become child"), "child");
    assert_eq!(engine.ask("step 7"), "stepped");
    let ranks = sidecar.attached(2);
    let child = ranks.iter().find(|r| r["group"] != "0").unwrap();
    assert_eq!(child["group"], format!("0.fork{}", number(&child["pid"])));
    assert_ne!(number(&child["pid"]), u64::from(engine.pid()));
    assert_eq!((number(&child["begun"]), number(&child["ended"])), (7, 7));
    let parent = ranks.iter().find(|r| r["group"] == "0").unwrap();
    assert_eq!((number(&parent["begun"]), number(&parent["ended"])), (25, 25));

    let started = sidecar.start_profile("{\"max_iterations\": 4}");
    let id = started["capture_id"].as_str().unwrap().to_owned();
    let mut groups = started["groups"].as_array().unwrap().iter();
    let first = number(&groups.find(|g| g["group"] != "0").unwrap()["first_iteration"]);
    assert!(first > 7, "{started:#}");
    assert_eq!(engine.ask("step 10"), "stepped");
    // The parent's group never steps: its window is called off, the child's is exact.
    eventually("the child's window", || {
        let capture = sidecar.capture(&id);
        let mut ranks = capture["ranks"].as_array().unwrap().iter();
        ranks.any(|r| r["group"] != "0" && r["state"] == "closed").then_some(())
    });
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    let of = |own: bool| {
        let mut ranks = capture["ranks"].as_array().unwrap().iter();
        ranks.find(|r| (r["group"] == "0") == own).unwrap().clone()
    };
    assert_eq!(promised(&of(false)), (first..first + 4).collect::<Vec<_>>());
    assert_eq!(of(true)["state"], "cancelled");
    assert_eq!(number(&of(true)["iterations"]), 0);
}
