//! The folder in which engines and sidecar meet.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use indicatif::BinaryBytes;

use super::finding::Finding;
use super::space;
use crate::wire::layout::DEFAULT_SEGMENT_BYTES;
use crate::wire::segment::user_id;

const ABOUT: &str = "folder";

/// Exists, is ours or a common group's, is closed to strangers, has room.
pub(super) fn look(dir: &Path) -> Vec<Finding> {
    let name = dir.display();
    let meta = match std::fs::symlink_metadata(dir) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::warn(
                ABOUT,
                format!("{name} is not there: no engine of this user has attached yet, nor a sidecar started"),
                "start either; both make it. If the engine uses another folder, give both the same STEPSCOPE_DIR",
            )];
        }
        Err(error) => {
            return vec![Finding::bad(ABOUT, format!("{name}: {error}"), "choose another with STEPSCOPE_DIR")];
        }
    };
    if !meta.is_dir() {
        return vec![Finding::bad(ABOUT, format!("{name} is no folder"), "choose another with STEPSCOPE_DIR")];
    }
    let mode = meta.mode() & 0o7777;
    let what = format!("{name} has mode {mode:04o}, owner {}, group {}", meta.uid(), meta.gid());
    let mut findings = Vec::new();
    let shared = mode & 0o2070 == 0o2070;
    if mode & 0o002 != 0 {
        let mend =
            format!("chmod 0700 {name} (or 2770 with a common group): agents refuse a folder that all can write");
        findings.push(Finding::bad(ABOUT, what, mend));
    } else if meta.uid() != user_id() && !shared {
        let mend = format!(
            "run doctor as user {}, or share the folder: chmod 2770, a common group, --trust-group",
            meta.uid()
        );
        findings.push(Finding::bad(ABOUT, what, mend));
    } else if shared {
        findings.push(Finding::warn(
            ABOUT,
            format!("{what}: shared with its group"),
            "the sidecar takes other users' segments only if it is started with --trust-group",
        ));
    } else {
        findings.push(Finding::ok(ABOUT, what));
    }
    findings.extend(room(dir));
    findings
}

fn room(dir: &Path) -> Option<Finding> {
    let free = space::free_bytes(dir).ok()?;
    let what =
        format!("{} free there; a segment takes {} by default", BinaryBytes(free), BinaryBytes(DEFAULT_SEGMENT_BYTES));
    Some(if free >= DEFAULT_SEGMENT_BYTES {
        Finding::ok(ABOUT, what)
    } else {
        Finding::bad(
            ABOUT,
            what,
            "the next agent stays off: enlarge it (--shm-size in a container), or set STEPSCOPE_SEGMENT_BYTES lower",
        )
    })
}
