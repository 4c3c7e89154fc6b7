//! Files in the segment folder that no agent of ours wrote, or not of this version: refused with a reason, each of them,
//! while the engine beside them is captured as ever.

use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use stepscope::wire::layout::{RINGS_OFFSET, STATUS_OFFSET};
use stepscope::wire::lock::{self, Party};

use super::support::{captures_job_whole, captures_whole, doctor, refusal, segments_in};
use stepscope::wire::layout::LAYOUT_VERSION;

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
    strangers.push((forged(&real, "future.seg", 8, &(LAYOUT_VERSION + 1).to_ne_bytes()), "layout version"));
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
    let other = forged(&real, "other.seg", 8, &LAYOUT_VERSION.to_ne_bytes());
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
    let copy = forged(&real, "0-copy.seg", 8, &LAYOUT_VERSION.to_ne_bytes());
    let reason = eventually("the refusal of the copy", || refusal(&sidecar, &copy));
    assert!(reason.contains("copy"), "{reason}");
    captures_whole(&sidecar, 30);
    assert_eq!(sidecar.attached(1)[0]["segment"].as_str(), real.to_str());
}

#[test]
fn numbers_at_the_end_of_their_range_do_no_harm() {
    let place = Place::new();
    let folder = place.segments();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&folder, &["--ranks", "1", "--iterations", "0", "--step-us", "500", "--job", "real"]);
    sidecar.attached(1);
    let original = std::fs::read(segments_in(&folder).remove(0)).unwrap();
    // Alive, as far as the sidecar can see: this process holds the agent's lock on each.
    let mut held = Vec::new();
    for (number, value) in [(1u64, u64::MAX), (2, u64::MAX - 3), (3, 1 << 63)] {
        let mut bytes = original.clone();
        let mut put = |offset: usize, value: u64| bytes[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        put(80, number);
        for ring in 0..2 {
            let descriptor = RINGS_OFFSET as usize + ring * 192;
            put(descriptor, value);
            put(descriptor + 8, value);
            put(descriptor + 64, value - 3);
        }
        for word in (0..64).filter(|word| *word != 16) {
            put(STATUS_OFFSET as usize + word * 8, value);
        }
        bytes[112..120].copy_from_slice(b"forged\0\0");
        let made = folder.join("forged.part");
        std::fs::write(&made, bytes).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&made).unwrap();
        assert!(lock::take(file.as_fd(), Party::Agent).unwrap());
        std::fs::rename(&made, folder.join(format!("forged-{number}.seg"))).unwrap();
        held.push(file);
    }
    sidecar.attached(4);
    captures_job_whole(&sidecar, 20, Some("real"));
    // All of them: answered, and over when it is stopped.
    let started = sidecar.post("/start_profile", "{}");
    assert!([200, 503].contains(&started.status), "{}", started.body);
    assert_eq!(sidecar.post("/stop_profile", "").status, 200);
    assert_eq!(sidecar.get("/metrics").status, 200);
    drop(held);
    let status = eventually("the forgeries to be let go", || {
        let status = sidecar.get("/stepscope/v1/status").ok();
        (status["ranks"].as_array().unwrap().len() == 1 && status["state"] == "idle").then_some(status)
    });
    assert_eq!(status["ranks"][0]["job"], "real", "{status:#}");
    captures_whole(&sidecar, 20);
    assert!(!sidecar.log().contains("panicked"), "{}", sidecar.log());
}
