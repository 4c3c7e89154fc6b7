//! The trusted event model, and its fixed 64-byte encoding in a fragment.
//!
//! The collector makes events out of records that it has checked; from here on nobody looks at shared memory. All
//! integers are little-endian, whatever the machine.
//!
//! | bytes | iteration (kind 1) | thread (kind 2) | skipped (kind 3) | span (kind 8) | text (kind 9) |
//! | --- | --- | --- | --- | --- | --- |
//! | 0..2 | kind | kind | kind | kind | kind |
//! | 2..4 | flags | 0 | 0 | 1: async | slot |
//! | 4..8 | 0 | bytes of the name | 0 | bytes of the name (2) · slot of the name (2) | part (2) · bytes of the text (2) |
//! | 8..16 | iteration number | thread id | 0 | slot of the domain (2) · depth (2) · 0 | 0 |
//! | 16..32 | begin ticks · end ticks | name, UTF-8, from byte 16 on | 0 | begin ticks · end ticks | text, from byte 16 on |
//! | 32..48 | context requests · context tokens · generation requests · generation tokens | name | 0 | name, where it is short | text |
//! | 48..56 | device nanoseconds, all ones for none | name | 0 | name | text |
//! | 56..64 | 0 | name | 0 | name | text |
//!
//! Lost records (kind 5): 8..16 how many; the rest is 0. It stands in place of the last of them.
//!
//! A counter (kind 4): 2..4 metric ([`Metric`]), 4..8 GPU, 8..16 CLOCK_MONOTONIC, 16..24 the value as a 64-bit float,
//! 24..28 process id or 0; the rest is 0.
//!
//! Kinds 16 to 20 are described in [`super::recorded`].
//!
//! A text too long for its span stands in a *slot* of the ring that both came along: parts in order put it there, and it
//! holds until the slot's next text. Other kinds are free: a reader counts the kinds it does not know.

use super::counter::{Counter, Metric};
use super::recorded::{self, Recorded, RecordedArgument, RequestMoment, Served, TrackName};

/// Bytes of every encoded event.
pub const EVENT_BYTES: usize = 64;

/// Longest thread name kept, bytes.
pub const THREAD_NAME_BYTES: usize = 48;
/// Longest name that stands in its span, bytes.
pub const SHORT_NAME_BYTES: usize = 32;
/// Bytes of a text in one event.
pub const TEXT_PART_BYTES: usize = 48;
/// Longest text, bytes.
pub const TEXT_BYTES: usize = 240;
/// Highest slot of a ring that a text may stand in; slot 0 is none.
pub const MAX_SLOT: u16 = 255;

const KIND_ITERATION: u16 = 1;
const KIND_THREAD: u16 = 2;
const KIND_SKIPPED: u16 = 3;
const KIND_COUNTER: u16 = 4;
const KIND_LOST: u16 = 5;
const KIND_SPAN: u16 = 8;
const KIND_TEXT: u16 = 9;
pub(super) const NO_DEVICE_TIME: u64 = u64::MAX;

/// All clocks of one instant. Two of them make ticks into nanoseconds, see [`crate::trace::clock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Anchor {
    /// The engine's own counter.
    pub ticks: u64,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME, nanoseconds since the epoch.
    pub realtime_ns: u64,
}

/// The batch of one iteration, in vLLM's words: context is prefill, generation is decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// Requests in their context (prefill) phase.
    pub context_requests: u32,
    /// Tokens computed for them.
    pub context_tokens: u32,
    /// Requests in their generation (decode) phase.
    pub generation_requests: u32,
    /// Tokens computed for them.
    pub generation_tokens: u32,
}

/// What an iteration was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// A dummy batch that keeps data-parallel ranks in step.
    pub const DUMMY: Self = Self(1);
    /// The next begin ended it: no end was seen.
    pub const UNENDED: Self = Self(2);
    /// The window was closed while it ran; its end is the closing time.
    pub const MID_ITERATION: Self = Self(4);
    /// No batch composition was given.
    pub const NO_BATCH: Self = Self(8);

    /// From bits, in the order of the constants; bits that mean nothing are dropped.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 15)
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One iteration inside a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Iteration {
    /// Number, from 1 per process.
    pub iteration: u64,
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks.
    pub end_ticks: u64,
    /// What was computed; means nothing with [`Flags::NO_BATCH`].
    pub batch: Batch,
    /// Device time in nanoseconds, where a hook could record it.
    pub device_ns: Option<u64>,
    /// What it was like.
    pub flags: Flags,
}

/// A thread's name, cut to [`THREAD_NAME_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadName {
    bytes: [u8; THREAD_NAME_BYTES],
    length: u8,
}

impl ThreadName {
    /// Keeps the longest part from the start that fits and is valid UTF-8.
    pub fn new(name: &[u8]) -> Self {
        let name = &name[..name.len().min(THREAD_NAME_BYTES)];
        let valid = match std::str::from_utf8(name) {
            Ok(name) => name.len(),
            Err(error) => error.valid_up_to(),
        };
        let mut bytes = [0; THREAD_NAME_BYTES];
        bytes[..valid].copy_from_slice(&name[..valid]);
        Self { bytes, length: valid as u8 }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for ThreadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A thread names itself before its first event of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// Thread id in the engine's pid namespace.
    pub tid: u64,
    /// What it is called.
    pub name: ThreadName,
}

/// What a span is called. Bytes as the engine has them, which may not be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanName {
    /// So many bytes of these.
    Short([u8; SHORT_NAME_BYTES], u8),
    /// The text in this slot of its ring, from 1 to [`MAX_SLOT`].
    Slot(u16),
}

/// A range of the engine's own, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks; not before the begin.
    pub end_ticks: u64,
    /// What it is called.
    pub name: SpanName,
    /// Slot of its domain's name; 0: the domain without a name.
    pub domain: u16,
    /// Spans of its thread and domain that were open around it.
    pub depth: u16,
    /// May overlap others, and may have begun on another thread than the ring's.
    pub is_async: bool,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPart {
    /// The slot it goes to, from 1 to [`MAX_SLOT`].
    pub slot: u16,
    /// Which part, from 0.
    pub part: u16,
    /// Bytes of the whole text, up to [`TEXT_BYTES`].
    pub length: u16,
    /// This part.
    pub bytes: [u8; TEXT_PART_BYTES],
}

/// What one 64-byte slot of a fragment holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// See [`Iteration`].
    Iteration(Iteration),
    /// See [`Thread`].
    Thread(Thread),
    /// A ring record that is none of this capture's: it keeps a block's ring indices without a hole.
    Skipped,
    /// So many ring records, up to this one, died with a sidecar that had them in its memory alone.
    Lost(u64),
    /// See [`Span`].
    Span(Span),
    /// See [`TextPart`].
    Text(TextPart),
    /// See [`Counter`]; only in the sidecar's own fragment.
    Counter(Counter),
    /// See [`Recorded`].
    Recorded(Recorded),
    /// See [`RecordedArgument`].
    Argument(RecordedArgument),
    /// See [`TrackName`].
    Track(TrackName),
    /// See [`RequestMoment`].
    Request(RequestMoment),
    /// See [`Served`].
    Served(Served),
}

impl Event {
    /// Encodes.
    pub fn to_bytes(&self) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        match self {
            Self::Recorded(e) => e.encode(&mut bytes),
            Self::Argument(a) => a.encode(&mut bytes),
            Self::Track(t) => t.encode(&mut bytes),
            Self::Request(r) => r.encode(&mut bytes),
            Self::Served(s) => s.encode(&mut bytes),
            Self::Iteration(i) => {
                put(0, &KIND_ITERATION.to_le_bytes());
                put(2, &i.flags.bits().to_le_bytes());
                put(8, &i.iteration.to_le_bytes());
                put(16, &i.begin_ticks.to_le_bytes());
                put(24, &i.end_ticks.to_le_bytes());
                put(32, &i.batch.context_requests.to_le_bytes());
                put(36, &i.batch.context_tokens.to_le_bytes());
                put(40, &i.batch.generation_requests.to_le_bytes());
                put(44, &i.batch.generation_tokens.to_le_bytes());
                put(48, &i.device_ns.unwrap_or(NO_DEVICE_TIME).to_le_bytes());
            }
            Self::Thread(t) => {
                put(0, &KIND_THREAD.to_le_bytes());
                put(4, &u32::from(t.name.length).to_le_bytes());
                put(8, &t.tid.to_le_bytes());
                put(16, &t.name.bytes);
            }
            Self::Skipped => put(0, &KIND_SKIPPED.to_le_bytes()),
            Self::Lost(records) => {
                put(0, &KIND_LOST.to_le_bytes());
                put(8, &records.to_le_bytes());
            }
            Self::Span(s) => {
                put(0, &KIND_SPAN.to_le_bytes());
                put(2, &u16::from(s.is_async).to_le_bytes());
                match s.name {
                    SpanName::Short(name, length) => {
                        put(4, &u16::from(length).to_le_bytes());
                        put(32, &name);
                    }
                    SpanName::Slot(slot) => put(6, &slot.to_le_bytes()),
                }
                put(8, &s.domain.to_le_bytes());
                put(10, &s.depth.to_le_bytes());
                put(16, &s.begin_ticks.to_le_bytes());
                put(24, &s.end_ticks.to_le_bytes());
            }
            Self::Text(t) => {
                put(0, &KIND_TEXT.to_le_bytes());
                put(2, &t.slot.to_le_bytes());
                put(4, &t.part.to_le_bytes());
                put(6, &t.length.to_le_bytes());
                put(16, &t.bytes);
            }
            Self::Counter(c) => {
                put(0, &KIND_COUNTER.to_le_bytes());
                put(2, &c.metric.number().to_le_bytes());
                put(4, &c.gpu.to_le_bytes());
                put(8, &c.at_ns.to_le_bytes());
                put(16, &c.value.to_le_bytes());
                put(24, &c.pid.to_le_bytes());
            }
        }
        bytes
    }

    /// Decodes. `None`: a kind or a metric that this version does not know, or a value that is no number.
    pub fn from_bytes(bytes: &[u8; EVENT_BYTES]) -> Option<Self> {
        match half(bytes, 0) {
            KIND_ITERATION => {
                let device_ns = long(bytes, 48);
                Some(Self::Iteration(Iteration {
                    iteration: long(bytes, 8),
                    begin_ticks: long(bytes, 16),
                    end_ticks: long(bytes, 24),
                    batch: Batch {
                        context_requests: word(bytes, 32),
                        context_tokens: word(bytes, 36),
                        generation_requests: word(bytes, 40),
                        generation_tokens: word(bytes, 44),
                    },
                    device_ns: (device_ns != NO_DEVICE_TIME).then_some(device_ns),
                    flags: Flags::from_bits(half(bytes, 2)),
                }))
            }
            KIND_THREAD => {
                let length = (word(bytes, 4) as usize).min(THREAD_NAME_BYTES);
                Some(Self::Thread(Thread { tid: long(bytes, 8), name: ThreadName::new(&bytes[16..16 + length]) }))
            }
            KIND_SKIPPED => Some(Self::Skipped),
            KIND_LOST => Some(Self::Lost(long(bytes, 8))),
            KIND_SPAN => {
                let (_, name) = bytes.split_last_chunk::<SHORT_NAME_BYTES>()?;
                let name = match half(bytes, 6) {
                    0 => SpanName::Short(*name, half(bytes, 4).min(SHORT_NAME_BYTES as u16) as u8),
                    slot => SpanName::Slot(slot.min(MAX_SLOT)),
                };
                let begin_ticks = long(bytes, 16);
                Some(Self::Span(Span {
                    begin_ticks,
                    end_ticks: long(bytes, 24).max(begin_ticks),
                    name,
                    domain: half(bytes, 8).min(MAX_SLOT),
                    depth: half(bytes, 10),
                    is_async: half(bytes, 2) & 1 != 0,
                }))
            }
            KIND_TEXT => {
                let (_, part) = bytes.split_last_chunk::<TEXT_PART_BYTES>()?;
                Some(Self::Text(TextPart {
                    slot: half(bytes, 2).clamp(1, MAX_SLOT),
                    part: half(bytes, 4),
                    length: half(bytes, 6).min(TEXT_BYTES as u16),
                    bytes: *part,
                }))
            }
            KIND_COUNTER => {
                let value = f64::from_bits(long(bytes, 16));
                let metric = Metric::of(half(bytes, 2)).filter(|_| value.is_finite())?;
                let (at_ns, gpu, pid) = (long(bytes, 8), word(bytes, 4), word(bytes, 24));
                Some(Self::Counter(Counter { at_ns, gpu, metric, pid, value }))
            }
            recorded::KIND_RECORDED => Recorded::decode(bytes).map(Self::Recorded),
            recorded::KIND_ARGUMENT => RecordedArgument::decode(bytes).map(Self::Argument),
            recorded::KIND_TRACK => Some(Self::Track(TrackName::decode(bytes))),
            recorded::KIND_REQUEST => RequestMoment::decode(bytes).map(Self::Request),
            recorded::KIND_SERVED => Some(Self::Served(Served::decode(bytes))),
            _ => None,
        }
    }
}

/// The `u16` at a fixed offset.
#[inline]
pub(super) fn half(bytes: &[u8; 64], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The `u32` at a fixed offset.
#[inline]
pub(super) fn word(bytes: &[u8; 64], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The `u64` at a fixed offset.
#[inline]
pub(super) fn long(bytes: &[u8; 64], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_iteration_survives_its_bytes(flags in 0u16..16, iteration: u64, begin_ticks: u64, end_ticks: u64,
            b: [u32; 4], device_ns in proptest::option::of(0..u64::MAX)) {
            let batch = Batch { context_requests: b[0], context_tokens: b[1], generation_requests: b[2],
                generation_tokens: b[3] };
            let flags = Flags::from_bits(flags);
            let event = Event::Iteration(Iteration { iteration, begin_ticks, end_ticks, batch, device_ns, flags });
            prop_assert_eq!(Event::from_bytes(&event.to_bytes()), Some(event));
        }

        #[test]
        fn a_thread_name_is_cut_between_characters(name in ".{0,60}", tid: u64) {
            let thread = Thread { tid, name: ThreadName::new(name.as_bytes()) };
            prop_assert!(name.starts_with(thread.name.as_str()));
            prop_assert!(name.len() > THREAD_NAME_BYTES || name == thread.name.as_str());
            prop_assert!(thread.name.as_str().len() + 3 >= name.len().min(THREAD_NAME_BYTES));
            prop_assert_eq!(Event::from_bytes(&Event::Thread(thread).to_bytes()), Some(Event::Thread(thread)));
        }

        #[test]
        fn any_counter_survives_its_bytes(at_ns: u64, gpu: u32, number in 1u16..19, pid: u32,
            value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let metric = Metric::of(number).unwrap_or(Metric::Power);
            let event = Event::Counter(Counter { at_ns, gpu, metric, pid, value });
            prop_assert_eq!(Event::from_bytes(&event.to_bytes()), Some(event));
        }

        #[test]
        fn any_span_survives_its_bytes(ticks: [u64; 2], short in proptest::option::of(any::<[u8; 32]>()), n in 0u8..33,
            slot in 1..=MAX_SLOT, domain in 0..=MAX_SLOT, depth: u16, is_async: bool, part: u16, length in 0u16..241,
            bytes in proptest::collection::vec(any::<u8>(), 48)) {
            let name = short.map_or(SpanName::Slot(slot), |bytes| SpanName::Short(bytes, n));
            let (begin_ticks, end_ticks) = (ticks[0].min(ticks[1]), ticks[0].max(ticks[1]));
            let span = Event::Span(Span { begin_ticks, end_ticks, name, domain, depth, is_async });
            prop_assert_eq!(Event::from_bytes(&span.to_bytes()), Some(span));
            let text = Event::Text(TextPart { slot, part, length, bytes: bytes.try_into().unwrap() });
            prop_assert_eq!(Event::from_bytes(&text.to_bytes()), Some(text));
        }

        #[test]
        fn bytes_of_a_stranger_never_panic(bytes in proptest::collection::vec(any::<u8>(), 64), kind in 0u16..24) {
            let mut slot = [0; EVENT_BYTES];
            slot.copy_from_slice(&bytes);
            slot[..2].copy_from_slice(&kind.to_le_bytes());
            if let Some(event) = Event::from_bytes(&slot) {
                // By their bytes: a float of a stranger's may be no number, which equals nothing.
                let bytes = event.to_bytes();
                prop_assert_eq!(Event::from_bytes(&bytes).map(|event| event.to_bytes()), Some(bytes));
            }
        }
    }
}
