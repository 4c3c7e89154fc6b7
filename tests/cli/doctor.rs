//! `doctor` beside real segments. Other findings depend on the machine, so only those about segments and the folder are
//! looked at, and the exit code is held against what was found.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;
use stepscope::wire::layout::Role;
use stepscope::wire::segment::{Identity, Segment};

use super::{command, stderr, stdout, stepscope};
use crate::support::fakes::library;

/// The findings about `about`, as (level, what, mend); checks the exit code on the way.
fn findings(folder: &Path, about: &str) -> Vec<(String, String, String)> {
    let dir = folder.to_str().unwrap();
    let output =
        stepscope(&["doctor", "--json", "--dir", dir, "--python", "/nonexistent", "--url", "http://127.0.0.1:1"]);
    let all: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let list = all["findings"].as_array().unwrap();
    let bad = list.iter().any(|finding| finding["level"] == "bad");
    assert_eq!(output.status.code(), Some(i32::from(bad)), "{all}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let wanted = list.iter().filter(|finding| finding["about"] == about);
    wanted.map(|f| (text(&f["level"]), text(&f["what"]), text(&f["mend"]))).collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    folder
}

/// A copy of a living segment's file. Made by another process: closing the file in this one would drop its lock.
fn copy(segment: &Segment, name: &str) -> std::path::PathBuf {
    let path = segment.path().with_file_name(name);
    assert!(std::process::Command::new("cp").arg(segment.path()).arg(&path).status().unwrap().success());
    path
}

fn segment(folder: &Path) -> Segment {
    let identity = Identity {
        job: "job-a".into(),
        group: "g0".into(),
        rank: 3,
        world_size: 4,
        role: Role::Rank,
        engine: "test 1.0".into(),
        label: "tp3".into(),
        forked_from: 0,
        tool_session: "".into(),
    };
    Segment::create(&folder.into(), &identity, 128 << 10).unwrap()
}

#[test]
fn a_living_rank_without_a_sidecar_is_named_with_what_mends_it() {
    let folder = folder();
    let segment = segment(folder.path());
    segment.status().begun.store(42, std::sync::atomic::Ordering::Relaxed);
    let found = findings(folder.path(), "segment");
    // The version of an agent is its own finding; this one's is its maker's.
    let (level, what, mend) = &found[0];
    assert_eq!(level, "warn", "{found:?}");
    for part in ["rank 3 of group \"g0\"", "job \"job-a\"", "test 1.0", "42 iterations", "gate idle", "no sidecar"] {
        assert!(what.contains(part), "{part} is missing in {what}");
    }
    assert!(mend.contains("stepscope serve"), "{mend}");
}

#[test]
fn looking_at_a_segment_leaves_it_as_it_was() {
    let folder = folder();
    let segment = segment(folder.path());
    let before = std::fs::metadata(segment.path()).unwrap().modified().unwrap();
    findings(folder.path(), "segment");
    assert_eq!(std::fs::metadata(segment.path()).unwrap().modified().unwrap(), before);
    // The lock is still there: the second look says the same as the first.
    assert!(findings(folder.path(), "segment")[0].1.contains("no sidecar"));
}

#[test]
fn what_is_no_segment_is_bad_and_says_why() {
    let folder = folder();
    let good = segment(folder.path());
    let copy = |name: &str| std::fs::OpenOptions::new().write(true).open(copy(&good, name)).unwrap();
    copy("1-version.seg").write_all_at(&99u32.to_ne_bytes(), 8).unwrap();
    copy("2-magic.seg").write_all_at(b"nonsense", 0).unwrap();
    copy("3-short.seg").set_len(70_000).unwrap();
    std::fs::write(folder.path().join("4-tiny.seg"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("5-link.seg")).unwrap();
    std::fs::create_dir(folder.path().join("6-folder.seg")).unwrap();
    let found = findings(folder.path(), "segment");
    for (name, why) in [
        ("1-version.seg", "layout version 99"),
        ("2-magic.seg", "wrong magic"),
        ("3-short.seg", "the file has 70000"),
        ("4-tiny.seg", "1 bytes are no segment"),
        ("5-link.seg", "symbolic link"),
        ("6-folder.seg", "not a regular file"),
    ] {
        let (level, what, mend) = found.iter().find(|f| f.1.starts_with(name)).unwrap_or_else(|| panic!("{found:?}"));
        assert!(level == "bad" && what.contains(why) && !mend.is_empty(), "{name}: {level} {what}");
    }
}

#[test]
fn a_dead_process_is_told_from_a_living_one() {
    let folder = folder();
    let alive = segment(folder.path());
    // A copy has the bytes but nobody's lock.
    copy(&alive, "0-dead.seg");
    let found = findings(folder.path(), "segment");
    assert!(
        found[0].1.starts_with("0-dead.seg") && found[0].1.contains("its process is gone (it was killed)"),
        "{found:?}"
    );
    assert!(found.iter().any(|f| f.1.contains("no sidecar")), "{found:?}");
}

#[test]
fn a_folder_that_everybody_can_write_is_bad() {
    let folder = folder();
    assert_eq!(findings(folder.path(), "folder")[0].0, "ok");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let found = findings(folder.path(), "folder");
    assert!(found[0].0 == "bad" && found[0].2.contains("chmod 0700"), "{found:?}");
    let missing = findings(&folder.path().join("nowhere"), "folder");
    assert!(missing[0].0 == "warn" && missing[0].1.contains("is not there"), "{missing:?}");
}

#[test]
fn the_cuda_driver_is_asked_in_a_process_of_its_own() {
    // One that has all that is asked for, and one that lacks a symbol, at which the process that asks dies.
    for (driver, level, part) in [
        ("gpu", "ok", "CUDA driver for CUDA 13.0, cuInit answered 0 (CUDA_SUCCESS); 1 × no GPU: a stand-in"),
        ("cuda", "bad", "asking the CUDA driver failed: exit status: 101"),
    ] {
        let library = library(driver, "libcuda.so.1", &[]);
        let folder = folder();
        let output = command(&["doctor", "--json", "--python", "/nonexistent", "--url", "http://127.0.0.1:1"])
            .args(["--dir", folder.path().to_str().unwrap()])
            .env("LD_LIBRARY_PATH", library.parent().unwrap())
            .output()
            .unwrap();
        let all: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let found: Vec<&Value> =
            all["findings"].as_array().unwrap().iter().filter(|finding| finding["about"] == "cuda").collect();
        assert_eq!(found.len(), 1, "{all:#}");
        assert_eq!(found[0]["level"], level, "{all:#}");
        assert!(found[0]["what"].as_str().unwrap().starts_with(part), "{all:#}");
    }
}
