//! The segment's file: made by an agent, found and mapped by a sidecar.
//!
//! [`Segment::create`] (see [`super::create`]) is the agent's way in, [`Segment::attach`] the sidecar's. Both give the same view: the header as
//! it was copied out and checked, the control and status blocks (atomics only), the rings. A segment is opened once per
//! process (see [`super::lock`] for why) and unmapped when dropped.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;

use super::clock::ClockKind;
use super::layout::{
    CONTROL_OFFSET, Control, Header, RECORD_BYTES, RINGS_OFFSET, RingDescriptor, STATUS_OFFSET, Shape, Status,
};
use super::lock::{self, Party};
use super::record::Words;
use super::ring::MappedRing;
use super::sigbus;
use super::system;
use super::text::PathText;

pub use super::create::{CreateError, Identity};
pub use super::folder::{default_folder, prepare_folder, user_id};

/// Ending of a segment's file name.
pub const EXTENSION: &str = "seg";

/// Whose segments a sidecar takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Files of our own user.
    Owner,
    /// Files of the folder's group as well.
    Group,
}

/// Why a sidecar does not take a segment.
#[derive(Debug)]
pub enum AttachError {
    /// Another sidecar drains it.
    Elsewhere,
    /// Not ours, or not a segment: the sentence says which, and what mends it.
    Refused(String),
    /// The file went away meanwhile.
    Gone,
    /// Anything else the kernel said.
    Io(io::Error),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("attached elsewhere: another sidecar drains this segment"),
            Self::Refused(why) => f.write_str(why),
            Self::Gone => f.write_str("the file went away"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for AttachError {}

/// A mapped segment.
#[derive(Debug)]
pub struct Segment {
    pub(super) base: *mut u8,
    pub(super) shape: Shape,
    pub(super) header: Header,
    pub(super) file: OwnedFd,
    pub(super) path: PathText,
    pub(super) guard: Option<sigbus::Guard>,
}

// SAFETY: the mapping may be used from any thread; what is in it is atomics, or owned by protocol.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// Opens, checks, locks and maps the segment at `path` as its one consumer.
    ///
    /// # Errors
    /// See [`AttachError`]; the file is left as it was.
    pub fn attach(path: &Path, trust: Trust) -> Result<Self, AttachError> {
        let name = PathText::from(path);
        if name.is_cut() {
            return Err(AttachError::Refused("its path is too long".into()));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => AttachError::Gone,
                io::ErrorKind::PermissionDenied => AttachError::Refused(
                    "permission denied: run the sidecar as the engine's user, or share a folder of mode 2770 with a common group and start it with --trust-group".into(),
                ),
                _ => AttachError::Io(e),
            })?;
        let meta = file.metadata().map_err(AttachError::Io)?;
        owner_is_trusted(path, &meta, trust)?;
        if !meta.is_file() {
            return Err(AttachError::Refused("not a regular file".into()));
        }
        if meta.len() < size_of::<Header>() as u64 || meta.len() > *super::layout::SEGMENT_BYTES_RANGE.end() {
            return Err(AttachError::Refused(format!("a file of {} bytes is no segment", meta.len())));
        }
        let mut bytes = [0u8; size_of::<Header>()];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).map_err(AttachError::Io)?;
        // SAFETY: every bit pattern is a valid Header: integers and byte arrays only.
        let header: Header = unsafe { bytes.as_ptr().cast::<Header>().read_unaligned() };
        let shape = header.check(meta.len()).map_err(AttachError::Refused)?;
        if ClockKind::from_word(header.clock).is_none() {
            return Err(AttachError::Refused("segment uses a clock that this processor has not".into()));
        }
        match lock::take(file.as_fd(), Party::Consumer) {
            Ok(true) => {}
            Ok(false) => return Err(AttachError::Elsewhere),
            Err(code) => return Err(AttachError::Io(io::Error::from_raw_os_error(code))),
        }
        let file = OwnedFd::from(file);
        let base =
            map(&file, shape.segment_bytes).map_err(|code| AttachError::Io(io::Error::from_raw_os_error(code)))?;
        let guard = sigbus::Guard::new(base as usize, shape.segment_bytes as usize);
        let segment = Self { base, shape, header, file, path: name, guard };
        if segment.guard.is_none() {
            return Err(AttachError::Refused("more segments than one sidecar takes".into()));
        }
        Ok(segment)
    }

    /// The header, as it was when the segment was made or attached.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its clock.
    pub fn clock(&self) -> ClockKind {
        ClockKind::from_word(self.header.clock).unwrap_or(ClockKind::Monotonic)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.path.as_path()
    }

    /// First byte of the mapping; for the hook, which wants its words without a detour.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// The control block.
    pub fn control(&self) -> &Control {
        // SAFETY: in bounds and aligned by the layout; only atomics inside.
        unsafe { &*self.base.add(CONTROL_OFFSET as usize).cast() }
    }

    /// The status block.
    pub fn status(&self) -> &Status {
        // SAFETY: in bounds and aligned by the layout; only atomics inside.
        unsafe { &*self.base.add(STATUS_OFFSET as usize).cast() }
    }

    /// Number of rings.
    pub fn ring_count(&self) -> u32 {
        self.shape.ring_count
    }

    /// Ring `index`.
    ///
    /// # Panics
    /// When there is no such ring.
    pub fn ring(&self, index: u32) -> MappedRing {
        assert!(index < self.shape.ring_count, "ring out of range");
        let capacity = u64::from(self.shape.ring_records);
        let descriptor = RINGS_OFFSET as usize + index as usize * size_of::<RingDescriptor>();
        let slots = self.shape.data_offset + u64::from(index) * capacity * RECORD_BYTES;
        // SAFETY: both lie within the mapping: the shape was computed from its size.
        unsafe {
            MappedRing {
                descriptor: self.base.add(descriptor).cast(),
                slots: self.base.add(slots as usize).cast::<Words>(),
                capacity,
            }
        }
    }

    /// Records dropped so far, over all rings and for want of one.
    pub fn dropped(&self) -> u64 {
        (0..self.ring_count())
            .map(|i| self.ring(i).descriptor().dropped.load(Ordering::Relaxed))
            .fold(self.status().dropped_without_ring.load(Ordering::Relaxed), u64::wrapping_add)
    }

    /// Whether every published record has been consumed.
    pub fn drained(&self) -> bool {
        (0..self.ring_count()).all(|i| {
            let ring = self.ring(i);
            let descriptor = ring.descriptor();
            descriptor.head.load(Ordering::Acquire) == descriptor.tail.load(Ordering::Acquire)
        })
    }

    /// Whether the process that made the segment lives. Only for a segment of another process.
    pub fn alive(&self) -> bool {
        self.held_by_other(Party::Agent) == Some(true)
    }

    /// Whether another process holds the lock of `party`; `None` when the kernel does not say.
    pub fn held_by_other(&self, party: Party) -> Option<bool> {
        lock::holder(self.file.as_fd(), party).ok().map(|h| h.is_some())
    }

    /// The process that made the segment, as our pid namespace has it; `None` where that can't see it.
    pub fn agent_pid(&self) -> Option<u32> {
        let holder = lock::holder(self.file.as_fd(), Party::Agent).ok().flatten()?;
        u32::try_from(holder).ok().filter(|&pid| pid != 0)
    }

    /// Whether the file was cut short under the mapping.
    pub fn lost(&self) -> bool {
        self.guard.as_ref().is_some_and(sigbus::Guard::lost)
            || system::status_of(&self.file).is_ok_and(|s| (s.st_size as u64) < self.shape.segment_bytes)
    }

    /// Wakes the agent's helper thread.
    pub fn wake(&self) {
        let wake = &self.control().wake;
        wake.fetch_add(1, Ordering::Release);
        // SAFETY: a valid, aligned word of a shared mapping; shared futex, so it works across processes.
        unsafe { libc::syscall(libc::SYS_futex, wake.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    /// Sleeps until [`Self::wake`] moves the word away from `seen`, or until `timeout_ns` have passed (`None`: no limit).
    pub fn sleep(&self, seen: u32, timeout_ns: Option<u64>) {
        let time = timeout_ns.map(|ns| libc::timespec {
            tv_sec: (ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: as above; time is null or valid for the call.
        unsafe { libc::syscall(libc::SYS_futex, self.control().wake.as_ptr(), libc::FUTEX_WAIT, seen, time) };
    }

    /// Removes the file. The mapping stays.
    pub fn unlink(&self) {
        let _ = system::remove(&self.path);
    }

    /// Writes names, before their length is published; nothing where it would be out of bounds.
    pub(super) fn write_bytes(&self, offset: u64, bytes: &[u8]) {
        if self.is_within(offset, bytes.len()) {
            // SAFETY: in bounds; nobody reads there yet.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset as usize), bytes.len()) };
        }
    }

    /// Reads names; leaves `out` as it is where it would be out of bounds.
    pub(super) fn read_bytes(&self, offset: u64, out: &mut [u8]) {
        if self.is_within(offset, out.len()) {
            for (i, byte) in out.iter_mut().enumerate() {
                // SAFETY: in bounds; volatile byte reads, because a stranger may write meanwhile.
                *byte = unsafe { self.base.add(offset as usize + i).read_volatile() };
            }
        }
    }

    fn is_within(&self, offset: u64, bytes: usize) -> bool {
        offset.checked_add(bytes as u64).is_some_and(|end| end <= self.shape.segment_bytes)
    }

    /// Whether a place lies in this mapping.
    pub fn holds(&self, place: *const u8) -> bool {
        (place as usize).wrapping_sub(self.base as usize) < self.shape.segment_bytes as usize
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: unmaps what `map` mapped; nothing borrows from it any more.
        unsafe { libc::munmap(self.base.cast(), self.shape.segment_bytes as usize) };
    }
}

pub(super) fn map(file: &OwnedFd, bytes: u64) -> Result<*mut u8, i32> {
    // SAFETY: a fresh shared mapping of a file that is at least this long.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            file.as_raw_fd(),
            0,
        )
    };
    if base == libc::MAP_FAILED { Err(system::last_error()) } else { Ok(base.cast()) }
}

fn owner_is_trusted(path: &Path, meta: &fs::Metadata, trust: Trust) -> Result<(), AttachError> {
    if meta.uid() == user_id() {
        return Ok(());
    }
    let folder = path.parent().and_then(|p| fs::metadata(p).ok());
    let group = folder.filter(|f| f.mode() & 0o2000 != 0).map(|f| f.gid());
    match (trust, group) {
        (Trust::Group, Some(gid)) if gid == meta.gid() => Ok(()),
        (Trust::Group, _) => Err(AttachError::Refused(format!(
            "owned by user {} and group {}, which is not the folder's group: chgrp the folder and chmod 2770 it, then restart the engine",
            meta.uid(),
            meta.gid()
        ))),
        (Trust::Owner, _) => Err(AttachError::Refused(format!(
            "owned by user {}, and this sidecar runs as {}: run it as the engine's user, or start it with --trust-group on a folder of mode 2770",
            meta.uid(),
            user_id()
        ))),
    }
}
