//! Appends blocks to a fragment: one write per block, no fsync per block, nothing twice.
//!
//! A block that fails half-way (disk full) is overwritten by the next one: the writer goes by its own length and not by
//! the file's. After a crash [`FragmentWriter::append`] cuts the torn tail off and says, ring by ring, which absolute
//! index comes next; what a caller hands in below it is skipped.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{BlockHeader, FragmentError, FragmentIdentity, MAX_BLOCK_EVENTS, MAX_RINGS, encode_start};
use super::reader::FragmentReader;
use crate::trace::event::{Anchor, EVENT_BYTES, Event};

/// What stood in a fragment that is taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Whose it is.
    pub identity: FragmentIdentity,
    /// Bytes cut off its end.
    pub cut_bytes: u64,
    /// Per ring, the absolute index of the first record that is not in it.
    pub next_index: BTreeMap<u32, u64>,
}

/// Writes one fragment.
#[derive(Debug)]
pub struct FragmentWriter {
    path: PathBuf,
    file: File,
    length: u64,
    next_index: BTreeMap<u32, u64>,
    buffer: Vec<u8>,
}

impl FragmentWriter {
    /// Makes a new file; one that is there is an error.
    ///
    /// # Errors
    /// [`FragmentError`]: the file system said no, or the identity is too long.
    pub fn create(path: &Path, identity: &FragmentIdentity) -> Result<Self, FragmentError> {
        let start = encode_start(identity).ok_or_else(|| invalid("the identity is too long"));
        let start = start.map_err(FragmentError::io(path))?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(FragmentError::io(path))?;
        file.write_all_at(&start, 0).map_err(FragmentError::io(path))?;
        let (path, length) = (path.to_owned(), start.len() as u64);
        Ok(Self { path, file, length, next_index: BTreeMap::new(), buffer: Vec::new() })
    }

    /// Takes up a file after a crash: checks every block, cuts what is torn or damaged.
    ///
    /// # Errors
    /// [`FragmentError::NotAFragment`] when not even its start is whole (then nothing was ever in it: remove it and
    /// create it anew); [`FragmentError::Io`].
    pub fn append(path: &Path) -> Result<(Self, Recovered), FragmentError> {
        let open = || OpenOptions::new().read(true).write(true).open(path).map_err(FragmentError::io(path));
        let file = open()?;
        let mut reader = FragmentReader::from_file(path, open()?)?;
        let mut next_index = BTreeMap::new();
        while let Some(block) = reader.next_block()? {
            let next = next_index.entry(block.ring).or_insert(0);
            *next = block.first_index.saturating_add(block.events().len() as u64).max(*next);
        }
        let length = reader.offset();
        // A stop right behind the identity's last byte leaves its padding off: filled up here, the block begins aligned.
        file.set_len(length).map_err(FragmentError::io(path))?;
        let recovered = Recovered {
            identity: reader.identity().clone(),
            cut_bytes: reader.tail().cut_bytes(),
            next_index: next_index.clone(),
        };
        Ok((Self { path: path.to_owned(), file, length, next_index, buffer: Vec::new() }, recovered))
    }

    /// Appends the events of one ring, `events[i]` being the ring's record `first_index + i`; those that are there
    /// already are skipped. No events at all is fine: the anchor and the drop count are then written alone, which is
    /// how a window's closing anchor gets in. Returns the bytes written.
    ///
    /// # Errors
    /// What the file system says; the file still ends in a whole block for every reader.
    pub fn write_block(
        &mut self,
        ring: u32,
        first_index: u64,
        events: &[Event],
        anchor: Anchor,
        dropped_total: u64,
    ) -> Result<u64, FragmentError> {
        if ring >= MAX_RINGS {
            return Err(FragmentError::io(&self.path)(invalid("the ring's number is too high")));
        }
        let fresh = self.unwritten(ring, first_index, events);
        let skipped = (events.len() - fresh.len()) as u64;
        let (mut index, mut events, before) = (first_index.saturating_add(skipped), fresh, self.length);
        loop {
            let (now, later) = events.split_at(events.len().min(MAX_BLOCK_EVENTS));
            self.write_one(ring, index, now, anchor, dropped_total).map_err(FragmentError::io(&self.path))?;
            index += now.len() as u64;
            if !now.is_empty() {
                self.next_index.insert(ring, index);
            }
            events = later;
            if events.is_empty() {
                return Ok(self.length - before);
            }
        }
    }

    fn write_one(
        &mut self,
        ring: u32,
        first_index: u64,
        events: &[Event],
        anchor: Anchor,
        dropped_total: u64,
    ) -> std::io::Result<()> {
        self.buffer.clear();
        self.buffer.reserve((1 + events.len()) * EVENT_BYTES);
        self.buffer.extend_from_slice(&[0; EVENT_BYTES]);
        for event in events {
            self.buffer.extend_from_slice(&event.to_bytes());
        }
        let crc32 = crc32fast::hash(&self.buffer[EVENT_BYTES..]);
        let header = BlockHeader { ring, first_index, count: events.len() as u32, crc32, anchor, dropped_total };
        self.buffer[..EVENT_BYTES].copy_from_slice(&header.encode());
        self.file.write_all_at(&self.buffer, self.length)?;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Those of a ring's events, `events[i]` being its record `first_index + i`, that are not in the file yet.
    pub fn unwritten<'a>(&self, ring: u32, first_index: u64, events: &'a [Event]) -> &'a [Event] {
        let next = self.next_index.get(&ring).copied().unwrap_or(0);
        let skipped = next.saturating_sub(first_index).min(events.len() as u64);
        &events[skipped as usize..]
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// The absolute index behind the last record written of a ring; `None`: none was.
    pub fn next_index(&self, ring: u32) -> Option<u64> {
        self.next_index.get(&ring).copied()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings everything to the disk; once, when the window has closed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn sync(&self) -> Result<(), FragmentError> {
        // A block that failed half-way may still lie behind the end.
        self.file.set_len(self.length).and_then(|()| self.file.sync_data()).map_err(FragmentError::io(&self.path))
    }
}

fn invalid(what: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, what)
}
