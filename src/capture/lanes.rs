//! What is being recorded: of each rank the way from its rings to its fragment, and beside them what the sidecar itself has
//! to tell.
//!
//! Held by the thread that writes (`files`); rebuilt by `recover`. A fragment is made with its first record.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::collector::rings::{Drained, Lost, Rings};
use crate::trace::event::Event;
use crate::trace::fragment::{FragmentError, FragmentWriter};

use super::beside::gpus::GpuCounters;
use super::beside::proxied::Proxied;
use super::clocks::Clocks;
use super::manifest::CaptureId;
use super::progress::{Kept, Progress};
use super::store::{Store, Unfinished};

/// The rings of one rank, to be drained by the thread that writes.
pub(super) type RankRings = Arc<Mutex<Rings>>;

/// One rank's way from its rings to its fragment.
#[derive(Debug)]
pub(super) struct Lane {
    /// `None`: its segment is not attached (yet).
    pub rings: Option<RankRings>,
    /// What its fragment begins with.
    pub unfinished: Unfinished,
    /// `None`: it has no record yet.
    pub fragment: Option<FragmentWriter>,
    pub kept: Kept,
    pub clocks: Clocks,
}

/// What is being recorded.
#[derive(Debug)]
pub(super) struct Recording {
    pub id: CaptureId,
    pub lanes: Vec<Lane>,
    pub gpus: GpuCounters,
    pub proxied: Proxied,
    pub progress: Arc<Progress>,
    pub failed: Option<String>,
}

impl Recording {
    pub(super) fn unfinished(&self) -> Vec<Unfinished> {
        self.lanes.iter().map(|lane| lane.unfinished.clone()).collect()
    }

    /// How full the fullest ring is, of 1, and how many records the smallest one has room for.
    pub(super) fn rings(&self) -> (f64, u64) {
        let rings = self.lanes.iter().filter_map(|lane| lane.rings.as_ref()).map(lock);
        rings.fold((0.0, u64::MAX), |(fullest, slots), rings| (rings.fullest().max(fullest), rings.slots().min(slots)))
    }

    /// Fetches what is in the rings.
    pub(super) fn drain(&mut self, store: &Store) {
        if self.failed.is_none() && self.gpus.turn() {
            self.progress.set_gpus(self.gpus.report(), self.gpus.bytes());
        }
        if self.failed.is_none() {
            self.proxied.turn(store);
        }
        for (rank, lane) in self.lanes.iter_mut().enumerate() {
            let Some(rings) = lane.rings.clone() else { continue };
            if self.failed.is_some() {
                // Nowhere to put them: the engine's rings must not fill up for that.
                lock(&rings).discard();
                continue;
            }
            let generation = lane.unfinished.identity.generation;
            let before = lane.kept;
            let written = Rings::drain(&rings, generation, |d| lane.keep(store, d));
            if lane.kept != before {
                self.progress.set(rank, lane.kept);
            }
            if let Err(error) = written {
                let reason = error.to_string();
                self.progress.fail(reason.clone());
                self.failed = Some(reason);
            }
        }
    }

    /// A rank of a capture that was taken up is there. What the sidecar before us had in memory alone is gone.
    pub(super) fn attach(&mut self, rank: usize, rings: RankRings, store: &Store) {
        let Some(lane) = self.lanes.get_mut(rank) else { return };
        let lost = lane.lose(store, &lock(&rings));
        lane.rings = Some(rings.clone());
        self.progress.set(rank, lane.kept);
        match lost {
            Ok(()) => lock(&rings).forget_lost(),
            Err(error) => self.fail(error.to_string()),
        }
    }

    pub(super) fn fail(&mut self, reason: String) {
        if self.failed.is_none() {
            self.progress.fail(reason.clone());
            self.failed = Some(reason);
        }
    }

    /// Every rank has a fragment, and its last anchor.
    pub(super) fn end(&mut self, store: &Store) {
        for lane in &mut self.lanes {
            if self.failed.is_some() {
                return;
            }
            let Some(rings) = lane.rings.clone() else { continue };
            let anchor = lock(&rings).anchor();
            let dropped = lock(&rings).dropped_total().saturating_sub(lane.unfinished.dropped_total);
            lane.clocks.see(anchor);
            let written = lane.fragment(store).and_then(|f| f.write_block(0, 0, &[], anchor, dropped));
            self.failed = written.err().map(|error| error.to_string());
        }
    }
}

impl Lane {
    /// One that has no record yet.
    pub(super) fn new(rings: Option<RankRings>, unfinished: Unfinished) -> Self {
        let mut clocks = Clocks::default();
        clocks.see(unfinished.anchor());
        Self { rings, unfinished, fragment: None, kept: Kept::default(), clocks }
    }

    fn keep(&mut self, store: &Store, d: &Drained<'_>) -> Result<(), FragmentError> {
        let before = self.unfinished.dropped_total;
        let fragment = self.fragment(store)?;
        let fresh = fragment.unwritten(d.ring, d.first_index, d.events);
        let dropped = d.dropped_total.saturating_sub(before);
        let bytes = fragment.write_block(d.ring, d.first_index, d.events, d.anchor, dropped)?;
        self.clocks.see(d.anchor);
        self.kept.add(fresh.iter().map(|event| Some(*event)), bytes);
        Ok(())
    }

    /// Writes down what died with the sidecar before us, by the indices of its rings.
    fn lose(&mut self, store: &Store, rings: &Rings) -> Result<(), FragmentError> {
        let before = self.unfinished.dropped_total;
        for Lost { ring, first_index, end_index } in rings.lost() {
            let fragment = self.fragment(store)?;
            let first_index = first_index.max(fragment.next_index(ring).unwrap_or(0));
            // Its last records may have been written and not crossed out.
            let records = end_index.saturating_sub(first_index);
            if records > 0 {
                let event = [Event::Lost(records)];
                let dropped = rings.dropped_total().saturating_sub(before);
                let anchor = rings.anchor();
                let bytes = fragment.write_block(ring, end_index - 1, &event, anchor, dropped)?;
                self.clocks.see(anchor);
                self.kept.add(event.into_iter().map(Some), bytes);
            }
        }
        Ok(())
    }

    /// Its fragment, made if it has none: with the anchor of the moment at which the window was agreed on.
    fn fragment(&mut self, store: &Store) -> Result<&mut FragmentWriter, FragmentError> {
        let fragment = match self.fragment.take() {
            Some(fragment) => fragment,
            None => {
                let path = store.fragment(&self.unfinished.identity);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)
                        .map_err(|source| FragmentError::Io { path: folder.to_owned(), source })?;
                }
                let mut fragment = FragmentWriter::create(&path, &self.unfinished.identity)?;
                fragment.write_block(0, 0, &[], self.unfinished.anchor(), 0)?;
                fragment
            }
        };
        Ok(self.fragment.insert(fragment))
    }
}

/// Never for long: nobody holds it while a disk writes.
pub(super) fn lock(rings: &RankRings) -> MutexGuard<'_, Rings> {
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}
