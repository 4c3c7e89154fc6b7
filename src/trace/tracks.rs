//! The rows that spans and events of one fragment go to, made as they are first needed.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::event::Thread;
use super::nesting::Nesting;
use super::told::ToldSink;

/// Rows that a fragment may have; what needs more is left out and counted.
pub(super) const MAX_TRACKS: usize = 1024;

/// What makes one row another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TrackKey {
    /// NVTX ranges of a thread, by domain.
    Thread(u64, Option<Rc<str>>),
    /// What the recorder of a thread told.
    Recorder(u64),
    /// A logical track, by its number.
    Logical(u64),
    /// NVTX ranges that may overlap.
    Ranges,
    /// Durations told afterwards.
    Durations,
}

impl TrackKey {
    /// Rows of one family stand together.
    fn family(&self) -> (u8, u64) {
        match self {
            Self::Thread(tid, _) | Self::Recorder(tid) => (0, *tid),
            Self::Logical(number) => (1, *number),
            Self::Ranges => (2, 0),
            Self::Durations => (3, 0),
        }
    }
}

/// A row.
#[derive(Debug)]
pub(super) struct TrackHead {
    pub(super) key: TrackKey,
    /// In the order in which the fragment tells of them.
    pub(super) number: u32,
    /// Order in which people want them: a thread's rows stand together.
    pub(super) sort_index: u32,
    /// The thread, for its rows.
    pub(super) thread: Option<Thread>,
    /// What a logical track is called, once it is known.
    pub(super) name: Option<Rc<str>>,
}

/// A row while it is written.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) head: TrackHead,
    pub(super) nesting: Nesting,
}

/// All rows of a fragment.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    tracks: BTreeMap<TrackKey, Track>,
    /// Where each family's rows begin in the order, and how many it has.
    families: BTreeMap<(u8, u64), (u32, u32)>,
    names: BTreeMap<u64, Rc<str>>,
}

impl Tracks {
    /// The row of this key; told to the sink if it is new. `None`: there are too many.
    pub(super) fn of(
        &mut self,
        key: TrackKey,
        thread: Option<Thread>,
        sink: &mut impl ToldSink,
    ) -> io::Result<Option<&mut Track>> {
        if !self.tracks.contains_key(&key) {
            if self.tracks.len() >= MAX_TRACKS {
                return Ok(None);
            }
            let before = self.families.len() as u32 * MAX_TRACKS as u32;
            let (first, count) = self.families.entry(key.family()).or_insert((before, 0));
            // The thread's own row above those of its domains.
            let rank = if matches!(key, TrackKey::Thread(_, None)) { 0 } else { 1 + *count };
            *count += 1;
            let name = if let TrackKey::Logical(number) = &key { self.names.get(number).cloned() } else { None };
            let (number, sort_index) = (self.tracks.len() as u32, *first + rank);
            let head = TrackHead { key: key.clone(), number, sort_index, thread, name };
            sink.track(&head)?;
            self.tracks.insert(key.clone(), Track { head, nesting: Nesting::default() });
        }
        Ok(self.tracks.get_mut(&key))
    }

    /// A logical track gets its name; told to the sink if it is there already under another one.
    pub(super) fn name(&mut self, number: u64, name: Rc<str>, sink: &mut impl ToldSink) -> io::Result<()> {
        if let Some(track) = self.tracks.get_mut(&TrackKey::Logical(number))
            && track.head.name.as_ref() != Some(&name)
        {
            track.head.name = Some(name.clone());
            sink.track(&track.head)?;
        }
        if self.names.len() < MAX_TRACKS || self.names.contains_key(&number) {
            self.names.insert(number, name);
        }
        Ok(())
    }
}
