//! Files in the segment folder that no agent of ours wrote, or not of this version: refused with a reason, each of them,
//! while the engine beside them is captured as ever.

use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{captures_job_whole, captures_whole, doctor, refusal, segments_in};
use crate::support::{Engine, Place, Sidecar, eventually};

/// Bytes that look like nothing; the same ones each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(bytes)
    .collect()
}

/// A copy of a live engine's segment with some bytes changed.
fn forged(original: &Path, name: &str, offset: u64, bytes: &[u8]) -> PathBuf {
    let copy = original.with_file_name(name);
    // Made elsewhere and moved in: the sidecar must not see the copy before it is changed.
    let made = copy.with_extension("part");
    std::fs::copy(original, &made).unwrap();
    std::fs::OpenOptions::new().write(true).open(&made).unwrap().write_all_at(bytes, offset).unwrap();
    std::fs::rename(&made, &copy).unwrap();
    copy
}

#[test]
fn each_is_refused_with_a_reason_and_the_engine_beside_them_is_captured() {
    let place = Place::new();
    let folder = place.segments();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&folder, &["--ranks", "1", "--iterations", "0", "--step-us", "500"]);
    sidecar.attached(1);
    let real = segments_in(&folder).remove(0);

    let mut strangers: Vec<(PathBuf, &str)> = Vec::new();
    let mut add = |name: &str, bytes: &[u8], why| {
        std::fs::write(folder.join(name), bytes).unwrap();
        strangers.push((folder.join(name), why));
    };
    add("noise.seg", &noise(1 << 20), "wrong magic");
    add("empty.seg", b"", "0 bytes is no segment");
    add("short.seg", &noise(100), "100 bytes is no segment");
    let original = std::fs::read(&real).unwrap();
    add("truncated.seg", &original[..200_000], "but the file has 200000");
    strangers.push((forged(&real, "future.seg", 8, &2u32.to_ne_bytes()), "layout version 2"));
    strangers.push((forged(&real, "rings.seg", 28, &9999u32.to_ne_bytes()), "ring table"));
    strangers.push((forged(&real, "role.seg", 12, &77u32.to_ne_bytes()), "unknown role 77"));
    strangers.push((forged(&real, "clock.seg", 52, &9u32.to_ne_bytes()), "unknown clock 9"));
    let fifo = folder.join("fifo.seg");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    strangers.push((fifo, "not a regular file"));
    let link = folder.join("link.seg");
    symlink(&real, &link).unwrap();
    strangers.push((link, ""));
    std::fs::create_dir(folder.join("folder.seg")).unwrap();
    strangers.push((folder.join("folder.seg"), ""));
    // Only root gives files away.
    let other = forged(&real, "other.seg", 8, &1u32.to_ne_bytes());
    if chown(&other, Some(54_321), Some(54_321)).is_ok() {
        strangers.push((other, "owned by user 54321"));
    } else {
        super::support::skipped("another user's segment", "only root gives files away");
    }

    for (file, why) in &strangers {
        let reason = eventually(&format!("the refusal of {}", file.display()), || refusal(&sidecar, file));
        assert!(!reason.is_empty() && reason.contains(why), "{}: {reason}", file.display());
    }
    assert_eq!(sidecar.attached(1).len(), 1);
    captures_whole(&sidecar, 30);
    for (file, _) in &strangers {
        assert!(std::fs::symlink_metadata(file).is_ok(), "a stranger's file was removed: {}", file.display());
    }
    let found = doctor(&folder);
    for (file, why) in &strangers {
        assert!(found.contains(file.file_name().unwrap().to_str().unwrap()), "{}\n{found}", file.display());
        if why.contains("layout") || why.contains("magic") || why.contains("owned by") {
            assert!(found.contains(why), "{why}\n{found}");
        }
    }

    // An agent that comes later cleans up after its own user only what is a left-over of ours.
    let _second = Engine::start(&folder, &["--ranks", "1", "--iterations", "0", "--step-us", "500", "--job", "second"]);
    sidecar.attached(2);
    captures_job_whole(&sidecar, 10, Some("second"));
}

#[test]
fn a_copy_of_a_live_segment_does_not_pass_for_it() {
    let place = Place::new();
    let folder = place.segments();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&folder, &["--ranks", "1", "--iterations", "0", "--step-us", "500"]);
    sidecar.attached(1);
    let real = segments_in(&folder).remove(0);
    let copy = forged(&real, "0-copy.seg", 8, &1u32.to_ne_bytes());
    let reason = eventually("the refusal of the copy", || refusal(&sidecar, &copy));
    assert!(reason.contains("copy"), "{reason}");
    captures_whole(&sidecar, 30);
    assert_eq!(sidecar.attached(1)[0]["segment"].as_str(), real.to_str());
}
