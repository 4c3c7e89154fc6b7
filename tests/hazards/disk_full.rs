//! The disk of the captures is full: a capture fails and says so, the service goes on.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::support::{Ended, beside, can_mount, captures_whole, on_a_tmpfs, seen_by, skipped};
use crate::support::{Engine, Place, Sidecar, eventually, stepscope};

/// A sidecar whose data folder is a tmpfs of one MiB; and that folder.
fn on_a_small_disk(place: &Place) -> (Sidecar, PathBuf) {
    let command = on_a_tmpfs(&place.data(), "1m", &stepscope());
    let sidecar = Sidecar::start_through(command, &place.segments(), &place.data(), &[]);
    let inside = seen_by(sidecar.pid(), &place.data());
    (sidecar, inside)
}

/// Takes every byte there is; gives them back by removing the file.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    let block = [7u8; 4096];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..1]).is_ok() {}
    path
}

#[test]
fn a_disk_that_fills_up_in_the_window_fails_the_capture_with_that_reason() {
    if let Err(reason) = can_mount() {
        return skipped("disk full", &reason);
    }
    let place = Place::new();
    let (sidecar, data) = on_a_small_disk(&place);
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "200"]);
    sidecar.attached(2);
    sidecar.begun(10);
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    let filler = fill(&data);

    let capture = sidecar.in_state(&id, "failed");
    let reason = capture["reason"].as_str().unwrap();
    assert!(reason.contains("No space left on device"), "{reason}");
    assert_eq!(capture["closed_by"], "failed");
    // It answers on: status, the captures, a stop, and a start that says what is wrong.
    assert_eq!(sidecar.attached(2).len(), 2);
    assert_eq!(sidecar.get("/healthz").status, 200);
    assert_eq!(sidecar.post("/stop_profile", "").status, 200);
    let refused = sidecar.post("/start_profile", "{\"max_iterations\": 5}");
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert!(refused.message().contains("No space left on device"), "{}", refused.message());

    // The engines were let go, and once there is room the next one is whole.
    std::fs::remove_file(filler).unwrap();
    captures_whole(&sidecar, 20);
    let kept = sidecar.capture(&id);
    assert_eq!((&kept["state"], &kept["reason"]), (&"failed".into(), &reason.into()));
}

#[test]
fn a_start_on_a_full_disk_leaves_nothing_armed() {
    if let Err(reason) = can_mount() {
        return skipped("disk full", &reason);
    }
    let place = Place::new();
    let (sidecar, data) = on_a_small_disk(&place);
    let _engine = Engine::start(&place.segments(), &["--ranks", "1", "--iterations", "0", "--step-us", "500"]);
    sidecar.attached(1);
    sidecar.begun(5);
    let filler = fill(&data);
    let refused = sidecar.post("/start_profile", "{\"max_iterations\": 5}");
    assert_eq!(refused.status, 507, "{}", refused.body);
    let status = sidecar.get("/stepscope/v1/status").ok();
    assert_eq!(status["state"], "idle");
    assert!(status["running"].is_null());
    assert_eq!(sidecar.get("/stepscope/v1/captures").ok()["captures"].as_array().map(Vec::len), Some(0));
    std::fs::remove_file(filler).unwrap();
    captures_whole(&sidecar, 20);
}

#[test]
fn the_reason_of_a_failed_capture_outlives_the_sidecar_although_the_disk_is_full() {
    if let Err(reason) = can_mount() {
        return skipped("disk full", &reason);
    }
    let place = Place::new();
    // The disk outlives both sidecars with the process that has it.
    let mut holder = on_a_tmpfs(&place.data(), "1m", "cat".as_ref());
    let holder = Ended(holder.stdin(std::process::Stdio::piped()).spawn().unwrap());
    let data = seen_by(holder.0.id(), &place.data());
    let device = |folder: &Path| std::fs::metadata(folder).map(|m| m.dev()).ok();
    eventually("the small disk", || (device(&data)? != device(&place.data())?).then_some(()));
    let sidecar = || {
        let command = beside(holder.0.id(), &stepscope());
        Sidecar::start_through(command, &place.segments(), &place.data(), &[])
    };
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "200"]);
    let first = sidecar();
    first.attached(2);
    let id = first.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    first.in_state(&id, "recording");
    let _filler = fill(&data);
    let failed = first.in_state(&id, "failed");
    first.kill();

    let next = sidecar();
    let capture = next.capture(&id);
    assert_eq!((&capture["state"], &capture["reason"]), (&failed["state"], &failed["reason"]), "{capture:#}");
    assert!(capture["reason"].as_str().unwrap().contains("No space left on device"), "{capture:#}");
    assert_eq!(capture["closed_by"], "failed");
}
