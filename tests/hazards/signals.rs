//! The engine's signals and its end stay its own.

use super::support::{Commanded, in_bounds, numbers, promised, rank_of};
use crate::support::engine::signal;
use crate::support::{Place, Sidecar, number};

/// `SigBlk` of the thread of this name.
fn blocked_in(pid: u32, thread: &str) -> Option<u64> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
        if field("Name:") == Some(thread) {
            return u64::from_str_radix(field("SigBlk:")?, 16).ok();
        }
    }
    None
}

#[test]
fn the_helper_thread_takes_no_signal_of_the_engine() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    let blocked = crate::support::eventually("the helper thread", || blocked_in(engine.pid(), "stepscope"));
    // Every signal that can be blocked; 32 and 33 are the C library's own, KILL and STOP nobody's.
    for number in (1..=64).filter(|n| ![9, 19, 32, 33].contains(n)) {
        assert!(blocked & 1 << (number - 1) != 0, "signal {number} is not blocked: {blocked:x}");
    }
    let own = blocked_in(engine.pid(), "commanded").unwrap();
    assert_eq!(own, 0, "the engine's own mask is as it was");
}

/// Opens a window without end, makes five iterations, and has the engine end while it is open.
fn ends_in_the_window(end: impl FnOnce(&mut Commanded), closed_by: &str, missing: &str) {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    let started = sidecar.start_profile("{\"max_iterations\": 0}");
    let (id, first) = (started["capture_id"].as_str().unwrap(), number(&started["groups"][0]["first_iteration"]));
    assert_eq!(engine.ask(&format!("step {}", first + 4)), "stepped");
    sidecar.in_state(id, "recording");
    end(&mut engine);
    in_bounds("the engine's end", || engine.ended());
    let capture = sidecar.finished(id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["closed_by"], closed_by, "{capture:#}");
    assert_eq!(capture["complete"], false);
    assert!(capture["missing"].to_string().contains(missing), "{capture:#}");
    let report = rank_of(&capture, 0);
    assert_eq!(promised(&report), (first..first + 5).collect::<Vec<_>>());
    assert_eq!(numbers(&sidecar.ledger(id), 0), promised(&report));
}

#[test]
fn exit_inside_the_window_closes_it_in_order() {
    ends_in_the_window(|engine| engine.order("exit 0"), "exit", "the engine exited inside the window");
}

#[test]
fn exit_while_another_thread_steps_closes_it_in_order() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    assert_eq!(engine.ask("run 200"), "running");
    sidecar.begun(5);
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    engine.order("exit 0");
    assert!(in_bounds("the engine's end", || engine.ended()).success());
    let capture = sidecar.finished(&id);
    assert_eq!(capture["closed_by"], "exit", "{capture:#}");
    let report = rank_of(&capture, 0);
    assert_eq!(numbers(&sidecar.ledger(&id), 0), promised(&report));
}

#[test]
fn a_signal_ends_the_engine_as_it_would_without_us() {
    ends_in_the_window(|engine| signal(engine.pid(), "TERM"), "died", "its process died");
}
