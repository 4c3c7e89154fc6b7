//! The layout of a fragment, and the checks on every field of it. All integers are little-endian.
//!
//! | bytes of the file header | what |
//! | --- | --- |
//! | 0..8 | magic `SSFRAG01` |
//! | 8..12 | format version, 1 |
//! | 12..16 | bytes of the identity |
//! | 16..20 | CRC-32 of the identity |
//! | 20..64 | 0 |
//!
//! Behind it lies the identity, JSON, filled with spaces to a multiple of 64; then blocks, each a header and `count`
//! events of 64 bytes ([`crate::trace::event`]):
//!
//! | bytes of a block header | what |
//! | --- | --- |
//! | 0..4 | magic `SSBK` |
//! | 4..8 | ring |
//! | 8..16 | absolute ring index of the first record |
//! | 16..20 | count of events; 0 is fine: it brings an anchor and a drop count |
//! | 20..24 | CRC-32 of the events |
//! | 24..48 | anchor: ticks, CLOCK_MONOTONIC, CLOCK_REALTIME |
//! | 48..56 | records that the rank has dropped in this capture so far |
//! | 56..60 | CRC-32 of bytes 0..56 |
//! | 60..64 | 0 |

use std::path::{Path, PathBuf};

use crate::trace::counter::GpuIdentity;
use crate::trace::event::{Anchor, EVENT_BYTES, long, word};

/// Bytes of the file header, of a block header and of an event.
pub const HEADER_BYTES: usize = 64;
/// Most events of one block: 256 KiB, what a reader holds.
pub const MAX_BLOCK_EVENTS: usize = 4096;
/// Highest ring number, plus one.
pub const MAX_RINGS: u32 = 4096;
/// Role of the fragment that holds the sidecar's own counters: it is no rank's, and its ticks are nanoseconds.
pub const COUNTERS: &str = "counters";
/// [`FragmentIdentity::role`] of a process that runs no iterations.
pub const SOURCE: &str = "source";
/// Role of the fragment of requests that passed through the sidecar: no rank's, and its ticks are nanoseconds.
pub const PROXY: &str = "proxy";
/// Longest identity.
pub const MAX_IDENTITY_BYTES: usize = 64 * 1024;

const FILE_MAGIC: &[u8; 8] = b"SSFRAG01";
const BLOCK_MAGIC: &[u8; 4] = b"SSBK";
const FORMAT_VERSION: u32 = 1;

/// Whose records these are.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct FragmentIdentity {
    /// The capture.
    pub capture_id: String,
    /// Job of the rank.
    pub job: String,
    /// Group of the rank.
    pub group: String,
    /// Rank in the group.
    pub rank: u32,
    /// Ranks of the group; 0 when the engine does not say.
    pub world_size: u32,
    /// What people call it.
    pub label: String,
    /// Engine and version.
    pub engine: String,
    /// Process id in the engine's pid namespace.
    pub pid: u32,
    /// `rank`, [`SOURCE`], or [`COUNTERS`] and [`PROXY`] for the sidecar's own.
    pub role: String,
    /// Which segment the records come from: two processes of one rank differ in it.
    pub segment_instance: u64,
    /// Generation of the control block that this capture is.
    pub generation: u64,
    /// First iteration that was agreed on.
    pub first_iteration: u64,
    /// Rate of the engine's counter, for a fragment whose anchors coincide; 0: not known.
    #[serde(default)]
    pub ticks_per_second: u64,
    /// The GPUs that counters speak of, in the order of their numbers; empty in a rank's fragment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuIdentity>,
}

impl FragmentIdentity {
    /// Whether it is of a process that runs iterations.
    pub fn runs_iterations(&self) -> bool {
        ![SOURCE, PROXY, COUNTERS].contains(&&*self.role)
    }
}

/// Why a file can't be used as a fragment.
#[derive(Debug, thiserror::Error)]
pub enum FragmentError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The start of the file is not a fragment's; nothing of it can be used.
    #[error("{path} is not a fragment: {reason}")]
    NotAFragment {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl FragmentError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn foreign(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::NotAFragment { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// The start of a file: header and identity. `None`: the identity is longer than [`MAX_IDENTITY_BYTES`].
pub(super) fn encode_start(identity: &FragmentIdentity) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(identity).ok().filter(|json| json.len() <= MAX_IDENTITY_BYTES)?;
    let mut start = Vec::with_capacity(HEADER_BYTES + json.len().next_multiple_of(64));
    start.extend_from_slice(FILE_MAGIC);
    start.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    start.extend_from_slice(&(json.len() as u32).to_le_bytes());
    start.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    start.resize(HEADER_BYTES, 0);
    start.extend_from_slice(&json);
    start.resize(start.len().next_multiple_of(64), b' ');
    Some(start)
}

/// Length of the identity and its checksum, or what is wrong with the file header.
pub(super) fn decode_start(header: &[u8; HEADER_BYTES]) -> Result<(usize, u32), String> {
    if &header[..8] != FILE_MAGIC {
        return Err("it does not begin with SSFRAG01".into());
    }
    let version = word(header, 8);
    if version != FORMAT_VERSION {
        return Err(format!("it has format version {version}, this stepscope reads {FORMAT_VERSION}"));
    }
    let bytes = word(header, 12) as usize;
    if bytes > MAX_IDENTITY_BYTES {
        return Err(format!("its identity claims {bytes} bytes, at most {MAX_IDENTITY_BYTES} are allowed"));
    }
    Ok((bytes, word(header, 16)))
}

/// A block's header, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) ring: u32,
    pub(super) first_index: u64,
    pub(super) count: u32,
    pub(super) crc32: u32,
    pub(super) anchor: Anchor,
    pub(super) dropped_total: u64,
}

impl BlockHeader {
    pub(super) fn payload_bytes(&self) -> usize {
        self.count as usize * EVENT_BYTES
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(BLOCK_MAGIC);
        bytes[4..8].copy_from_slice(&self.ring.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_index.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.crc32.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.anchor.ticks.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.anchor.monotonic_ns.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.anchor.realtime_ns.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.dropped_total.to_le_bytes());
        let crc32 = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc32.to_le_bytes());
        bytes
    }

    /// `None`: not a block header, or one that no writer of ours makes.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let header = Self {
            ring: word(bytes, 4),
            first_index: long(bytes, 8),
            count: word(bytes, 16),
            crc32: word(bytes, 20),
            anchor: Anchor { ticks: long(bytes, 24), monotonic_ns: long(bytes, 32), realtime_ns: long(bytes, 40) },
            dropped_total: long(bytes, 48),
        };
        let sound = &bytes[..4] == BLOCK_MAGIC
            && crc32fast::hash(&bytes[..56]) == word(bytes, 56)
            && header.ring < MAX_RINGS
            && header.count as usize <= MAX_BLOCK_EVENTS
            && header.first_index.checked_add(u64::from(header.count)).is_some();
        sound.then_some(header)
    }
}
