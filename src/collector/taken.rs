//! Records that were copied out of a ring: checked when they are put somewhere safe, which may take as long as it likes.

use std::sync::Arc;

use crate::trace::event::{Anchor, Event};
use crate::wire::layout::RECORD_BYTES;
use crate::wire::record::{Record, Words};

use super::events;
use super::source::Shared;

/// Records of one ring, checked.
#[derive(Debug)]
pub struct Drained<'a> {
    /// Which ring.
    pub ring: u32,
    /// Absolute index of the first event in its ring.
    pub first_index: u64,
    /// The events, one per record, without a hole.
    pub events: &'a [Event],
    /// When they were taken, on the source's clock.
    pub anchor: Anchor,
    /// Records dropped by then, since the segment was made.
    pub dropped_total: u64,
}

/// Records of one ring as they lay in it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ring: u32,
    /// Absolute index of the first one.
    pub(super) first_index: u64,
    pub(super) words: Vec<Words>,
    pub(super) anchor: Anchor,
    pub(super) dropped_total: u64,
    pub(super) shared: Arc<Shared>,
}

impl Taken {
    /// How many.
    pub(super) fn records(&self) -> u64 {
        self.words.len() as u64
    }

    /// Index behind the last one.
    pub(super) fn end(&self) -> u64 {
        self.first_index.saturating_add(self.records())
    }

    /// Memory that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.records() * RECORD_BYTES
    }

    /// Hands on those of a generation in runs without a hole.
    pub(super) fn each_run<E>(
        &self,
        generation: u64,
        keep: &mut impl FnMut(&Drained<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { ring, anchor, dropped_total, .. } = *self;
        let mut run: Vec<Event> = Vec::new();
        let mut run_first = self.first_index;
        for (i, w) in (self.first_index..).zip(&self.words) {
            let ours = Record::generation_of(w) == generation as u32;
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
