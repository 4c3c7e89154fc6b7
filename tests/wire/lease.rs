//! An agent whose sidecar was killed at the worst moment: this test plays the sidecar, with the segment alone.

use std::sync::atomic::Ordering;

use stepscope::wire::clock::monotonic_ns;
use stepscope::wire::control::{Parameters, profiler};
use stepscope::wire::gate::{self, Cause, State};
use stepscope::wire::layout::NONE;
use stepscope::wire::segment::{Segment, Trust};

use crate::support::{Engine, Place, eventually};

/// The one segment of a place, attached, its helper thread asleep.
fn attach(place: &Place) -> Segment {
    let mut paths = std::fs::read_dir(place.segments()).unwrap().map(|e| e.unwrap().path());
    let segment = Segment::attach(&paths.next().unwrap(), Trust::Owner).unwrap();
    let pid = segment.header().pid;
    eventually("a sleeping helper thread", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|e| e.unwrap().path());
        // The main thread goes by the same name.
        let mut others = threads.filter(|t| !t.ends_with(pid.to_string()));
        let asleep = |stat: String| stat.contains("(stepscope) S");
        others.any(|t| std::fs::read_to_string(t.join("stat")).is_ok_and(asleep)).then_some(())
    });
    segment
}

/// Asks for an open-ended window from the first iteration on, and wakes nobody: the sidecar dies here.
fn arm(segment: &Segment, generation: u64, lease_ns: u64) {
    let control = segment.control();
    control.lease_deadline_ns.store(monotonic_ns() + lease_ns, Ordering::Release);
    control.publish(&Parameters {
        generation,
        armed: true,
        profiler: profiler::STEPS,
        first_iteration: 1,
        last_iteration: NONE,
        profiler_iteration: 1,
    });
}

fn in_state(segment: &Segment, wanted: State) {
    eventually(&format!("a gate that is {wanted:?}"), || {
        let (_, state) = gate::split(segment.status().gate.load(Ordering::Acquire)).unwrap();
        (state == wanted).then_some(())
    });
}

fn cause(segment: &Segment) -> Cause {
    Cause::from_word(segment.status().facts.cause.load(Ordering::Relaxed))
}

#[test]
fn a_window_whose_sidecar_died_before_it_woke_anybody_closes_by_its_lease_on_an_idle_engine() {
    let place = Place::new();
    let arguments = ["--paced", "--ranks", "1", "--iterations", "0", "--step-us", "100"];
    let mut engine = Engine::start(&place.segments(), &arguments);
    let segment = attach(&place);
    arm(&segment, 2, 1_000_000_000);
    engine.make(3);
    in_state(&segment, State::Closed);
    assert_eq!(cause(&segment), Cause::Lease);
    assert_eq!(segment.status().facts.last_iteration.load(Ordering::Relaxed), 3);
}

#[test]
fn the_lease_of_an_engine_without_gaps_ends_between_two_iterations() {
    let place = Place::new();
    let arguments = ["--paced", "--ranks", "1", "--iterations", "0", "--step-us", "20000"];
    let mut engine = Engine::start(&place.segments(), &arguments);
    let segment = attach(&place);
    arm(&segment, 2, 500_000_000);
    engine.make(10_000);
    in_state(&segment, State::Closed);
    assert_eq!(cause(&segment), Cause::Lease);
    assert_eq!(segment.status().facts.flags.load(Ordering::Relaxed), 0, "closed by the hook, nothing cut off");
}

#[test]
fn a_window_that_is_called_off_while_an_idle_engine_has_it_open_closes_without_a_step() {
    let place = Place::new();
    let arguments = ["--paced", "--ranks", "1", "--iterations", "0", "--step-us", "100"];
    let mut engine = Engine::start(&place.segments(), &arguments);
    let segment = attach(&place);
    arm(&segment, 2, 3_600_000_000_000);
    engine.make(3);
    eventually("three iterations", || (segment.status().ended.load(Ordering::Acquire) == 3).then_some(()));
    in_state(&segment, State::Open);
    segment.control().publish(&Parameters {
        generation: 4,
        armed: false,
        profiler: profiler::STEPS,
        first_iteration: 0,
        last_iteration: 0,
        profiler_iteration: 0,
    });
    segment.wake();
    in_state(&segment, State::Closed);
    assert_eq!(cause(&segment), Cause::Superseded);
}
