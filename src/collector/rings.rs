//! The records of one segment: fetched from its rings, checked, and freed once they are safe elsewhere.
//!
//! The consumer's end of a [`Source`](super::source::Source). It may be held by another thread, and may outlive its
//! source: it keeps the memory mapped.

use std::convert::Infallible;
use std::sync::Arc;

use crate::trace::event::{Anchor, Event};
use crate::wire::record::{Record, Words};
use crate::wire::ring::{Consumer, MappedRing};

use super::events;
use super::source::Shared;

/// Records taken from one ring in one go.
const BATCH_RECORDS: usize = 4096;
/// No ring of ours ever gets here; so far from the end of the range, sums of indices can't overflow.
const LARGEST_INDEX: u64 = 1 << 62;

/// Records of one ring, checked.
#[derive(Debug)]
pub struct Drained<'a> {
    /// Which ring.
    pub ring: u32,
    /// Absolute index of the first event in its ring.
    pub first_index: u64,
    /// The events, one per record, without a hole.
    pub events: &'a [Event],
    /// Now, on the source's clock.
    pub anchor: Anchor,
    /// Records dropped since the segment was made.
    pub dropped_total: u64,
}

/// All rings of one segment.
#[derive(Debug)]
pub struct Rings {
    // Before the mapping they point into.
    consumers: Vec<Consumer<MappedRing>>,
    shared: Arc<Shared>,
    scratch: Vec<Words>,
}

impl Rings {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let consumers = (0..shared.segment.ring_count()).map(|i| Consumer::new(shared.segment.ring(i))).collect();
        Self { consumers, shared, scratch: Vec::new() }
    }

    /// Now, on the source's clock.
    pub fn anchor(&self) -> Anchor {
        self.shared.anchor()
    }

    /// Records dropped since the segment was made.
    pub fn dropped_total(&self) -> u64 {
        self.shared.segment.dropped()
    }

    /// Fetches every record, and hands those of `generation` to `keep`, ring by ring in runs without a hole. Records are
    /// freed once `keep` has returned `Ok`; those of other generations at once.
    ///
    /// # Errors
    /// Whatever `keep` says; what it did not take stays in the ring.
    pub fn drain<E>(
        &mut self,
        generation: Option<u64>,
        mut keep: impl FnMut(&Drained<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut drained = 0;
        let wanted = generation.map(|g| g as u32);
        for index in 0..self.consumers.len() {
            loop {
                let taken = self.drain_ring(index, wanted, &mut keep)?;
                drained += taken;
                if taken < BATCH_RECORDS as u64 {
                    break;
                }
            }
        }
        Ok(drained)
    }

    /// Frees every record unread.
    pub fn discard(&mut self) {
        let Ok(_) = self.drain(None, |_| Ok::<_, Infallible>(()));
    }

    fn drain_ring<E>(
        &mut self,
        index: usize,
        wanted: Option<u32>,
        keep: &mut impl FnMut(&Drained<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        if self.shared.is_spoiled() {
            return Ok(0);
        }
        let mut words = std::mem::take(&mut self.scratch);
        words.clear();
        let first_index = match self.consumers[index].peek(BATCH_RECORDS, &mut words) {
            Ok(first) if first > LARGEST_INDEX => {
                self.shared.spoiled(format!("ring {index} makes no sense: it is at record {first}"));
                return Ok(0);
            }
            Ok(first) => first,
            Err(corrupt) => {
                // Of a file that was cut short only zeros are left, which make no sense either.
                self.shared.spoiled(format!("ring {index} makes no sense: {corrupt:?}"));
                return Ok(0);
            }
        };
        let result = if words.is_empty() { Ok(()) } else { self.keep_runs(index, first_index, &words, wanted, keep) };
        let count = words.len() as u64;
        self.scratch = words;
        result?;
        if count > 0 {
            self.consumers[index].advance(count);
            self.shared.taken(count);
        }
        Ok(count)
    }

    fn keep_runs<E>(
        &self,
        index: usize,
        first_index: u64,
        words: &[Words],
        wanted: Option<u32>,
        keep: &mut impl FnMut(&Drained<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (ring, anchor, dropped_total) = (index as u32, self.anchor(), self.dropped_total());
        let mut run: Vec<Event> = Vec::new();
        let mut run_first = first_index;
        for (i, w) in (first_index..).zip(words) {
            let ours = wanted == Some(Record::generation_of(w));
            let event = if ours { events::trusted(&self.shared.segment, w) } else { None };
            if ours && event.is_none() {
                self.shared.invalid();
            }
            match event {
                Some(event) => {
                    if run.is_empty() {
                        run_first = i;
                    }
                    run.push(event);
                }
                None if !run.is_empty() => {
                    let events = std::mem::take(&mut run);
                    keep(&Drained { ring, first_index: run_first, events: &events, anchor, dropped_total })?;
                }
                None => {}
            }
        }
        if run.is_empty() {
            return Ok(());
        }
        keep(&Drained { ring, first_index: run_first, events: &run, anchor, dropped_total })
    }
}
