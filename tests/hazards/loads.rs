//! The agent loaded more than once, by different paths, and steps claimed by more than one.

use std::process::Command;

use super::support::{
    Commanded, agent_library, captures_whole, commanded_program, numbers, promised, rank_of, segments_in,
};
use crate::support::{Place, Sidecar, number};

#[test]
fn a_second_copy_by_another_path_is_the_same_agent() {
    let place = Place::new();
    let copy = place.path().join("another-name.so");
    std::fs::copy(agent_library(), &copy).unwrap();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");

    // By the header's rule nobody even looks at the path. Who opens the copy all the same gets a library of its own from
    // the C library, which goes by the file, and the first one's table from that.
    assert_eq!(engine.ask("rule /nowhere/at/all.so"), "same");
    assert_eq!(engine.ask(&format!("rule {}", copy.display())), "same");
    let maps = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps(engine.pid()).contains("another-name.so"));
    assert_eq!(engine.ask(&format!("load {}", copy.display())), "same");
    assert!(maps(engine.pid()).contains("another-name.so"), "it was loaded, and is not what was asked");

    assert_eq!(engine.ask("join 3"), "1", "joined already: the first identity stays");
    assert_eq!(number(&engine.describe()["rank"]), 0);
    assert_eq!(segments_in(&place.segments()).len(), 1);
    sidecar.attached(1);
    assert_eq!(engine.ask("run 500"), "running");
    sidecar.begun(5);
    captures_whole(&sidecar, 20);
}

#[test]
fn the_first_to_claim_the_steps_keeps_them_and_the_other_is_named() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert!(engine.describe()["step_source"].is_null());
    assert_eq!(engine.ask("claim python plugin"), "1");
    assert_eq!(engine.ask("join 0"), "0");
    assert_eq!(engine.ask("claim nvtx injection"), "0");
    assert_eq!(engine.ask("claim python plugin"), "1", "the same name again");
    assert_eq!(engine.ask("claim nvtx injection"), "0", "and the loser stays one");
    let agent = engine.describe();
    assert_eq!(agent["step_source"], "python plugin");
    assert_eq!(agent["rejected_sources"], serde_json::json!(["nvtx injection"]), "named once: {agent}");
}

#[test]
fn an_agent_that_is_switched_off_says_so_and_leaves_nothing() {
    let place = Place::new();
    let mut command = Command::new(commanded_program());
    command.arg(agent_library()).env("STEPSCOPE_AGENT", "off");
    let mut engine = Commanded::spawn(command, &place.segments());
    assert_eq!(engine.ask("join 0"), "-1");
    assert!(engine.ask("reason").contains("STEPSCOPE_AGENT=off"));
    assert_eq!(engine.ask("step 100"), "stepped");
    assert_eq!(engine.describe()["joined"], false);
    assert!(segments_in(&place.segments()).is_empty());
}

#[test]
fn an_iteration_that_was_begun_and_not_ended_is_ended_by_the_next() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    let started = sidecar.start_profile("{\"max_iterations\": 3}");
    let id = started["capture_id"].as_str().unwrap().to_owned();
    let first = number(&started["groups"][0]["first_iteration"]);
    for iteration in 1..first + 3 {
        let inside = if iteration < first { 0 } else { iteration };
        assert_eq!(engine.ask("begin"), inside.to_string());
    }
    assert_eq!(engine.ask("end"), "ended");
    let capture = sidecar.finished(&id);
    assert_eq!(capture["complete"], true, "{capture:#}");
    let report = rank_of(&capture, 0);
    assert_eq!(promised(&report), [first, first + 1, first + 2]);
    assert_eq!(numbers(&sidecar.ledger(&id), 0), promised(&report));
}

#[test]
fn an_engine_that_is_shut_down_and_made_anew_in_one_process_is_still_found() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    assert_eq!(engine.ask("step 3"), "stepped");
    // Nobody is attached, nothing is left to be read: still the process may go on.
    assert_eq!(engine.ask("leave"), "left");
    assert_eq!(engine.ask("join 0"), "1");
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(1);
    assert_eq!(engine.ask("run 500"), "running");
    captures_whole(&sidecar, 4);
    assert_eq!(engine.ask("halt"), "halted");
    // An orderly end takes the file along, unless a sidecar reads it.
    drop(sidecar);
    engine.order("exit 0");
    assert!(engine.ended().success());
    assert_eq!(segments_in(&place.segments()).len(), 0);
}
