//! How far the records of the running capture have got onto the disk: published by the thread that writes them, read by
//! the one that watches the limits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::trace::event::{Event, Iteration};

use super::manifest::GpuReport;

/// What is kept of one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// All records.
    pub records: u64,
    /// Iterations among them: how many, the first and the last; the first is 0 while there is none.
    pub iterations: (u64, u64, u64),
    /// What the engine told of itself among them.
    pub told: u64,
    /// Of that, moments of requests.
    pub moments: u64,
    /// Records that died with a sidecar which had them in its memory alone.
    pub lost: u64,
    /// Bytes in its fragment, its start left out.
    pub bytes: u64,
}

impl Kept {
    /// More was written; a kind that nobody knows counts too.
    pub fn add(&mut self, events: impl Iterator<Item = Option<Event>>, bytes: u64) {
        self.bytes += bytes;
        for event in events {
            if let Some(Event::Lost(records)) = event {
                self.lost = self.lost.saturating_add(records);
                continue;
            }
            self.records += 1;
            match event {
                Some(Event::Iteration(Iteration { iteration: n, .. })) => {
                    let (count, first, last) = self.iterations;
                    self.iterations = if count == 0 { (1, n, n) } else { (count + 1, first.min(n), last.max(n)) };
                }
                Some(Event::Request(_)) => (self.told, self.moments) = (self.told + 1, self.moments + 1),
                Some(Event::Recorded(_) | Event::Served(_)) => self.told += 1,
                _ => {}
            }
        }
    }
}

/// Shared by the two threads.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    kept: Vec<Kept>,
    /// The GPUs' counters, and their bytes.
    gpus: (GpuReport, u64),
    failed: Option<String>,
    turn: Duration,
}

impl Progress {
    /// Of ranks in this order.
    pub(super) fn new(kept: Vec<Kept>) -> Self {
        Self(Mutex::new(Known { kept, ..Known::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of each rank, then of each process that runs no iterations.
    pub(super) fn kept(&self) -> Vec<Kept> {
        self.lock().kept.clone()
    }

    /// Rank `rank` stands here.
    pub(super) fn set(&self, rank: usize, kept: Kept) {
        if let Some(there) = self.lock().kept.get_mut(rank) {
            *there = kept;
        }
    }

    /// The GPUs' counters stand here.
    pub(super) fn set_gpus(&self, report: &GpuReport, bytes: u64) {
        let gpus = &mut self.lock().gpus;
        gpus.0.clone_from(report);
        gpus.1 = bytes;
    }

    /// What is kept of the GPUs' counters.
    pub(super) fn gpus(&self) -> GpuReport {
        self.lock().gpus.0.clone()
    }

    /// Bytes that are no rank's.
    pub(super) fn gpu_bytes(&self) -> u64 {
        self.lock().gpus.1
    }

    /// The rings are looked at again after so long.
    pub(super) fn set_turn(&self, turn: Duration) {
        self.lock().turn = turn;
    }

    /// How long the one that writes pauses between two looks at the rings.
    pub(super) fn turn(&self) -> Duration {
        self.lock().turn
    }

    /// Nothing more can be written; the first reason stays.
    pub(super) fn fail(&self, reason: String) {
        self.lock().failed.get_or_insert(reason);
    }

    /// Why nothing more can be written.
    pub(super) fn failed(&self) -> Option<String> {
        self.lock().failed.clone()
    }
}
