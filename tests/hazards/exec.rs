//! An engine that becomes, or starts, another program after it has joined.

use super::support::{Commanded, captures_whole, segments_in};
use crate::support::{Place, Sidecar, eventually, number};

#[test]
fn exec_ends_the_engine_and_its_segment_is_let_go() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    let started = sidecar.start_profile("{\"max_iterations\": 100}");
    let (id, first) = (started["capture_id"].as_str().unwrap(), number(&started["groups"][0]["first_iteration"]));
    assert_eq!(engine.ask(&format!("step {}", first + 4)), "stepped");
    sidecar.in_state(id, "recording");

    // The new program lives under the same pid, with nothing of ours in it: no descriptor, no lock, no environment lost.
    let sees = format!("ls -l /proc/$$/fd | grep -c '{}'; read go", place.path().display());
    engine.order(&format!("exec {sees}"));
    assert_eq!(engine.answer(), "0");
    let capture = sidecar.finished(id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], false);
    assert_eq!(capture["closed_by"], "died", "{capture:#}");
    assert_eq!(number(&capture["ranks"][0]["iterations"]), 5);
    sidecar.attached(0);
    eventually("the segment to be removed", || segments_in(&place.segments()).is_empty().then_some(()));
}

#[test]
fn programs_started_by_vfork_leave_the_engine_as_it_was() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    assert_eq!(engine.ask("run 500"), "running");
    sidecar.begun(10);
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    for _ in 0..20 {
        let sees = format!("vfork test $(ls -l /proc/$$/fd | grep -c '{}') = 0 && exit 7", place.path().display());
        assert_eq!(engine.ask(&sees), "7");
    }
    // Closing what the child inherited must not have dropped the parent's lock: it would count as dead.
    sidecar.in_state(&id, "recording");
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["complete"], &capture["closed_by"]), (&true.into(), &"stop".into()), "{capture:#}");
    captures_whole(&sidecar, 50);
    assert_eq!(segments_in(&place.segments()).len(), 1);
}
