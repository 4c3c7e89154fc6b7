//! The segment's file: made by an agent, found and mapped by a sidecar.
//!
//! [`Segment::create`] is the agent's way in, [`Segment::attach`] the sidecar's. Both give the same view: the header as
//! it was copied out and checked, the control and status blocks (atomics only), the rings. A segment is opened once per
//! process (see [`super::lock`] for why) and unmapped when dropped.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::{self, ClockKind};
use super::layout::{
    CONTROL_OFFSET, Control, Header, LAYOUT_VERSION, MAGIC, RECORD_BYTES, RINGS_OFFSET, RingDescriptor, Role,
    STATUS_OFFSET, Shape, Status, pack,
};
use super::lock::{self, Party};
use super::record::Words;
use super::ring::MappedRing;
use super::sigbus;

pub use super::folder::{default_folder, prepare_folder, user_id};

/// Ending of a segment's file name.
pub const EXTENSION: &str = "seg";

/// Who a process is, as it says itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// All groups of one engine.
    pub job: String,
    /// The ranks that step together.
    pub group: String,
    /// Rank within the group.
    pub rank: u32,
    /// Ranks of the group; 0 when not known.
    pub world_size: u32,
    /// Runs iterations, or emits spans only.
    pub role: Role,
    /// Engine and version.
    pub engine: String,
    /// What people call the rank.
    pub label: String,
    /// The process this one was forked from, or 0.
    pub forked_from: u32,
}

/// Why an agent could not make its segment. The engine runs on without it.
#[derive(Debug)]
pub enum CreateError {
    /// The folder cannot be used, and why.
    Folder(PathBuf, String),
    /// No room for a whole segment.
    Space {
        /// Where.
        folder: PathBuf,
        /// How much was asked for.
        needed_bytes: u64,
    },
    /// Anything else the kernel said.
    Io(&'static str, io::Error),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder, why) => write!(f, "segment folder {}: {why}", folder.display()),
            Self::Space { folder, needed_bytes } => write!(
                f,
                "no room for a segment of {needed_bytes} bytes in {}: enlarge it (--shm-size in a container) or set STEPSCOPE_SEGMENT_BYTES lower",
                folder.display()
            ),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for CreateError {}

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
    base: *mut u8,
    shape: Shape,
    header: Header,
    file: File,
    path: PathBuf,
    guard: Option<sigbus::Guard>,
}

// SAFETY: the mapping may be used from any thread; what is in it is atomics, or owned by protocol.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes, reserves, fills and publishes a segment of this process in `folder`.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing is left behind.
    pub fn create(folder: &Path, identity: &Identity, bytes: u64) -> Result<Self, CreateError> {
        prepare_folder(folder)?;
        let shape = Shape::of(bytes);
        let clock = ClockKind::detect();
        let pid = std::process::id();
        let instance = clock.ticks() ^ clock::realtime_ns().rotate_left(20) ^ u64::from(pid) << 48;
        let name = format!("{pid}-{instance:016x}.{EXTENSION}");
        let hidden = folder.join(format!(".{name}"));
        let path = folder.join(name);
        // A folder that gives its group to its files (2770) is one that sides of different users share.
        let shared = fs::metadata(folder).is_ok_and(|m| m.mode() & 0o2000 != 0);
        let mode = if shared { 0o660 } else { 0o600 };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(&hidden)
            .map_err(|e| CreateError::Folder(folder.to_owned(), format!("cannot make a file: {e}")))?;
        // The umask must not take the group's right away.
        let _ = file.set_permissions(fs::Permissions::from_mode(mode));
        // Locked before it is filled, so that nobody takes it for a left-over.
        let locked = match lock::take(file.as_fd(), Party::Agent) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CreateError::Io("lock", io::ErrorKind::WouldBlock.into())),
            Err(e) => Err(CreateError::Io("lock", e)),
        };
        let made = locked.and_then(|()| Self::fill(&file, folder, shape, clock, pid, instance, identity));
        let base = match made {
            Ok(base) => base,
            Err(error) => {
                let _ = fs::remove_file(&hidden);
                return Err(error);
            }
        };
        let segment = Self { base, shape, header: Self::copy_header(base), file, path, guard: None };
        fs::rename(&hidden, &segment.path).map_err(|e| {
            let _ = fs::remove_file(&hidden);
            CreateError::Io("rename", e)
        })?;
        Ok(segment)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one header, used once")]
    fn fill(
        file: &File,
        folder: &Path,
        shape: Shape,
        clock: ClockKind,
        pid: u32,
        instance: u64,
        identity: &Identity,
    ) -> Result<*mut u8, CreateError> {
        // SAFETY: fd is open. Every page is there from now on: no SIGBUS for the engine, however full the tmpfs gets.
        let refused = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, shape.segment_bytes as i64) };
        match refused {
            0 => {}
            libc::ENOSPC | libc::ENOMEM | libc::EFBIG => {
                return Err(CreateError::Space { folder: folder.to_owned(), needed_bytes: shape.segment_bytes });
            }
            code => {
                return Err(CreateError::Io("posix_fallocate", io::Error::from_raw_os_error(code)));
            }
        }
        let base = map(file, shape.segment_bytes).map_err(|e| CreateError::Io("mmap", e))?;
        let header = Header {
            magic: 0,
            layout_version: LAYOUT_VERSION,
            role: identity.role as u32,
            segment_bytes: shape.segment_bytes,
            ring_records: shape.ring_records,
            ring_count: shape.ring_count,
            data_offset: shape.data_offset,
            pid,
            rank: identity.rank,
            world_size: identity.world_size,
            clock: clock as u32,
            attach: clock.anchor(),
            instance,
            forked_from: identity.forked_from,
            membarrier: u32::from(super::membarrier::register()),
            reserved: [0; 2],
            job: pack(&identity.job),
            group: pack(&identity.group),
            engine: pack(&identity.engine),
            label: pack(&identity.label),
            agent: pack(env!("CARGO_PKG_VERSION")),
            reserved_tail: [0; 8],
        };
        // SAFETY: nobody else knows this file yet, and the mapping is larger than a header.
        unsafe { base.cast::<Header>().write(header) };
        // SYNC magic: whoever sees it sees the header; pairs with the acquire load in `attach`.
        // SAFETY: in bounds, aligned.
        unsafe { AtomicU64::from_ptr(base.cast()) }.store(MAGIC, Ordering::Release);
        Ok(base)
    }

    fn copy_header(base: *mut u8) -> Header {
        // SYNC magic: pairs with the release store in `fill`.
        // SAFETY: in bounds, aligned; volatile, because a hostile writer may change it under us: we check our copy.
        unsafe {
            AtomicU64::from_ptr(base.cast()).load(Ordering::Acquire);
            base.cast::<Header>().read_volatile()
        }
    }

    /// Opens, checks, locks and maps the segment at `path` as its one consumer.
    ///
    /// # Errors
    /// See [`AttachError`]; the file is left as it was.
    pub fn attach(path: &Path, trust: Trust) -> Result<Self, AttachError> {
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
            Err(e) => return Err(AttachError::Io(e)),
        }
        let base = map(&file, shape.segment_bytes).map_err(AttachError::Io)?;
        let guard = sigbus::Guard::new(base as usize, shape.segment_bytes as usize);
        let segment = Self { base, shape, header, file, path: path.to_owned(), guard };
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
        &self.path
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

    /// Whether the file was cut short under the mapping.
    pub fn lost(&self) -> bool {
        self.guard.as_ref().is_some_and(sigbus::Guard::lost)
            || self.file.metadata().is_ok_and(|m| m.len() < self.shape.segment_bytes)
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
        let _ = fs::remove_file(&self.path);
    }

    pub(super) fn write_bytes(&self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.shape.segment_bytes, "write out of bounds");
        // SAFETY: in bounds; names are written before their length is published.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset as usize), bytes.len()) };
    }

    pub(super) fn read_bytes(&self, offset: u64, out: &mut [u8]) {
        assert!(offset + out.len() as u64 <= self.shape.segment_bytes, "read out of bounds");
        for (i, byte) in out.iter_mut().enumerate() {
            // SAFETY: in bounds; volatile byte reads, because a stranger may write meanwhile.
            *byte = unsafe { self.base.add(offset as usize + i).read_volatile() };
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: unmaps what `map` mapped; nothing borrows from it any more.
        unsafe { libc::munmap(self.base.cast(), self.shape.segment_bytes as usize) };
    }
}

fn map(file: &File, bytes: u64) -> io::Result<*mut u8> {
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
    if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) }
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
