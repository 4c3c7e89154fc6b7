//! Which process ids are the attached engines', as NVML names them: in the host's pid namespace.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use crate::capture::handle::Captures;

/// Number of the first pid namespace, the host's; the kernel's PROC_PID_INIT_INO.
const HOST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The engines' processes.
#[derive(Debug, Default)]
pub(super) struct Engines {
    /// Those that can be told.
    pub(super) pids: BTreeSet<u32>,
    /// Why none, or not all, can be told.
    pub(super) absent: Option<String>,
}

impl Engines {
    /// Those that are attached now.
    pub(super) fn attached(captures: &Captures) -> Self {
        let snapshot = captures.snapshot();
        if snapshot.ranks.is_empty() {
            return Self::default();
        }
        if std::fs::metadata("/proc/self/ns/pid").map(|meta| meta.ino()).ok() != Some(HOST_NAMESPACE) {
            let why = "NVML names processes as the host does, and the sidecar runs in a pid namespace of its own";
            return Self { pids: BTreeSet::new(), absent: Some(why.into()) };
        }
        let pids: BTreeSet<u32> = snapshot.ranks.iter().filter_map(|rank| rank.pid_here).collect();
        let hidden = snapshot.ranks.iter().filter(|rank| rank.pid_here.is_none()).count();
        let absent = (hidden > 0)
            .then(|| format!("{hidden} of {} engine processes can't be seen from here", snapshot.ranks.len()));
        Self { pids, absent }
    }
}
