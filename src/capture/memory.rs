//! Records of a running capture that wait in memory, because the disk did not take them in time: how many there may be, and
//! how many there are.
//!
//! Called by `running`, once in each of its turns. The records themselves stay with their rings
//! ([`relieve`](crate::collector::rings::Rings::relieve)).

use super::lanes::{RankRings, lock};

/// A ring that is no fuller than this, of 1, is looked after by who drains it.
const SLACK: f64 = 1.0 / 8.0;

/// What waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    limit: u64,
    bytes: u64,
    most_bytes: u64,
    is_filling: bool,
    fullest: f64,
}

impl Memory {
    /// At most so many bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Bytes that wait now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether some came to wait in the last turn.
    pub(super) fn is_filling(&self) -> bool {
        self.is_filling
    }

    /// Whether nothing waits, in memory or for long in a ring.
    pub(super) fn is_slack(&self) -> bool {
        self.bytes == 0 && self.fullest <= SLACK
    }

    /// Makes room in those rings whose records the disk does not take; `true`: for the first time.
    pub(super) fn relieve(&mut self, rings: Vec<RankRings>) -> bool {
        let mut before = 0;
        self.fullest = 0.0;
        for rings in rings.iter().map(lock) {
            before += rings.memory_bytes();
            self.fullest = self.fullest.max(rings.fullest());
        }
        let mut room = self.limit.saturating_sub(before);
        let mut moved = 0;
        for rings in &rings {
            let bytes = lock(rings).relieve(room);
            room -= bytes;
            moved += bytes;
        }
        let is_first = moved > 0 && self.most_bytes == 0;
        self.bytes = before + moved;
        self.most_bytes = self.most_bytes.max(self.bytes);
        self.is_filling = moved > 0;
        is_first
    }

    /// What is to be said of it when all is over; once.
    pub(super) fn said(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.most_bytes);
        (bytes > 0).then(|| format!("the disk did not keep up: {bytes} bytes of records waited in memory at most"))
    }
}
