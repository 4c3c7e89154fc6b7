//! Ids of tracks, and which of them the trace has been told of.
//!
//! The ids of processes and rows follow from their numbers: nothing is kept for them. Counters and the tracks of
//! asynchronous slices are numbered as they come, in tables of bounded size.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::trace::writer::{ProcessId, Track};

/// Counters that are remembered; what comes on top is described again and again.
const MAX_COUNTERS: usize = 65_536;
/// Rows with asynchronous slices that are remembered.
const MAX_ROWS: usize = 4096;
/// Tracks of one row that a later slice may take over.
const MAX_LANES: usize = 64;

/// The id of the track that stands for the whole trace.
pub(super) const ROOT: u64 = 0;

/// The tracks of one trace.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// Of 21 bits: with the numbers of the first tracks an id has five bytes.
    salt: u64,
    numbers: u64,
    counters: HashMap<u64, u64>,
    rows: HashMap<Track, Vec<Lane>>,
}

/// A track of asynchronous slices.
#[derive(Debug, Clone, Copy)]
struct Lane {
    uuid: u64,
    /// Free from then on.
    end_ns: u64,
}

impl Tracks {
    /// The tracks of all files of one capture have the same ids.
    pub(super) fn new(base_ns: u64) -> Self {
        Self { salt: mixed((base_ns, "track")) & 0x1f_ffff, ..Self::default() }
    }

    /// The track of a row; row 0 is the process itself.
    #[inline]
    pub(super) fn row(&self, track: Track) -> u64 {
        let Track { process: ProcessId(process), row } = track;
        if process < 64 && row < 128 {
            self.salt << 14 | u64::from(process) << 8 | u64::from(row) << 1
        } else {
            far((self.salt, process, row))
        }
    }

    /// The track of the metadata.
    pub(super) fn metadata(&self) -> u64 {
        far((self.salt, "metadata"))
    }

    /// What makes the ids of flows the trace's own.
    pub(super) fn flow_salt(&self) -> u64 {
        mixed((self.salt, "flow"))
    }

    /// The track of a value, and whether the trace has to be told of it.
    pub(super) fn counter(&mut self, process: ProcessId, name: &str, key: &str) -> (u64, bool) {
        let hash = mixed((self.salt, process, name, key));
        if let Some(&uuid) = self.counters.get(&hash) {
            return (uuid, false);
        }
        if self.counters.len() >= MAX_COUNTERS {
            return (hash | 1 << 63, true);
        }
        let uuid = self.number();
        self.counters.insert(hash, uuid);
        (uuid, true)
    }

    /// A track of a row on which no slice reaches beyond `begin_ns`, and whether the trace has to be told of it.
    pub(super) fn lane(&mut self, track: Track, begin_ns: u64, end_ns: u64) -> (u64, bool) {
        let uuid = self.numbers + 1;
        let uuid = self.numbered(uuid);
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&track) {
            self.numbers += 1;
            return (uuid, true);
        }
        let lanes = self.rows.entry(track).or_default();
        if let Some(free) = lanes.iter_mut().find(|lane| lane.end_ns <= begin_ns) {
            free.end_ns = end_ns;
            return (free.uuid, false);
        }
        self.numbers += 1;
        if lanes.len() < MAX_LANES {
            lanes.push(Lane { uuid, end_ns });
        }
        (uuid, true)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbered(self.numbers)
    }

    /// Odd, where those of rows are even.
    fn numbered(&self, number: u64) -> u64 {
        if number < 1 << 13 { self.salt << 14 | number << 1 | 1 } else { far((self.salt, number)) }
    }
}

/// An id beyond those that are counted.
fn far(what: impl Hash) -> u64 {
    mixed(what) | 1 << 63
}

/// The same in every run: a trace that is exported again has the same bytes.
pub(super) fn mixed(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn row(process: u32, row: u32) -> Track {
        Track { process: ProcessId(process), row }
    }

    #[test]
    fn every_track_has_an_id_of_its_own_and_the_first_ones_are_short() {
        let mut tracks = Tracks::new(1_800_000_000_000_000_000);
        let mut ids = BTreeSet::from([ROOT, tracks.metadata()]);
        let mut expected = 2;
        for process in [1, 2, 63, 64, 1000, u32::MAX] {
            for number in [0, 1, 2, 127, 128, 5000, u32::MAX] {
                ids.insert(tracks.row(row(process, number)));
                expected += 1;
            }
        }
        assert!(tracks.row(row(63, 127)) < 1 << 35);
        for number in 0..20_000 {
            ids.insert(tracks.counter(ProcessId(1), &format!("c{number}"), "").0);
            expected += 1;
        }
        assert_eq!(ids.len(), expected);
        assert_eq!(tracks.counter(ProcessId(1), "c7", "").1, false);
    }

    #[test]
    fn counters_beyond_the_table_keep_one_id_and_are_told_again() {
        let mut tracks = Tracks::new(0);
        for number in 0..MAX_COUNTERS {
            tracks.counter(ProcessId(1), &number.to_string(), "");
        }
        let more = tracks.counter(ProcessId(1), "one more", "");
        assert_eq!((more.1, tracks.counter(ProcessId(1), "one more", "")), (true, more));
        assert_eq!(tracks.counters.len(), MAX_COUNTERS);
    }

    #[test]
    fn slices_on_a_lane_are_disjoint_and_lanes_are_used_again() {
        let mut tracks = Tracks::new(0);
        let first = tracks.lane(row(1, 1), 0, 10);
        let second = tracks.lane(row(1, 1), 5, 20);
        assert!(first.1 && second.1 && first.0 != second.0);
        assert_eq!(tracks.lane(row(1, 1), 10, 30), (first.0, false));
        let other = tracks.lane(row(1, 2), 40, 50);
        assert!(other.1 && other.0 != second.0);
        let all: BTreeSet<u64> = (0..1000).map(|_| tracks.lane(row(1, 1), 0, u64::MAX).0).collect();
        assert_eq!(all.len(), 1000);
        assert_eq!(tracks.rows[&row(1, 1)].len(), MAX_LANES);
    }
}
