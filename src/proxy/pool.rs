//! Connections that wait for their next request: the one that was used last is taken first.
//!
//! None waits longer than [`IDLE`], which is less than what servers behind `uvicorn` grant (5 s): a request on a connection
//! that the engine is just closing could be lost, and a `POST` must not be sent twice. Called by [`super::forward`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::Link;

/// How long one waits.
pub const IDLE: Duration = Duration::from_secs(3);
/// How many wait.
pub const MOST: usize = 1024;

/// Idle connections, the newest last.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Link, Instant)>>,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Vec<(Link, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that can be used.
    pub(super) fn take(&self) -> Option<Link> {
        loop {
            let (mut link, since) = self.lock().pop()?;
            if since.elapsed() < IDLE && link.is_fresh() {
                return Some(link);
            }
        }
    }

    /// One that is through; closed if it is not, or if there are enough.
    pub(super) fn put(&self, mut link: Link) {
        if link.is_fresh() {
            let mut idle = self.lock();
            if idle.len() < MOST {
                idle.push((link, Instant::now()));
            }
        }
    }

    /// Closes what has waited too long, or was closed by the engine.
    pub(super) fn sweep(&self) {
        let old = {
            let mut idle = self.lock();
            let fresh = idle.partition_point(|(_, since)| since.elapsed() >= IDLE);
            idle.drain(..fresh).collect::<Vec<_>>()
        };
        drop(old); // outside the lock: each is a system call
        self.lock().retain_mut(|(link, _)| link.is_fresh());
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }
}
