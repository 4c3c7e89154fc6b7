//! A /dev/shm that is too small for a segment: the agent stays off and says why, the engine never notices.

use std::process::Command;

use super::support::{
    Commanded, agent_library, can_mount, commanded_program, on_a_tmpfs, seen_by, segments_in, skipped,
};
use crate::support::Place;

/// An engine whose segments have a tmpfs of one MiB.
fn engine(place: &Place) -> Command {
    let mut command = on_a_tmpfs(&place.segments(), "1m", commanded_program());
    command.arg(agent_library());
    command
}

#[test]
fn no_room_for_a_segment_switches_the_agent_off_and_leaves_nothing_behind() {
    if let Err(reason) = can_mount() {
        return skipped("/dev/shm too small", &reason);
    }
    let place = Place::new();
    let mut engine = Commanded::spawn(engine(&place), &place.segments());
    assert_eq!(engine.ask("join 0"), "-2");
    let reason = engine.ask("reason");
    assert!(reason.contains("no room for a segment of 8388608 bytes"), "{reason}");
    assert!(reason.contains("STEPSCOPE_SEGMENT_BYTES") && reason.contains("--shm-size"), "what mends it: {reason}");
    assert_eq!(engine.ask("step 1000"), "stepped");
    assert_eq!(engine.describe()["joined"], false);
    // Seen through the engine's own mount: not even a hidden file.
    let inside = seen_by(engine.pid(), &place.segments());
    let left: Vec<_> = std::fs::read_dir(&inside).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(segments_in(&place.segments()).is_empty(), "and nothing outside of it");
    // It can be had smaller: the same process joins once there is room.
    engine.order("exit 0");
    assert!(engine.ended().success());
}

#[test]
fn a_smaller_segment_fits() {
    if let Err(reason) = can_mount() {
        return skipped("/dev/shm too small", &reason);
    }
    let place = Place::new();
    let mut command = engine(&place);
    command.env("STEPSCOPE_SEGMENT_BYTES", "262144");
    let mut engine = Commanded::spawn(command, &place.segments());
    assert_eq!(engine.ask("join 0"), "0", "{}", engine.ask("reason"));
    assert_eq!(engine.ask("step 1000"), "stepped");
    let inside = seen_by(engine.pid(), &place.segments());
    let segments = segments_in(&inside);
    assert_eq!(segments.len(), 1);
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(&segments[0]).unwrap();
    assert_eq!(meta.len(), 262_144);
    assert_eq!(meta.blocks() * 512, 262_144, "reserved whole: a sparse file would end the engine when the tmpfs fills");
}
