//! An engine whose stepping threads come and go: more of them than a segment has rings.

use super::support::{Commanded, numbers, promised, rank_of};
use crate::support::{Place, Sidecar, eventually, number};

#[test]
fn a_thread_that_ends_gives_its_ring_back() {
    const THREADS: u64 = 40;
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    let started = sidecar.start_profile(&format!("{{\"max_iterations\": {}}}", 2 * THREADS));
    let (id, first) = (started["capture_id"].as_str().unwrap(), number(&started["groups"][0]["first_iteration"]));
    assert_eq!(engine.ask(&format!("step {}", first - 1)), "stepped");
    for thread in 1..=THREADS {
        assert_eq!(engine.ask("thread 2"), "stepped");
        // A ring is free again once it is drained.
        eventually("the thread's records", || (number(&sidecar.capture(id)["records"]) >= 2 * thread).then_some(()));
    }
    let capture = sidecar.finished(id);
    assert_eq!((&capture["complete"], &capture["dropped"]), (&true.into(), &0.into()), "{capture:#}");
    let report = rank_of(&capture, 0);
    assert_eq!(number(&report["iterations"]), 2 * THREADS);
    assert_eq!(numbers(&sidecar.ledger(id), 0), promised(&report));
}
