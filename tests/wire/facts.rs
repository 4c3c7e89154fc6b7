//! Facts that no agent of ours writes: the sidecar does its sums with whatever a status block says.

use std::os::unix::fs::FileExt;

use stepscope::wire::gate::{State, word};
use stepscope::wire::layout::STATUS_OFFSET;

use crate::support::{Engine, Place, Sidecar};

/// Offset of the gate; the facts follow.
const GATE: u64 = STATUS_OFFSET + 128;

#[test]
fn a_window_of_all_iterations_there_can_be_ends_the_capture_and_not_the_service() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile("");
    for entry in std::fs::read_dir(place.segments()).unwrap() {
        let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        // First and last iteration, overrun, cause, flags, dropped at open, running since, opened at.
        let facts = [0, u64::MAX, u64::MAX, 2, 0, 1, 0, 1, 1, 1];
        let bytes: Vec<u8> = facts.iter().flat_map(|w| w.to_ne_bytes()).collect();
        file.write_all_at(&bytes, GATE + 8).unwrap();
        file.write_all_at(&word(2, State::Closed).to_ne_bytes(), GATE).unwrap();
    }
    let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    assert_eq!(sidecar.attached(2).len(), 2);
}
