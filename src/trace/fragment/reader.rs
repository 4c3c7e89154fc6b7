//! Streams a fragment out: whole, checked blocks only, one in memory at a time.
//!
//! Reading stops in front of the first block that is not whole or not sound, and says how many bytes lie behind that
//! point ([`Tail`]). It does not move on, so that the next call finds what a writer has appended meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{BlockHeader, FragmentError, FragmentIdentity, HEADER_BYTES, decode_start};
use crate::trace::clock::WallClock;
use crate::trace::event::{Anchor, EVENT_BYTES, Event};

/// What lies behind the last whole block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// So many bytes of a block that is not whole: torn by a crash, or being written just now.
    Torn(u64),
    /// So many bytes, beginning with a block that is damaged.
    Damaged(u64),
}

impl Tail {
    /// Bytes that are left out.
    pub fn cut_bytes(self) -> u64 {
        match self {
            Self::Clean => 0,
            Self::Torn(bytes) | Self::Damaged(bytes) => bytes,
        }
    }
}

/// One whole block.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Ring the records come from.
    pub ring: u32,
    /// Absolute ring index of the first one.
    pub first_index: u64,
    /// Clocks, as the rank last told them.
    pub anchor: Anchor,
    /// Records that the rank had dropped in this capture by then.
    pub dropped_total: u64,
    payload: &'a [u8],
}

impl<'a> Block<'a> {
    /// Its events in order; `None` for a kind that this version does not know.
    pub fn events(&self) -> impl ExactSizeIterator<Item = Option<Event>> + use<'a> {
        let (slots, _) = self.payload.as_chunks::<EVENT_BYTES>();
        slots.iter().map(Event::from_bytes)
    }
}

/// What the block headers of a fragment tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentScan {
    /// Whose it is.
    pub identity: FragmentIdentity,
    /// Clocks of the first block; `None`: there is no block.
    pub first_anchor: Option<Anchor>,
    /// Clocks of the last block.
    pub last_anchor: Option<Anchor>,
    /// The wall clock, by all of them.
    pub wall_clock: WallClock,
    /// Records dropped, the most that any block says.
    pub dropped_total: u64,
    /// Whole blocks, by their headers.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
}

/// Reads one fragment. Bounded memory: the largest block, at most 256 KiB.
#[derive(Debug)]
pub struct FragmentReader {
    path: PathBuf,
    file: File,
    identity: FragmentIdentity,
    blocks_offset: u64,
    offset: u64,
    buffer: Vec<u8>,
    tail: Tail,
}

impl FragmentReader {
    /// Opens a file and checks its start.
    ///
    /// # Errors
    /// [`FragmentError`]: it can't be read, or is no fragment.
    pub fn open(path: &Path) -> Result<Self, FragmentError> {
        let file = File::open(path).map_err(FragmentError::io(path))?;
        Self::from_file(path, file)
    }

    pub(super) fn from_file(path: &Path, file: File) -> Result<Self, FragmentError> {
        let mut header = [0; HEADER_BYTES];
        if read_up_to(&file, &mut header, 0).map_err(FragmentError::io(path))? < HEADER_BYTES {
            return Err(FragmentError::foreign(path, "it is shorter than a header"));
        }
        let (bytes, crc32) = decode_start(&header).map_err(|reason| FragmentError::foreign(path, reason))?;
        let mut json = vec![0; bytes];
        let got = read_up_to(&file, &mut json, HEADER_BYTES as u64).map_err(FragmentError::io(path))?;
        if got < bytes || crc32fast::hash(&json) != crc32 {
            return Err(FragmentError::foreign(path, "its identity is damaged"));
        }
        let identity = serde_json::from_slice(&json).map_err(|e| FragmentError::foreign(path, e))?;
        let blocks_offset = (HEADER_BYTES + bytes.next_multiple_of(64)) as u64;
        let path = path.to_owned();
        Ok(Self { path, file, identity, blocks_offset, offset: blocks_offset, buffer: Vec::new(), tail: Tail::Clean })
    }

    /// Whose records these are.
    pub fn identity(&self) -> &FragmentIdentity {
        &self.identity
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next block begins: everything before it is whole.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes back to the first block.
    pub fn rewind(&mut self) {
        self.offset = self.blocks_offset;
    }

    /// What stood behind the last whole block when [`Self::next_block`] last gave `None`.
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// The next whole block. `None`: there is none (yet), see [`Self::tail`]; ask again when the file may have grown.
    ///
    /// # Errors
    /// What the file system says.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, FragmentError> {
        let Some(header) = self.next_header().map_err(FragmentError::io(&self.path))? else { return Ok(None) };
        let bytes = header.payload_bytes();
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        let payload = &mut self.buffer[..bytes];
        let got = read_up_to(&self.file, payload, self.offset + HEADER_BYTES as u64);
        if got.map_err(FragmentError::io(&self.path))? < bytes {
            self.tail = Tail::Torn(self.behind().map_err(FragmentError::io(&self.path))?);
            return Ok(None);
        }
        if crc32fast::hash(payload) != header.crc32 {
            self.tail = Tail::Damaged(self.behind().map_err(FragmentError::io(&self.path))?);
            return Ok(None);
        }
        self.offset += (HEADER_BYTES + bytes) as u64;
        let BlockHeader { ring, first_index, anchor, dropped_total, .. } = header;
        Ok(Some(Block { ring, first_index, anchor, dropped_total, payload: &self.buffer[..bytes] }))
    }

    /// Runs over all block headers without reading what is in the blocks, from the first one; does not move the reader.
    ///
    /// # Errors
    /// What the file system says.
    pub fn scan(&self) -> Result<FragmentScan, FragmentError> {
        let length = self.file.metadata().map_err(FragmentError::io(&self.path))?.len();
        let mut scan = FragmentScan {
            identity: self.identity.clone(),
            first_anchor: None,
            last_anchor: None,
            wall_clock: WallClock::default(),
            dropped_total: 0,
            blocks: 0,
            events: 0,
        };
        let mut offset = self.blocks_offset;
        let mut bytes = [0; HEADER_BYTES];
        while read_up_to(&self.file, &mut bytes, offset).map_err(FragmentError::io(&self.path))? == HEADER_BYTES {
            let Some(header) = BlockHeader::decode(&bytes) else { break };
            offset += (HEADER_BYTES + header.payload_bytes()) as u64;
            if offset > length {
                break;
            }
            scan.first_anchor.get_or_insert(header.anchor);
            scan.last_anchor = Some(header.anchor);
            scan.wall_clock.see(header.anchor);
            scan.dropped_total = scan.dropped_total.max(header.dropped_total);
            scan.blocks += 1;
            scan.events += u64::from(header.count);
        }
        Ok(scan)
    }

    fn next_header(&mut self) -> std::io::Result<Option<BlockHeader>> {
        let mut bytes = [0; HEADER_BYTES];
        let got = read_up_to(&self.file, &mut bytes, self.offset)?;
        if got < HEADER_BYTES {
            self.tail = if got == 0 { Tail::Clean } else { Tail::Torn(got as u64) };
            return Ok(None);
        }
        let header = BlockHeader::decode(&bytes);
        if header.is_none() {
            self.tail = Tail::Damaged(self.behind()?);
        }
        Ok(header)
    }

    fn behind(&self) -> std::io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(self.offset))
    }
}

/// Fills `buffer` from `offset` on as far as the file goes.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(bytes) => got += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
