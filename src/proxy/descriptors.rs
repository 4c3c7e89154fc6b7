//! Room for connections: each request that is passed on takes two descriptors.
//!
//! Called by `service` when it starts with an engine behind it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for all else: captures, segments, downloads, logs, connections to the engine that wait.
const OTHERS: u64 = 1536;

/// Raises the soft limit as far as `connections` need and the hard one allows; says how many there is room for.
pub fn room_for(connections: usize) -> usize {
    let wanted = connections as u64 * 2 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return connections;
    }
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let new = Rlimit { current: Some(raised), maximum: limit.maximum };
    let have = if raised > current && setrlimit(Resource::Nofile, new).is_ok() { raised } else { current };
    let room = have.saturating_sub(OTHERS.min(have / 2)) / 2;
    connections.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}
