//! The records of one segment: taken from its rings, and freed once they are safe elsewhere.
//!
//! The consumer's end of a [`Source`](super::source::Source). Two threads hold it: one takes records and writes them down
//! ([`Rings::drain`]), however long that takes, and holds the lock for none of it; the other looks now and then whether
//! that one keeps up ([`Rings::relieve`]). It may outlive its source: it keeps the memory mapped.
//!
//! * **While the writer keeps up**, a record is freed when it is written, and whoever dies leaves it in its ring.
//! * **When it does not**, and a ring is half full, its records move to memory and are freed ahead, in their order. Before
//!   the first of them is freed its index is noted in the segment, and until all are written: a successor that finds the
//!   note knows which records died with us ([`Rings::lost`]). Memory is bounded by whoever calls; then rings fill up,
//!   and records are dropped and counted as ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::trace::event::Anchor;
use crate::wire::layout::RECORD_BYTES;
use crate::wire::ring::{Consumer, MappedRing, RingMemory};

use super::source::Shared;
use super::taken::Taken;

pub use super::taken::Drained;

/// Records taken from one ring in one go.
const BATCH_RECORDS: usize = 4096;
/// No ring of ours ever gets here; so far from the end of the range, sums of indices can't overflow.
const LARGEST_INDEX: u64 = 1 << 62;
/// Looks at a ring that is half full, without the writer having been there, until it is relieved.
const PATIENT_LOOKS: u32 = 2;

/// Records that a consumer before us had freed and not written when it died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Which ring.
    pub ring: u32,
    /// Index of the first one; what was written behind it all the same is not lost.
    pub first_index: u64,
    /// Index behind the last one.
    pub end_index: u64,
}

/// One ring.
#[derive(Debug)]
struct One {
    consumer: Consumer<MappedRing>,
    /// Freed, and not written yet, in their order.
    memory: VecDeque<Taken>,
    /// Something is noted in the segment.
    is_noted: bool,
    /// Looks since the writer was here last.
    looks: u32,
    lost: Option<Lost>,
}

/// All rings of one segment.
#[derive(Debug)]
pub struct Rings {
    // Before the mapping they point into.
    rings: Vec<One>,
    shared: Arc<Shared>,
    memory_bytes: u64,
}

impl Rings {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let one = |ring| {
            let consumer = Consumer::new(shared.segment.ring(ring));
            let noted = consumer.unsaved();
            let end_index = consumer.freed();
            let lost = noted.filter(|first| *first < end_index);
            let lost = lost.map(|first_index| Lost { ring, first_index, end_index });
            One { consumer, memory: VecDeque::new(), is_noted: noted.is_some(), looks: 0, lost }
        };
        let rings = (0..shared.segment.ring_count()).map(one).collect();
        Self { rings, shared, memory_bytes: 0 }
    }

    /// Now, on the source's clock.
    pub fn anchor(&self) -> Anchor {
        self.shared.anchor()
    }

    /// Records dropped since the segment was made.
    pub fn dropped_total(&self) -> u64 {
        self.shared.segment.dropped()
    }

    /// How full the fullest ring is, of 1. One whose indices make no sense holds nothing.
    pub fn fullest(&self) -> f64 {
        if self.shared.is_spoiled() {
            return 0.0;
        }
        let share = |one: &One| one.consumer.backlog() as f64 / one.consumer.memory().capacity().max(1) as f64;
        self.rings.iter().map(share).filter(|share| *share <= 1.0).fold(0.0, f64::max)
    }

    /// Records that the smallest ring has room for.
    pub fn slots(&self) -> u64 {
        self.rings.iter().map(|one| one.consumer.memory().capacity()).min().unwrap_or(u64::MAX)
    }

    /// Bytes of records that were freed ahead.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What died with a consumer before us, as far as nobody has said that it is known.
    pub fn lost(&self) -> Vec<Lost> {
        self.rings.iter().filter_map(|one| one.lost).collect()
    }

    /// What was lost is written down somewhere, or nobody's any more.
    pub fn forget_lost(&mut self) {
        for one in &mut self.rings {
            one.lost = None;
            one.note();
        }
    }

    /// Takes every record, and hands those of `generation` to `keep`, ring by ring in runs without a hole. Records are
    /// freed once `keep` has returned `Ok`; those of other generations at once. Nobody waits for `keep`.
    ///
    /// # Errors
    /// Whatever `keep` says; what it did not take stays in the ring, or is lost if it was in memory.
    pub fn drain<E>(
        rings: &Mutex<Self>,
        generation: u64,
        mut keep: impl FnMut(&Drained<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = lock(rings).rings.len();
        for ring in 0..count {
            loop {
                let Some((taken, is_last)) = lock(rings).take(ring) else { break };
                taken.each_run(generation, &mut keep)?;
                lock(rings).done(&taken);
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The oldest records of a ring that nobody took yet, and whether they were all.
    fn take(&mut self, ring: usize) -> Option<(Taken, bool)> {
        if let Some(taken) = self.rings[ring].memory.pop_front() {
            self.memory_bytes -= taken.bytes();
            return Some((taken, false));
        }
        let taken = self.fetch(ring, BATCH_RECORDS)?;
        let is_last = taken.words.len() < BATCH_RECORDS;
        Some((taken, is_last))
    }

    /// Copies records out of a ring and holds on to them there.
    fn fetch(&mut self, ring: usize, limit: usize) -> Option<Taken> {
        if self.shared.is_spoiled() {
            return None;
        }
        let mut words = Vec::new();
        let first_index = match self.rings[ring].consumer.peek(limit, &mut words) {
            Ok(first) if first > LARGEST_INDEX => {
                self.shared.spoiled(format!("ring {ring} makes no sense: it is at record {first}"));
                return None;
            }
            Ok(first) => first,
            Err(corrupt) => {
                // Of a file that was cut short only zeros are left, which make no sense either.
                self.shared.spoiled(format!("ring {ring} makes no sense: {corrupt:?}"));
                return None;
            }
        };
        if words.is_empty() {
            return None;
        }
        self.rings[ring].consumer.hold(words.len() as u64);
        let (anchor, dropped_total, shared) = (self.anchor(), self.dropped_total(), self.shared.clone());
        Some(Taken { ring: ring as u32, first_index, words, anchor, dropped_total, shared })
    }

    /// They are written.
    fn done(&mut self, taken: &Taken) {
        let one = &mut self.rings[taken.ring as usize];
        one.looks = 0;
        let unfreed = taken.end().saturating_sub(one.consumer.freed());
        if unfreed > 0 {
            one.consumer.advance(unfreed);
        }
        one.note();
        self.shared.taken(taken.records());
    }

    /// Makes room in rings whose writer does not keep up: up to `room` bytes of records go to memory. Returns how many did;
    /// more are to come if it is not 0.
    pub fn relieve(&mut self, room: u64) -> u64 {
        let mut moved = 0;
        for ring in 0..self.rings.len() {
            let one = &mut self.rings[ring];
            let (waiting, capacity) = (one.consumer.backlog(), one.consumer.memory().capacity());
            if waiting < capacity / 2 || waiting > capacity {
                one.looks = 0;
                continue;
            }
            one.looks += 1;
            // A burst is over in a moment; a ring that is nearly full can't wait whether this is one.
            if one.looks < PATIENT_LOOKS && waiting < capacity / 4 * 3 {
                continue;
            }
            loop {
                let limit = usize::try_from((room - moved) / RECORD_BYTES).unwrap_or(usize::MAX).min(BATCH_RECORDS);
                let Some(taken) = (limit > 0).then(|| self.fetch(ring, limit)).flatten() else { break };
                moved += taken.bytes();
                self.rings[ring].memory.push_back(taken);
            }
            self.rings[ring].free_ahead();
        }
        self.memory_bytes += moved;
        moved
    }

    /// Frees every record unread, and forgets those in memory.
    pub fn discard(&mut self) {
        for ring in 0..self.rings.len() {
            self.rings[ring].memory.clear();
            while self.fetch(ring, BATCH_RECORDS).is_some() {}
            let one = &mut self.rings[ring];
            let held = one.consumer.held();
            one.consumer.advance(held);
            one.note();
            self.shared.taken(held);
        }
        self.memory_bytes = 0;
    }
}

impl One {
    /// Frees what is held: in memory, or in the hands of whoever writes it.
    fn free_ahead(&mut self) {
        let held = self.consumer.held();
        // Memory alone says whether something is freed that was not written: what the writer has in hand may be all that is held.
        if held == 0 || self.memory.is_empty() {
            return;
        }
        if !self.is_noted {
            self.consumer.note_unsaved(Some(self.consumer.freed()));
            self.is_noted = true;
        }
        self.consumer.advance(held);
    }

    /// Brings the note up to date, if there is one: behind the writer's last record comes the first one in memory.
    fn note(&mut self) {
        if self.is_noted && self.lost.is_none() {
            let first = self.memory.front().map(|taken| taken.first_index);
            self.consumer.note_unsaved(first);
            self.is_noted = first.is_some();
        }
    }
}

fn lock(rings: &Mutex<Rings>) -> MutexGuard<'_, Rings> {
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}
