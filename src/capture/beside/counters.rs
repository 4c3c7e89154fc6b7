//! Where the sidecar's own counters pass from whoever samples them to the running capture.
//!
//! The sampler asks whether a window is open, and hands values in; the capture's thread says when one is, and takes them
//! out. Neither ever waits for the other: what the lock guards is a few words and a bounded queue. A queue that is full
//! drops and counts.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use crate::trace::counter::{Counter, GpuIdentity, Metric};

/// Values that wait for the capture's thread: several seconds of eight GPUs.
pub const QUEUE_VALUES: usize = 8192;

/// What the sampler is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// The window that is open, if any; each has a number of its own.
    pub window: Option<u64>,
    /// Nothing any more.
    pub ended: bool,
}

/// What the sampler says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// The GPUs that values will be of, in the order of their numbers.
    pub gpus: Vec<GpuIdentity>,
    /// Why there are no values for captures.
    pub absent: Option<String>,
}

/// The queue and what stands beside it.
#[derive(Debug)]
pub struct CounterQueue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    demand: Demand,
    windows: u64,
    values: VecDeque<Counter>,
    dropped: u64,
    sampled: Arc<Sampled>,
}

impl Default for CounterQueue {
    fn default() -> Self {
        let sampled = Arc::new(Sampled { gpus: Vec::new(), absent: Some("nothing samples GPUs".into()) });
        let inner = Inner { demand: Demand::default(), windows: 0, values: VecDeque::new(), dropped: 0, sampled };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }
}

impl CounterQueue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wanted now.
    pub fn demand(&self) -> Demand {
        self.lock().demand
    }

    /// Sleeps until something else is wanted than `seen`, or until `deadline` (`None`: no limit). Says what is wanted.
    pub fn wait(&self, seen: Demand, deadline: Option<Instant>) -> Demand {
        let mut inner = self.lock();
        while inner.demand == seen {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            inner = match left {
                Some(left) => self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
        inner.demand
    }

    /// The sampler says what there will be.
    pub fn announce(&self, sampled: Sampled) {
        self.lock().sampled = Arc::new(sampled);
    }

    /// Values of this window, in the order of their times; those of a window that is over are left out.
    pub fn offer(&self, window: u64, values: &[Counter]) {
        let mut inner = self.lock();
        if inner.demand.window == Some(window) {
            let room = QUEUE_VALUES - inner.values.len();
            inner.values.extend(&values[..values.len().min(room)]);
            inner.dropped += values.len().saturating_sub(room) as u64;
        }
    }

    /// Sends the sampler home.
    pub fn end(&self) {
        self.lock().demand.ended = true;
        self.changed.notify_all();
    }

    /// What the sampler last said of itself.
    pub(in crate::capture) fn sampled(&self) -> Arc<Sampled> {
        self.lock().sampled.clone()
    }

    /// How many windows there have been.
    pub(in crate::capture) fn windows(&self) -> u64 {
        self.lock().windows
    }

    /// A window opened: from now on values are taken.
    pub(in crate::capture) fn open(&self) {
        let mut inner = self.lock();
        inner.windows += 1;
        inner.demand.window = Some(inner.windows);
        inner.values.clear();
        inner.dropped = 0;
        self.changed.notify_all();
    }

    /// Moves what is there behind `values`; says who samples, and how many values of this window were dropped. `None`:
    /// there has been no window since `windows` of them.
    pub(in crate::capture) fn take(&self, windows: u64, values: &mut Vec<Counter>) -> Option<(Arc<Sampled>, u64)> {
        let mut inner = self.lock();
        if inner.windows == windows {
            return None;
        }
        values.extend(inner.values.drain(..));
        Some((inner.sampled.clone(), inner.dropped))
    }

    /// The window closed; what is in the queue stays until the next one opens.
    pub(in crate::capture) fn close(&self) {
        self.lock().demand.window = None;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize) -> Vec<Counter> {
        (0..count as u64).map(|at_ns| Counter { at_ns, gpu: 0, metric: Metric::Power, pid: 0, value: 1.0 }).collect()
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_an_old_window_gets_nothing() {
        let queue = CounterQueue::default();
        queue.offer(1, &values(3));
        queue.open();
        let first = queue.demand().window.unwrap();
        queue.offer(first, &values(QUEUE_VALUES - 1));
        queue.offer(first, &values(3));
        let mut taken = Vec::new();
        assert!(queue.take(1, &mut taken).is_none());
        assert_eq!(queue.take(0, &mut taken).unwrap().1, 2);
        assert_eq!(taken.len(), QUEUE_VALUES);
        queue.close();
        queue.offer(first, &values(1));
        queue.open();
        queue.offer(first, &values(1));
        taken.clear();
        assert_eq!((queue.take(1, &mut taken).unwrap().1, taken.len()), (0, 0));
    }

    #[test]
    fn a_change_wakes_the_sampler_and_a_deadline_does_too() {
        let queue = CounterQueue::default();
        assert_eq!(queue.wait(queue.demand(), Some(Instant::now())), Demand::default());
        std::thread::scope(|scope| {
            let sampler = scope.spawn(|| queue.wait(Demand::default(), None));
            queue.open();
            assert_eq!(sampler.join().unwrap().window, Some(1));
            let sampler = scope.spawn(|| queue.wait(Demand { window: Some(1), ended: false }, None));
            queue.end();
            assert!(sampler.join().unwrap().ended);
        });
    }
}
