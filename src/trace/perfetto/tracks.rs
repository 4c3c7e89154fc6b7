//! Ids of tracks, and which of them the trace has been told of.
//!
//! An id follows from what the track is of, so that it is the same in all files of one capture. The more often a track is
//! written to, the shorter it is: rows come first, counters second. What is kept is bounded.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::interner::hash;
use crate::trace::writer::{ProcessId, Track};

/// Counters that are remembered; what comes on top is described again and again.
const MAX_COUNTERS: usize = 65_536;
/// Rows with asynchronous slices that are remembered.
const MAX_ROWS: usize = 4096;
/// Tracks of one row that a later slice may take over.
const MAX_LANES: usize = 64;

/// The id of the track that stands for the whole trace.
pub(super) const ROOT: u64 = 0;
/// Ids from here on are hashes, as good as never the same.
const FAR: u64 = 1 << 63;
/// Ids of counters are 34 bits of a hash with this bit: five bytes.
const COUNTER: u64 = 1 << 34;

/// The tracks of one trace.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// Ids by the hash of process, name and key.
    counters: HashMap<u64, u64, BuildHasherDefault<AsItIs>>,
    /// Which of those ids are taken.
    taken: HashMap<u64, (), BuildHasherDefault<AsItIs>>,
    rows: HashMap<Track, Lanes>,
    homeless: u64,
}

/// The tracks of the asynchronous slices of a row.
#[derive(Debug, Default)]
struct Lanes {
    /// When each is free; those that are remembered.
    free_from_ns: Vec<u64>,
    more: u64,
}

impl Tracks {
    /// The track of a row; row 0 is the process itself. Two bytes for the first ones, three for most.
    #[inline]
    pub(super) fn row(track: Track) -> u64 {
        let Track { process: ProcessId(process), row } = track;
        match (process, row) {
            (..64, ..128) => 1 << 13 | u64::from(process) << 7 | u64::from(row),
            (..512, ..1024) => 1 << 20 | u64::from(process) << 10 | u64::from(row),
            _ => far(("row", process, row)),
        }
    }

    /// The track of the metadata.
    pub(super) fn metadata(only_rank: Option<u32>) -> u64 {
        far(("metadata", only_rank))
    }

    /// The track of a value, and whether the trace has to be told of it.
    #[inline]
    pub(super) fn counter(&mut self, process: ProcessId, name: &str, key: &str) -> (u64, bool) {
        let hash =
            hash(name.as_bytes()).rotate_left(23) ^ hash(key.as_bytes()).rotate_left(7) ^ u64::from(process.0) << 40;
        match self.counters.get(&hash) {
            Some(&uuid) => (uuid, false),
            None => (self.new_counter(hash, (process, name, key)), true),
        }
    }

    #[cold]
    fn new_counter(&mut self, hash: u64, what: impl Hash) -> u64 {
        let far = far(("counter", what));
        if self.counters.len() >= MAX_COUNTERS {
            return far;
        }
        let short = COUNTER | far & (COUNTER - 1);
        let uuid = if self.taken.insert(short, ()).is_none() { short } else { far };
        self.counters.insert(hash, uuid);
        uuid
    }

    /// A track of a row on which no slice reaches beyond `begin_ns`, and whether the trace has to be told of it.
    pub(super) fn lane(&mut self, track: Track, begin_ns: u64, end_ns: u64) -> (u64, bool) {
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&track) {
            self.homeless += 1;
            return (far(("lane", track, "homeless", self.homeless)), true);
        }
        let lanes = self.rows.entry(track).or_default();
        let free = lanes.free_from_ns.iter().position(|&free_ns| free_ns <= begin_ns);
        let number = free.unwrap_or(lanes.free_from_ns.len());
        match lanes.free_from_ns.get_mut(number) {
            Some(free_from_ns) => *free_from_ns = end_ns,
            None if number < MAX_LANES => lanes.free_from_ns.push(end_ns),
            None => {
                lanes.more += 1;
                return (far(("lane", track, "more", lanes.more)), true);
            }
        }
        (far(("lane", track, number)), free.is_none())
    }
}

/// The same in every run: a trace that is exported again has the same bytes.
fn far(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish() | FAR
}

/// What is a hash already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
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
        let mut tracks = Tracks::default();
        let mut ids = BTreeSet::from([ROOT, Tracks::metadata(None), Tracks::metadata(Some(0))]);
        let mut expected = 3;
        for process in [0, 1, 2, 63, 64, 511, 512, 1000, u32::MAX] {
            for number in [0, 1, 2, 127, 128, 1023, 1024, 5000, u32::MAX] {
                ids.insert(Tracks::row(row(process, number)));
                expected += 1;
            }
        }
        for number in 0..20_000 {
            for process in [1, 2] {
                ids.insert(tracks.counter(ProcessId(process), &format!("c{number}"), "key").0);
                ids.insert(tracks.counter(ProcessId(process), "key", &format!("c{number}")).0);
                expected += 2;
            }
        }
        assert_eq!(ids.len(), expected);
        assert!(Tracks::row(row(63, 127)) < 1 << 14 && Tracks::row(row(511, 1023)) < 1 << 21);
        let (id, is_new) = tracks.counter(ProcessId(1), "c7", "key");
        assert!(id < 1 << 35 && !is_new);
        assert_eq!(Tracks::default().counter(ProcessId(1), "c7", "key"), (id, true), "the same in every file");
    }

    #[test]
    fn counters_beyond_the_table_keep_one_id_and_are_told_again() {
        let mut tracks = Tracks::default();
        for number in 0..MAX_COUNTERS {
            tracks.counter(ProcessId(1), &number.to_string(), "");
        }
        let more = tracks.counter(ProcessId(1), "one more", "");
        assert_eq!((more.1, tracks.counter(ProcessId(1), "one more", "")), (true, more));
        assert_eq!(tracks.counters.len(), MAX_COUNTERS);
    }

    #[test]
    fn slices_on_a_lane_are_disjoint_and_lanes_are_used_again() {
        let mut tracks = Tracks::default();
        let first = tracks.lane(row(1, 1), 0, 10);
        let second = tracks.lane(row(1, 1), 5, 20);
        assert!(first.1 && second.1 && first.0 != second.0);
        assert_eq!(tracks.lane(row(1, 1), 10, 30), (first.0, false));
        let other = tracks.lane(row(1, 2), 40, 50);
        assert!(other.1 && other.0 != second.0);
        let all: BTreeSet<u64> = (0..1000).map(|_| tracks.lane(row(1, 1), 0, u64::MAX).0).collect();
        assert_eq!(all.len(), 1000);
        assert_eq!(tracks.rows[&row(1, 1)].free_from_ns.len(), MAX_LANES);
    }
}
