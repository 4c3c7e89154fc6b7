//! Kernel and shared memory.

use std::path::Path;

use indicatif::BinaryBytes;

use super::finding::Finding;
use super::space;
use crate::wire::clock::ClockKind;
use crate::wire::layout::DEFAULT_SEGMENT_BYTES;
use crate::wire::membarrier;

const ABOUT: &str = "machine";

/// Barrier, clock, shared memory.
pub(super) fn look(dir: &Path) -> Vec<Finding> {
    let mut findings = vec![barrier(), clock()];
    let shared_memory = Path::new("/dev/shm");
    if dir.starts_with(shared_memory) {
        findings.push(size(shared_memory));
    }
    findings
}

fn barrier() -> Finding {
    if membarrier::available() {
        return Finding::ok(ABOUT, "membarrier is there: a start is agreed on within microseconds");
    }
    Finding::warn(
        ABOUT,
        format!(
            "membarrier is not there (a seccomp filter?): each start waits {} ms instead",
            membarrier::SETTLE.as_millis()
        ),
        "allow the system call membarrier in the container's seccomp profile; windows are exact without it too",
    )
}

fn clock() -> Finding {
    match ClockKind::detect() {
        ClockKind::Tsc => Finding::ok(ABOUT, "clock: the time stamp counter"),
        ClockKind::VirtualCounter => Finding::ok(ABOUT, "clock: the virtual counter"),
        ClockKind::Monotonic => Finding::warn(
            ABOUT,
            "clock: CLOCK_MONOTONIC, since the kernel does not trust this machine's time stamp counter",
            "nothing needs mending: an event costs some nanoseconds more (see /sys/devices/system/clocksource)",
        ),
    }
}

fn size(shared_memory: &Path) -> Finding {
    match space::total_bytes(shared_memory) {
        Ok(total) if total < 4 * DEFAULT_SEGMENT_BYTES => Finding::warn(
            ABOUT,
            format!("/dev/shm has {}, and the engine's own libraries want some of it", BinaryBytes(total)),
            "docker run --shm-size=1g, or an emptyDir of medium Memory in Kubernetes",
        ),
        Ok(total) => Finding::ok(ABOUT, format!("/dev/shm has {}", BinaryBytes(total))),
        Err(error) => {
            Finding::bad(ABOUT, format!("/dev/shm: {error}"), "mount a tmpfs there, or set STEPSCOPE_DIR elsewhere")
        }
    }
}
