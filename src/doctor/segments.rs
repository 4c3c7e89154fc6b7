//! The segments in the folder: each one read with `pread` alone.

use std::fs::{File, OpenOptions};
use std::mem::{offset_of, size_of};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::wire::gate;
use crate::wire::layout::{
    Anchor, Header, LAYOUT_VERSION, MAGIC, RINGS_OFFSET, RingDescriptor, Role, STATUS_OFFSET, Shape, Status, unpack,
};
use crate::wire::lock::{self, Party};
use crate::wire::segment::{EXTENSION, user_id};

const ABOUT: &str = "segment";

/// What is known of one segment.
#[derive(Debug)]
pub(super) struct Segment {
    name: String,
    owner: u32,
    /// The process that holds the agent's lock, as this pid namespace has it; 0 where it can't be seen.
    pub(super) agent_pid: Option<i32>,
    consumed: bool,
    /// What can be read in it, or why it can't.
    inside: Result<Inside, Trouble>,
}

#[derive(Debug)]
struct Inside {
    header: Header,
    begun: u64,
    gate: &'static str,
    exited: bool,
    dropped: u64,
    undrained: u64,
}

/// What keeps a segment from being read, and what mends it.
#[derive(Debug)]
struct Trouble {
    why: String,
    mend: String,
}

/// Segment files in `dir`, by name.
pub(super) fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
        .filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")))
        .collect();
    paths.sort();
    paths
}

/// Reads one.
pub(super) fn read(path: &Path) -> Segment {
    let mut segment = Segment {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        owner: 0,
        agent_pid: None,
        consumed: false,
        inside: Err(Trouble { why: String::new(), mend: String::new() }),
    };
    segment.inside = open(path, &mut segment);
    segment
}

fn open(path: &Path, segment: &mut Segment) -> Result<Inside, Trouble> {
    let trouble = |why: String, mend: &str| Trouble { why, mend: mend.to_owned() };
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        segment.owner = meta.uid();
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| {
            trouble(e.to_string(), "run doctor as the engine's user, or share the folder (mode 2770, a common group)")
        })?;
    let unreadable = |e: std::io::Error| trouble(e.to_string(), "remove the file if no engine uses it");
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(trouble("is not a regular file".into(), "remove it"));
    }
    let holder = |party| lock::holder(file.as_fd(), party).map_err(std::io::Error::from_raw_os_error);
    segment.agent_pid = holder(Party::Agent).map_err(unreadable)?;
    segment.consumed = holder(Party::Consumer).map_err(unreadable)?.is_some();
    let mut bytes = [0u8; size_of::<Header>()];
    file.read_exact_at(&mut bytes, 0)
        .map_err(|_| trouble(format!("{} bytes are no segment", meta.len()), "remove the file if no engine uses it"))?;
    let header = parse_header(&bytes);
    let shape = header.check(meta.len()).map_err(|why| {
        let mend = if header.magic == MAGIC && header.layout_version != LAYOUT_VERSION {
            "install the same stepscope version for engine and sidecar, and restart the engine"
        } else {
            "remove the file if no engine uses it; if it comes back, the engine's agent is broken"
        };
        trouble(why, mend)
    })?;
    inside(&file, header, shape).map_err(unreadable)
}

fn inside(file: &File, header: Header, shape: Shape) -> std::io::Result<Inside> {
    let mut status = [0u8; size_of::<Status>()];
    file.read_exact_at(&mut status, STATUS_OFFSET)?;
    let word = |offset| u64_at(&status, offset);
    let gate = match gate::split(word(offset_of!(Status, gate))) {
        Some((_, gate::State::Idle)) => "idle",
        Some((_, gate::State::Armed)) => "armed",
        Some((_, gate::State::Opening)) => "opening",
        Some((_, gate::State::Open)) => "open",
        Some((_, gate::State::Closing)) => "closing",
        Some((_, gate::State::Closed)) => "closed",
        None => "invalid",
    };
    let (mut dropped, mut undrained) = (word(offset_of!(Status, dropped_without_ring)), 0u64);
    const STRIDE: usize = size_of::<RingDescriptor>();
    let mut ring = [0u8; STRIDE];
    for index in 0..u64::from(shape.ring_count) {
        file.read_exact_at(&mut ring, RINGS_OFFSET + index * STRIDE as u64)?;
        dropped = dropped.wrapping_add(u64_at(&ring, offset_of!(RingDescriptor, dropped)));
        let head = u64_at(&ring, offset_of!(RingDescriptor, head));
        undrained = undrained.wrapping_add(head.wrapping_sub(u64_at(&ring, offset_of!(RingDescriptor, tail))));
    }
    let begun = word(offset_of!(Status, begun));
    let exited = word(offset_of!(Status, exited)) != 0;
    Ok(Inside { header, begun, gate, exited, dropped, undrained })
}

impl Segment {
    /// What to say of it.
    pub(super) fn finding(&self) -> Finding {
        let inside = match &self.inside {
            Ok(inside) => inside,
            Err(trouble) => {
                return Finding::bad(ABOUT, format!("{}: {}", self.name, trouble.why), trouble.mend.clone());
            }
        };
        let header = &inside.header;
        let who = if header.role == Role::Rank as u32 {
            format!("rank {} of group {:?}", header.rank, unpack(&header.group))
        } else {
            "a source of spans".into()
        };
        let what = format!(
            "{}: {who}, job {:?}, {}, pid {}; {} iterations, gate {}, {} dropped",
            self.name,
            unpack(&header.job),
            unpack(&header.engine),
            header.pid,
            inside.begun,
            inside.gate,
            inside.dropped
        );
        if self.owner != user_id() {
            let mend = "the sidecar must run as that user too, or with --trust-group on a folder of mode 2770";
            return Finding::warn(ABOUT, format!("{what}; owned by user {}", self.owner), mend);
        }
        if self.agent_pid.is_none() {
            let end = if inside.exited { "it exited in order" } else { "it was killed" };
            let left = format!("{what}; its process is gone ({end}), {} records not fetched", inside.undrained);
            return Finding::warn(ABOUT, left, "nothing: a sidecar, or this user's next agent, fetches and removes it");
        }
        if !self.consumed {
            let mend = "start `stepscope serve` with the same --dir (and the same user)";
            return Finding::warn(ABOUT, format!("{what}; no sidecar is attached to it"), mend);
        }
        if inside.dropped > 0 {
            let mend = "a larger ring: set STEPSCOPE_SEGMENT_BYTES higher for the engine; or give the sidecar more CPU";
            return Finding::warn(ABOUT, what, mend);
        }
        Finding::ok(ABOUT, format!("{what}; alive, a sidecar is attached"))
    }
}

/// Whether the agents are of our version.
pub(super) fn versions(segments: &[Segment]) -> Vec<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let other = |segment: &Segment| {
        let inside = segment.inside.as_ref().ok().filter(|_| segment.agent_pid.is_some())?;
        let theirs = unpack(&inside.header.agent);
        (theirs != ours).then_some((segment.name.clone(), theirs))
    };
    let finding = |(name, theirs)| {
        let mend = "same layout, so it works; install one version on both sides when the engine restarts next";
        Finding::warn(ABOUT, format!("{name}: its agent has version {theirs:?}, this command {ours:?}"), mend)
    };
    segments.iter().filter_map(other).map(finding).collect()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..offset + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..offset + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn text_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes.get(offset..offset + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}

/// The header, field by field, so that no unsafe cast is needed.
fn parse_header(bytes: &[u8; size_of::<Header>()]) -> Header {
    let attach = offset_of!(Header, attach);
    Header {
        magic: u64_at(bytes, offset_of!(Header, magic)),
        layout_version: u32_at(bytes, offset_of!(Header, layout_version)),
        role: u32_at(bytes, offset_of!(Header, role)),
        segment_bytes: u64_at(bytes, offset_of!(Header, segment_bytes)),
        ring_records: u32_at(bytes, offset_of!(Header, ring_records)),
        ring_count: u32_at(bytes, offset_of!(Header, ring_count)),
        data_offset: u64_at(bytes, offset_of!(Header, data_offset)),
        pid: u32_at(bytes, offset_of!(Header, pid)),
        rank: u32_at(bytes, offset_of!(Header, rank)),
        world_size: u32_at(bytes, offset_of!(Header, world_size)),
        clock: u32_at(bytes, offset_of!(Header, clock)),
        attach: Anchor {
            ticks: u64_at(bytes, attach + offset_of!(Anchor, ticks)),
            monotonic_ns: u64_at(bytes, attach + offset_of!(Anchor, monotonic_ns)),
            realtime_ns: u64_at(bytes, attach + offset_of!(Anchor, realtime_ns)),
        },
        instance: u64_at(bytes, offset_of!(Header, instance)),
        forked_from: u32_at(bytes, offset_of!(Header, forked_from)),
        membarrier: u32_at(bytes, offset_of!(Header, membarrier)),
        reserved: [0; 2],
        job: text_at(bytes, offset_of!(Header, job)),
        group: text_at(bytes, offset_of!(Header, group)),
        engine: text_at(bytes, offset_of!(Header, engine)),
        label: text_at(bytes, offset_of!(Header, label)),
        agent: text_at(bytes, offset_of!(Header, agent)),
        tool_session: [0; 64],
    }
}
