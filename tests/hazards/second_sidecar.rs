//! Two sidecars on one folder: the first one has the engines, the second one says so.

use super::support::{captures_whole, refusal, segments_in};
use crate::support::{Engine, Place, Sidecar, eventually};

#[test]
fn the_second_says_attached_elsewhere_and_takes_over_when_the_first_ends() {
    let (place, other) = (Place::new(), Place::new());
    let first = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "500"]);
    first.attached(2);
    let second = Sidecar::start_on(&place.segments(), &other.data(), &[]);
    for file in segments_in(&place.segments()) {
        let reason = eventually("the refusal", || refusal(&second, &file));
        assert!(reason.contains("attached elsewhere"), "{reason}");
    }
    let refused = second.post("/start_profile", "");
    assert_eq!(refused.status, 503);
    assert!(refused.message().contains("attached elsewhere"), "{}", refused.message());
    assert_eq!(second.attached(0).len(), 0);
    captures_whole(&first, 30);
    assert_eq!(first.attached(2).len(), 2);

    // It need not be started again.
    first.kill();
    second.attached(2);
    captures_whole(&second, 30);
}
