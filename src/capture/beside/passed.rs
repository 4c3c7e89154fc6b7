//! Where requests that passed through the sidecar go from the proxy to the running capture.
//!
//! The proxy hands in each one when it is over, and is asked at the capture's end for those that are still under way; the
//! thread that writes takes them out. Neither waits for the other: what the lock guards is a bounded queue, and one that is
//! full drops and counts. With no window open a request that ends takes the lock and finds that nobody wants it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::trace::passed::{Ending, Passed, PassedTimes};

/// Requests that wait for the capture's thread, which looks each few milliseconds.
pub const QUEUE_REQUESTS: usize = 16_384;

/// Who knows the requests that are under way.
pub trait UnderWay: Debug + Send + Sync {
    /// All of them, as far as they have got.
    fn under_way(&self) -> Vec<Passed>;
}

/// The queue.
#[derive(Debug, Default)]
pub struct PassedQueue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    is_wanted: bool,
    ended: Vec<Passed>,
    dropped: u64,
    proxy: Option<Arc<dyn UnderWay>>,
}

impl PassedQueue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a proxy.
    pub fn announce(&self, proxy: Arc<dyn UnderWay>) {
        self.lock().proxy = Some(proxy);
    }

    /// A request is over; it is described only if somebody wants to know.
    pub fn offer(&self, passed: impl FnOnce() -> Passed) {
        let mut inner = self.lock();
        if !inner.is_wanted {
            return;
        }
        if inner.ended.len() < QUEUE_REQUESTS {
            let passed = passed();
            inner.ended.push(passed);
        } else {
            inner.dropped += 1;
        }
    }

    /// A window opened.
    pub(in crate::capture) fn open(&self) {
        let mut inner = self.lock();
        inner.is_wanted = true;
        inner.ended.clear();
        inner.dropped = 0;
    }

    /// Moves what is there behind `ended`; says how many were dropped since the window opened.
    pub(in crate::capture) fn take(&self, ended: &mut Vec<Passed>) -> u64 {
        let mut inner = self.lock();
        ended.append(&mut inner.ended);
        inner.dropped
    }

    /// The capture is over: nobody wants any more. What is under way comes behind what is over.
    pub(in crate::capture) fn close(&self, passed: &mut Vec<Passed>) -> u64 {
        let (was_wanted, proxy, dropped) = {
            let mut inner = self.lock();
            passed.append(&mut inner.ended);
            (std::mem::take(&mut inner.is_wanted), inner.proxy.clone(), std::mem::take(&mut inner.dropped))
        };
        if let (true, Some(proxy)) = (was_wanted, proxy) {
            passed.extend(proxy.under_way());
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_without_a_window_and_a_full_queue_drops_and_counts() {
        let queue = PassedQueue::default();
        queue.offer(|| panic!("nobody wants to know"));
        queue.open();
        (0..QUEUE_REQUESTS + 2).for_each(|_| queue.offer(Passed::default));
        let mut taken = Vec::new();
        assert_eq!((queue.take(&mut taken), taken.len()), (2, QUEUE_REQUESTS));
        queue.offer(Passed::default);
        taken.clear();
        assert_eq!((queue.close(&mut taken), taken.len()), (2, 1));
        queue.offer(|| panic!("it is closed"));
    }
}
