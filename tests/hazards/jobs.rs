//! Which job a process is of that was told none: real processes that start each other.

use super::support::{Commanded, agent_library, commanded_program};
use crate::support::Place;

/// What a program that `engine` starts by way of a shell says its job is; `before` stands in front of its command line.
fn job_of_a_child(engine: &mut Commanded, place: &Place, before: &str) -> String {
    let out = place.path().join("said");
    let (program, library) = (commanded_program().display(), agent_library().display());
    let run = format!("vfork printf 'join 1\\ndescribe\\n' | {before} {program} {library} >{}", out.display());
    assert_eq!(engine.ask(&run), "0");
    let said = std::fs::read_to_string(out).unwrap();
    let (code, description) = said.split_once('\n').unwrap();
    assert_eq!(code, "0", "{said}");
    let description: serde_json::Value = serde_json::from_str(description).unwrap();
    description["job"].as_str().unwrap().to_owned()
}

#[test]
fn what_an_engine_starts_is_of_its_job_and_its_environment_stays_as_it_was() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    let job = engine.describe()["job"].as_str().unwrap().to_owned();
    assert!(job.starts_with("job-"), "{job}");
    assert_eq!(job_of_a_child(&mut engine, &place, ""), job);
    assert_eq!(engine.ask("vfork test -z \"$STEPSCOPE_JOB\""), "0", "the environment is the engine's own");
    // A shell in between is an ancestor that has not joined.
    assert_eq!(job_of_a_child(&mut engine, &place, "sh -c '\"$@\"; true' sh"), job);
}

#[test]
fn a_job_that_was_given_is_the_job() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    assert_eq!(job_of_a_child(&mut engine, &place, "env STEPSCOPE_JOB=mine"), "mine");
    // Empty is as if it were not there.
    let job = engine.describe()["job"].as_str().unwrap().to_owned();
    assert_eq!(job_of_a_child(&mut engine, &place, "env STEPSCOPE_JOB="), job);
}

#[test]
fn engines_that_are_started_apart_are_jobs_of_their_own() {
    let place = Place::new();
    let mut engines = [Commanded::start(&place.segments()), Commanded::start(&place.segments())];
    let jobs = engines.each_mut().map(|engine| {
        assert_eq!(engine.ask("join 0"), "0");
        engine.describe()["job"].as_str().unwrap().to_owned()
    });
    assert_ne!(jobs[0], jobs[1]);
    // One that has not joined itself hands nothing on.
    let mut launcher = Commanded::start(&place.segments());
    let child = job_of_a_child(&mut launcher, &place, "");
    assert!(!jobs.contains(&child), "{child}");
}
