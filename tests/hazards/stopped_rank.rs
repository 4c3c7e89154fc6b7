//! One rank's process stands still while its window is to close.

use super::support::{captures_whole, example_rank, in_bounds, numbers, promised, rank_of};
use crate::support::engine::signal;
use crate::support::{Place, Sidecar, eventually, number};

#[test]
fn a_stop_is_answered_and_ends_the_capture_without_the_rank_that_stands_still() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let engines: Vec<_> = (0..3).map(|rank| example_rank(&place.segments(), "still", rank, 3)).collect();
    sidecar.attached(3);
    sidecar.begun(5);
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    eventually("three open windows", || {
        let capture = sidecar.capture(&id);
        capture["ranks"].as_array().unwrap().iter().all(|r| r["state"] == "open").then_some(())
    });
    signal(engines[1].0.id(), "STOP");

    let answer = in_bounds("the stop", || sidecar.stop_profile());
    assert_eq!(answer["capture_id"], id.as_str());
    let capture = in_bounds("the end of the capture", || sidecar.finished(&id));
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!((&capture["complete"], &capture["closed_by"]), (&false.into(), &"stop".into()), "{capture:#}");
    let still = rank_of(&capture, 1);
    assert_eq!((&still["state"], &still["closed_by"]), (&"lost".into(), &"lost".into()), "{capture:#}");
    let missing = capture["missing"].to_string();
    assert!(missing.contains("rank 1 of group 0 of job still: it did not answer"), "{missing}");
    let ledger = sidecar.ledger(&id);
    for rank in [0, 2] {
        let report = rank_of(&capture, rank);
        assert_eq!((&report["state"], &report["closed_by"]), (&"closed".into(), &"stop".into()), "{capture:#}");
        assert_eq!(report["mid_iteration"], false);
        assert!(number(&report["iterations"]) > 0);
        assert_eq!(numbers(&ledger, rank), promised(&report));
    }
    assert_eq!(promised(&rank_of(&capture, 0)), promised(&rank_of(&capture, 2)), "closed at the same iteration");
    assert_eq!(numbers(&ledger, 1), promised(&still), "and what the other had recorded is there");

    // When it goes on it finds its window gone, and takes part in the next one.
    signal(engines[1].0.id(), "CONT");
    let before = number(&rank_of(&capture, 1)["iterations"]);
    assert!(before > 0);
    eventually("all three to be together again", || {
        let ranks = sidecar.attached(3);
        let begun = |rank: u64| number(&ranks.iter().find(|r| number(&r["rank"]) == rank).unwrap()["begun"]);
        (begun(1) > before + 5).then_some(())
    });
    captures_whole(&sidecar, 20);
}
