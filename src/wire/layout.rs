//! The segment byte by byte: the structures, their offsets, and the checks a reader makes before it trusts them.
//!
//! Everything here is plain data. Who may write which block is in the table of [`crate::wire`]. Sizes and offsets are
//! asserted at compile time; a change of any of them is a new [`LAYOUT_VERSION`].

use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::text::FixedText;

/// First eight bytes of a segment, stored last of all with release order.
pub const MAGIC: u64 = u64::from_le_bytes(*b"STEPSCOP");
/// Version of everything in this file.
pub const LAYOUT_VERSION: u32 = 3;
/// Bytes of a segment unless `STEPSCOPE_SEGMENT_BYTES` says otherwise.
pub const DEFAULT_SEGMENT_BYTES: u64 = 8 << 20;
/// Smallest and largest segment that either side accepts.
pub const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = (128 << 10)..=(1 << 30);
/// Bytes of one ring slot.
pub const RECORD_BYTES: u64 = 64;
/// Offset of [`Control`].
pub const CONTROL_OFFSET: u64 = 512;
/// Offset of [`Status`].
pub const STATUS_OFFSET: u64 = 1024;
/// Offset of the names.
pub const NAMES_OFFSET: u64 = 4096;
/// Bytes reserved for names.
pub const NAMES_BYTES: u64 = 32 << 10;
/// Offset of the ring descriptors.
pub const RINGS_OFFSET: u64 = NAMES_OFFSET + NAMES_BYTES;
/// At most this many rings in a segment.
pub const MAX_RINGS: u32 = 64;
/// How many rings a segment is cut into at least (a quarter MiB and up).
const TARGET_RINGS: u64 = 15;
/// `close_last`, `last_iteration`: no limit. `device_ns`: not measured.
pub const NONE: u64 = u64::MAX;

/// What runs iterations, and what only emits spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// Runs iterations.
    Rank = 1,
    /// Emits spans only.
    Source = 2,
}

/// A NUL-padded UTF-8 string of fixed capacity; longer input is cut at a character.
pub type Text<const N: usize> = [u8; N];

/// Packs a string into a fixed field, cut at a character boundary; at least one NUL stays.
pub fn pack<const N: usize>(text: &str) -> Text<N> {
    FixedText::from(text).padded()
}

/// Unpacks a fixed field; invalid UTF-8 is replaced, control characters too (the field may come from a stranger).
pub fn unpack<const N: usize>(text: &Text<N>) -> String {
    let end = text.iter().position(|&b| b == 0).unwrap_or(N);
    String::from_utf8_lossy(&text[..end]).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Block 0: written once by the agent. Readers copy it out whole and then check it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`LAYOUT_VERSION`].
    pub layout_version: u32,
    /// [`Role`] as an integer.
    pub role: u32,
    /// Bytes of the whole file.
    pub segment_bytes: u64,
    /// Slots in each ring: a power of two.
    pub ring_records: u32,
    /// Number of rings.
    pub ring_count: u32,
    /// Offset of the first ring's slots.
    pub data_offset: u64,
    /// Process id, as the engine's own pid namespace has it.
    pub pid: u32,
    /// Rank within the group.
    pub rank: u32,
    /// Ranks of the group; 0 when it is not known.
    pub world_size: u32,
    /// [`crate::wire::clock::ClockKind`] as an integer.
    pub clock: u32,
    /// Anchor taken at attach.
    pub attach: Anchor,
    /// Random: tells two segments of one pid apart.
    pub instance: u64,
    /// Pid of the process this one was forked from with the agent attached, or 0.
    pub forked_from: u32,
    /// Non-zero: the agent registered for expedited memory barriers.
    pub membarrier: u32,
    /// Padding; zero.
    pub reserved: [u64; 2],
    /// Job: all groups of one engine.
    pub job: Text<96>,
    /// Group: the ranks that step together.
    pub group: Text<64>,
    /// Engine and version, for example `vllm 0.32.0`.
    pub engine: Text<64>,
    /// What people call this rank, for example `tp0 pp1`.
    pub label: Text<64>,
    /// Version of the agent.
    pub agent: Text<32>,
    /// The tool's session that the process runs in (nsys: its session id); processes of one session have the same. Empty:
    /// none to be seen.
    pub tool_session: Text<64>,
}

/// One instant on three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Anchor {
    /// The segment's own clock ([`crate::wire::clock`]).
    pub ticks: u64,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME, nanoseconds since the epoch.
    pub realtime_ns: u64,
}

/// Block 1: written by the sidecar alone. See [`crate::wire::control`] for the order of the writes.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Control {
    /// Even: the parameters below are whole. Odd: they are being written. 0: nothing was ever asked.
    pub generation: AtomicU64,
    /// Futex that the helper thread sleeps on; bumped after every change below, and by the hook as it opens a window.
    pub wake: AtomicU32,
    _pad0: [u8; 52],
    /// First iteration of the window.
    pub first_iteration: AtomicU64,
    /// Last iteration of the window, or [`NONE`].
    pub last_iteration: AtomicU64,
    /// [`crate::wire::control::profiler`] bits.
    pub profiler: AtomicU64,
    /// 1: this generation asks for a window. 0: it withdraws whatever an earlier one asked for.
    pub armed: AtomicU64,
    /// The iteration that the profiler starts before: `first_iteration`, or some earlier.
    pub profiler_iteration: AtomicU64,
    _pad1: [u8; 24],
    /// The window closes at the end of this iteration at the latest; only ever lowered within a generation.
    pub close_last: AtomicU64,
    /// Why `close_last` was lowered: [`crate::wire::gate::Cause`].
    pub close_cause: AtomicU64,
    /// The generation whose window is to be closed at once, mid-iteration if need be.
    pub force_close: AtomicU64,
    /// CLOCK_MONOTONIC nanoseconds after which the agent closes by itself.
    pub lease_deadline_ns: AtomicU64,
    /// The generation whose profiler a leader may stop: every rank of its session has closed.
    pub profiler_release: AtomicU64,
    /// Bumped to have the agent look again at what it can do; answered in [`Capabilities::probed`].
    pub probe: AtomicU64,
    _pad2: [u8; 16],
    /// The generation whose events are wanted, or 0; a line of its own, for every event asks it. See [`crate::wire::wanted`].
    pub events: AtomicU64,
    /// Events of a higher level than this are not wanted.
    pub level: AtomicU64,
    /// Of requests, one in 2^this is recorded: [`crate::wire::wanted::takes`].
    pub request_shift: AtomicU64,
    _pad3: [u8; 40],
}

/// Block 2: written by the agent alone.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Status {
    /// Iterations begun since the process joined. The hook's one store.
    pub begun: AtomicU64,
    _pad0: [u8; 56],
    /// Iterations ended.
    pub ended: AtomicU64,
    _pad1: [u8; 56],
    /// Generation and gate state, see [`crate::wire::gate`].
    pub gate: AtomicU64,
    /// Window facts of the gate's generation; stable once the gate says closed.
    pub facts: Facts,
    /// Bytes of names in use.
    pub names_len: AtomicU64,
    /// Rings in use or released but not yet drained.
    pub rings_in_use: AtomicU64,
    /// Records dropped because no ring was free, or no place for a range until it ends.
    pub dropped_without_ring: AtomicU64,
    /// 1: the process said goodbye (an orderly exit); 0 while it lives or when it was killed.
    pub exited: AtomicU64,
    /// Generation and state of the profiler, see [`crate::wire::profiler`].
    pub profiler: AtomicU64,
    /// What the profiler's calls did, of the profiler's generation.
    pub calls: Calls,
    /// What the agent can do.
    pub capabilities: Capabilities,
}

/// What the agent can do, as it knows it.
#[derive(Debug)]
#[repr(C)]
pub struct Capabilities {
    /// [`crate::wire::capability`]: two bits each.
    pub bits: AtomicU64,
    /// The driver's answer to cuInit, or [`NONE`] while nobody asked.
    pub cuda_code: AtomicU64,
    /// What the driver says its version is (12080 for 12.8); 0: not known.
    pub cuda_version: AtomicU64,
    /// The last [`Control::probe`] that this answers.
    pub probed: AtomicU64,
}

/// The profiler's calls of one window. Codes are CUresult values, or [`NONE`] where no call was made.
#[derive(Debug)]
#[repr(C)]
pub struct Calls {
    /// [`crate::wire::profiler::calls`] bits.
    pub flags: AtomicU64,
    /// The iteration before which it was started.
    pub iteration: AtomicU64,
    /// Of cuProfilerStart.
    pub start_code: AtomicU64,
    /// How long cuProfilerStart held the engine, nanoseconds.
    pub start_ns: AtomicU64,
    /// Of cuProfilerStop.
    pub stop_code: AtomicU64,
    /// How long cuProfilerStop held the engine, nanoseconds.
    pub stop_ns: AtomicU64,
    /// Of cuCtxSynchronize at the opening.
    pub open_synchronize_code: AtomicU64,
    /// How long that held the engine, nanoseconds.
    pub open_synchronize_ns: AtomicU64,
    /// Of cuCtxSynchronize at the closing.
    pub close_synchronize_code: AtomicU64,
    /// How long that held the engine, nanoseconds.
    pub close_synchronize_ns: AtomicU64,
    /// Iterations whose device time could not be had.
    pub device_times_missed: AtomicU64,
}

/// What really happened in a window.
#[derive(Debug)]
#[repr(C)]
pub struct Facts {
    /// First iteration inside.
    pub first_iteration: AtomicU64,
    /// Last iteration inside (`first - 1` when there is none).
    pub last_iteration: AtomicU64,
    /// Iterations that ran on beyond `close_last` before this rank looked; trimmed.
    pub overrun: AtomicU64,
    /// Why it closed: [`crate::wire::gate::Cause`].
    pub cause: AtomicU64,
    /// [`crate::wire::gate::facts`] bits.
    pub flags: AtomicU64,
    /// Sum of all drop counters when the window opened.
    pub dropped_at_open: AtomicU64,
    /// Begin of the iteration that is running, in ticks; 0 when none is.
    pub running_since_ticks: AtomicU64,
    /// Anchor at open: ticks, monotonic, realtime.
    pub open: [AtomicU64; 3],
    /// Anchor at close.
    pub close: [AtomicU64; 3],
}

/// State of a ring's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Owner {
    /// Never used, or drained after its owner left.
    Free = 0,
    /// A thread writes it.
    Owned = 1,
    /// Its thread ended; it is free again once it is drained.
    Released = 2,
}

/// Head and tail of one ring, on lines of their own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct RingDescriptor {
    /// Records ever written. Producer's line.
    pub head: AtomicU64,
    /// Records dropped because the ring was full; cumulative.
    pub dropped: AtomicU64,
    /// [`Owner`].
    pub owner: AtomicU64,
    _pad0: [u8; 40],
    /// Records ever consumed. The consumer's line.
    pub tail: AtomicU64,
    /// The consumer's note to its successor, should it die: 0, or one more than the index of the first consumed record that
    /// is in the consumer's memory alone. Agents leave it 0.
    pub unsaved: AtomicU64,
    _pad1: [u8; 48],
    _pad2: [u8; 64],
}

const _: () = {
    assert!(size_of::<Header>() == 512 && offset_of!(Header, job) == 112 && offset_of!(Header, attach) == 56);
    assert!(size_of::<Control>() == 256 && offset_of!(Control, first_iteration) == 64);
    assert!(offset_of!(Control, close_last) == 128 && offset_of!(Control, events) == 192);
    assert!(size_of::<Status>() <= 1024 && offset_of!(Status, ended) == 64 && offset_of!(Status, gate) == 128);
    assert!(size_of::<RingDescriptor>() == 192 && offset_of!(RingDescriptor, tail) == 64);
    assert!(CONTROL_OFFSET as usize >= size_of::<Header>());
    assert!(STATUS_OFFSET as usize >= CONTROL_OFFSET as usize + size_of::<Control>());
    assert!(NAMES_OFFSET as usize >= STATUS_OFFSET as usize + size_of::<Status>());
};

/// How a segment of a given size is cut into rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of the file.
    pub segment_bytes: u64,
    /// Slots of each ring.
    pub ring_records: u32,
    /// Number of rings.
    pub ring_count: u32,
    /// Offset of the first slot.
    pub data_offset: u64,
}

impl Shape {
    /// The shape for a file of `segment_bytes`; sizes out of [`SEGMENT_BYTES_RANGE`] are clamped into it.
    pub fn of(segment_bytes: u64) -> Self {
        let segment_bytes = segment_bytes.clamp(*SEGMENT_BYTES_RANGE.start(), *SEGMENT_BYTES_RANGE.end()) & !4095;
        let data_offset =
            (RINGS_OFFSET + u64::from(MAX_RINGS) * size_of::<RingDescriptor>() as u64).next_multiple_of(4096);
        let room = segment_bytes - data_offset;
        let slots = room / RECORD_BYTES / TARGET_RINGS;
        let ring_records = 1u64 << slots.checked_ilog2().unwrap_or(0);
        let ring_count = (room / (ring_records * RECORD_BYTES)).min(u64::from(MAX_RINGS));
        Self { segment_bytes, ring_records: ring_records as u32, ring_count: ring_count as u32, data_offset }
    }
}

impl Header {
    /// Whether the header can be worked with, given the true size of its file.
    ///
    /// # Errors
    /// A sentence that says what is wrong, for `status` and `doctor`.
    pub fn check(&self, file_bytes: u64) -> Result<Shape, String> {
        if self.magic != MAGIC {
            return Err("not a stepscope segment (wrong magic)".into());
        }
        if self.layout_version != LAYOUT_VERSION {
            return Err(format!(
                "segment layout version {} is not {LAYOUT_VERSION}, which this sidecar speaks: use the same stepscope version on both sides",
                self.layout_version
            ));
        }
        if self.segment_bytes != file_bytes {
            return Err(format!("segment says {} bytes but the file has {file_bytes}", self.segment_bytes));
        }
        if !SEGMENT_BYTES_RANGE.contains(&file_bytes) {
            return Err(format!("segment of {file_bytes} bytes is out of range"));
        }
        let shape = Shape::of(file_bytes);
        let said = Shape {
            segment_bytes: self.segment_bytes,
            ring_records: self.ring_records,
            ring_count: self.ring_count,
            data_offset: self.data_offset,
        };
        if shape != said {
            return Err("segment's ring table does not fit its size".into());
        }
        if self.role != Role::Rank as u32 && self.role != Role::Source as u32 {
            return Err(format!("segment has the unknown role {}", self.role));
        }
        if self.clock > 2 {
            return Err(format!("segment has the unknown clock {}", self.clock));
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_size_has_rings_that_fit() {
        for kib in (128..=16384).step_by(12).chain([1 << 20]) {
            let shape = Shape::of(kib << 10);
            assert!(shape.ring_records.is_power_of_two() && shape.ring_records >= 32, "{shape:?}");
            assert!((1..=MAX_RINGS).contains(&shape.ring_count), "{shape:?}");
            let end = shape.data_offset + u64::from(shape.ring_count) * u64::from(shape.ring_records) * RECORD_BYTES;
            assert!(end <= shape.segment_bytes, "{shape:?}");
        }
    }

    #[test]
    fn text_is_cut_at_a_character_and_cleaned() {
        assert_eq!(unpack(&pack::<8>("rank é")), "rank é");
        assert_eq!(unpack(&pack::<8>("1234567é")), "1234567");
        assert_eq!(unpack(b"a\nb\xffc\0\0\0"), "a\u{fffd}b\u{fffd}c");
    }
}
