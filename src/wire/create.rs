//! How an agent makes its segment: reserved whole, filled, locked, and then put into place under its name.
//!
//! Runs in the engine: no allocation, no panic (see [`super::text`]).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::{self, ClockKind};
use super::folder::prepare_folder;
use super::layout::{Header, LAYOUT_VERSION, MAGIC, Role, Shape, pack};
use super::lock::{self, Party};
use super::segment::{EXTENSION, Segment, map};
use super::system;
use super::text::{FixedText, Message, PathText};

/// Who a process is, as it says itself when it joins. Texts are cut to what the header holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// All groups of one engine.
    pub job: FixedText<96>,
    /// The ranks that step together.
    pub group: FixedText<64>,
    /// Rank within the group.
    pub rank: u32,
    /// Ranks of the group; 0 when not known.
    pub world_size: u32,
    /// Runs iterations, or emits spans only.
    pub role: Role,
    /// Engine and version.
    pub engine: FixedText<64>,
    /// What people call the rank.
    pub label: FixedText<64>,
    /// The process this one was forked from, or 0.
    pub forked_from: u32,
    /// The tool's session that it runs in, or nothing.
    pub tool_session: FixedText<64>,
}

/// Why an agent could not make its segment. The engine runs on without it. Codes are the system's; 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateError {
    /// The folder cannot be used, and why.
    Folder(&'static str, i32),
    /// Everybody can write into the folder.
    OpenToAll,
    /// No room for a whole segment of so many bytes.
    Space(u64),
    /// Anything else the kernel said.
    Io(&'static str, i32),
}

impl CreateError {
    /// The sentence, for a segment in `folder`: what is wrong, and what mends it.
    pub fn tell(&self, folder: &PathText, out: &mut Message) {
        match *self {
            Self::Folder(why, code) => {
                out.push("segment folder ").push(folder.as_bytes()).push(": ").push(why);
                if code != 0 {
                    out.push(": ").push_error(code);
                }
            }
            Self::OpenToAll => {
                out.push("segment folder ").push(folder.as_bytes()).push(": is writable by everybody: chmod 0700 ");
                out.push(folder.as_bytes()).push(" (or 2770 with a common group)");
            }
            Self::Space(bytes) => {
                out.push("no room for a segment of ").push_decimal(bytes).push(" bytes in ").push(folder.as_bytes());
                out.push(": enlarge it (--shm-size in a container) or set STEPSCOPE_SEGMENT_BYTES lower");
            }
            Self::Io(what, code) => {
                out.push(what).push(": ").push_error(code);
            }
        }
    }
}

impl Segment {
    /// Makes, reserves, fills and publishes a segment of this process in `folder`.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing is left behind.
    pub fn create(folder: &PathText, identity: &Identity, bytes: u64) -> Result<Self, CreateError> {
        prepare_folder(folder)?;
        let shape = Shape::of(bytes);
        let clock = ClockKind::detect();
        let pid = std::process::id();
        let instance = clock.ticks() ^ clock::realtime_ns().rotate_left(20) ^ u64::from(pid) << 48;
        let mut name = FixedText::<64>::new();
        name.push_decimal(u64::from(pid)).push("-").push_hexadecimal(instance, 16).push(".").push(EXTENSION);
        let (mut hidden, mut path) = (*folder, *folder);
        hidden.push("/.").push(name.as_bytes());
        path.push("/").push(name.as_bytes());
        // A folder that gives its group to its files (2770) is one that sides of different users share.
        let shared = system::status_at(folder).is_ok_and(|status| status.st_mode & libc::S_ISGID != 0);
        let mode = if shared { 0o660 } else { 0o600 };
        let file = system::open(&hidden, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode)
            .map_err(|code| CreateError::Folder("cannot make a file", code))?;
        // The umask must not take the group's right away.
        let _ = system::set_mode(&file, mode);
        let made = lock_and_fill(&file, shape, clock, instance, identity);
        let published = made.and_then(|base| {
            let segment = Self { base, shape, header: copy_header(base), file, path, guard: None };
            system::rename(&hidden, &path).map(|()| segment).map_err(|code| CreateError::Io("rename", code))
        });
        if published.is_err() {
            let _ = system::remove(&hidden);
        }
        published
    }
}

fn lock_and_fill(
    file: &OwnedFd,
    shape: Shape,
    clock: ClockKind,
    instance: u64,
    identity: &Identity,
) -> Result<*mut u8, CreateError> {
    let refused = |what| move |code| CreateError::Io(what, code);
    // Locked before it is filled, so that nobody takes it for a left-over.
    if !lock::take(file.as_fd(), Party::Agent).map_err(refused("lock"))? {
        return Err(CreateError::Io("lock", libc::EWOULDBLOCK));
    }
    // SAFETY: fd is open. Every page is there from now on: no SIGBUS for the engine, however full the tmpfs gets.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, shape.segment_bytes as i64) } {
        0 => {}
        libc::ENOSPC | libc::ENOMEM | libc::EFBIG => return Err(CreateError::Space(shape.segment_bytes)),
        code => return Err(CreateError::Io("posix_fallocate", code)),
    }
    let base = map(file, shape.segment_bytes).map_err(refused("mmap"))?;
    let header = Header {
        magic: 0,
        layout_version: LAYOUT_VERSION,
        role: identity.role as u32,
        segment_bytes: shape.segment_bytes,
        ring_records: shape.ring_records,
        ring_count: shape.ring_count,
        data_offset: shape.data_offset,
        pid: std::process::id(),
        rank: identity.rank,
        world_size: identity.world_size,
        clock: clock as u32,
        attach: clock.anchor(),
        instance,
        forked_from: identity.forked_from,
        membarrier: u32::from(super::membarrier::register()),
        reserved: [0; 2],
        job: identity.job.padded(),
        group: identity.group.padded(),
        engine: identity.engine.padded(),
        label: identity.label.padded(),
        agent: pack(env!("CARGO_PKG_VERSION")),
        tool_session: identity.tool_session.padded(),
    };
    // SAFETY: nobody else knows this file yet, and the mapping is larger than a header.
    unsafe { base.cast::<Header>().write(header) };
    // SYNC magic: whoever sees it sees the header; pairs with the acquire load in `copy_header`.
    // SAFETY: in bounds, aligned.
    unsafe { AtomicU64::from_ptr(base.cast()) }.store(MAGIC, Ordering::Release);
    Ok(base)
}

fn copy_header(base: *mut u8) -> Header {
    // SYNC magic: pairs with the release store in `lock_and_fill`.
    // SAFETY: in bounds, aligned; volatile, because a hostile writer may change it under us.
    unsafe {
        AtomicU64::from_ptr(base.cast()).load(Ordering::Acquire);
        base.cast::<Header>().read_volatile()
    }
}
