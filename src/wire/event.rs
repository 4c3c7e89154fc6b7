//! Records of what an engine tells of itself: events with arguments, logical tracks, requests and what served them.
//!
//! Word 0 is as in [`super::record`]: kind (16) · flags (16) · generation (32). Texts stand in slots, or in their record.
//!
//! | word | event | argument | track | request | served |
//! | --- | --- | --- | --- | --- | --- |
//! | flags | shape (4) · flow (2) | type (4) | 0 | moment | 0 |
//! | 1 | begin, ticks | slot of the key (16) · part (16) · bytes of the whole text (16) | number | number | iteration number |
//! | 2 | end, ticks; of a counter the value, a 64-bit float | the value, or 48 bytes of the text | slot of the name | ticks | number of a request, or 0 |
//! | 3 | slot of the name (16) · of the category (16) · depth (16) · arguments (16) | text | 0 | iteration number, or 0 | another, or 0 |
//! | 4 | track, or 0: the thread's own | text | 0 | prompt tokens (32) · output tokens (32) | another, or 0 |
//! | 5 | device time, nanoseconds, or `NONE` | text | 0 | cached tokens (32) | their tokens (2 × 32) |
//! | 6 | flow, or 0 | text | 0 | slot of the id, or 0 | of the third (32) |
//! | 7 | 0 | text | 0 | 0 | 0 |
//!
//! The arguments of an event stand right in front of it in its ring; a text of several parts takes several records.

use super::layout::NONE;
use super::record::{Words, part_of};

/// What an event looks like in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Shape {
    /// From begin to end, nested in what surrounds it on its track.
    Span = 1,
    /// A moment.
    Instant = 2,
    /// A value from now on.
    Counter = 3,
    /// From begin to end, told afterwards: it may overlap anything.
    Duration = 4,
}

/// An arrow of which an event is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum FlowStep {
    /// It begins here.
    Begin = 0,
    /// It passes through.
    Step = 1,
    /// It ends here.
    End = 2,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// What it looks like.
    pub shape: Shape,
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks; of a counter the bits of its value.
    pub end_ticks: u64,
    /// Slot of its name.
    pub name: u16,
    /// Slot of its category, or 0.
    pub category: u16,
    /// Spans of its track that were open around it.
    pub depth: u16,
    /// Arguments in front of it.
    pub arguments: u16,
    /// The logical track it is on; 0: that of the thread.
    pub track: u64,
    /// How long the same work took on the device, nanoseconds.
    pub device_ns: Option<u64>,
    /// The arrow, and its number, which is not 0.
    pub flow: Option<(FlowStep, u64)>,
}

/// A value of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// The bits of a 64-bit float.
    Float(u64),
    /// Yes or no.
    Flag(bool),
    /// Part of a text, in memory's order; 0 behind the text's end.
    Text {
        /// Which part, from 0.
        part: u16,
        /// Bytes of the whole text, up to [`TEXT_BYTES`](super::record::TEXT_BYTES).
        length: u16,
        /// This part.
        bytes: [u64; 6],
    },
}

/// An argument of the event behind it, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// Slot of its key.
    pub key: u16,
    /// Its value.
    pub value: Value,
}

/// A logical track has a name: a task's, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// Its number, not 0; the process's own.
    pub track: u64,
    /// Slot of its name.
    pub name: u16,
}

/// Something happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// [`Moment`]; a number that this version does not know is left to the reader.
    pub moment: u16,
    /// [`super::wanted::number`] of its id.
    pub request: u64,
    /// When, ticks.
    pub ticks: u64,
    /// The iteration, or 0.
    pub iteration: u64,
    /// Tokens of its prompt, as far as they are known.
    pub prompt_tokens: u32,
    /// Tokens put out so far.
    pub output_tokens: u32,
    /// Tokens of its prompt that were in a cache.
    pub cached_tokens: u32,
    /// Slot of its id, or 0.
    pub id: u16,
}

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Moment {
    /// It arrived at the server.
    Arrived = 1,
    /// The scheduler has it, and it waits.
    Queued = 2,
    /// It is computed for the first time, or again after it was preempted.
    Scheduled = 3,
    /// Its first token is there.
    FirstToken = 4,
    /// It was put back to wait.
    Preempted = 5,
    /// Its last token is there.
    LastToken = 6,
    /// It is done.
    Finished = 7,
    /// It was given up: by its client, or by the engine.
    Aborted = 8,
}

/// Requests that an iteration computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// Which iteration.
    pub iteration: u64,
    /// Their numbers and tokens; a number of 0 is none.
    pub requests: [(u64, u32); SERVED],
}

/// Requests in one [`Served`].
pub const SERVED: usize = 3;
/// Most arguments of an event.
pub const MAX_ARGUMENTS: usize = 16;

pub(super) const KIND_EVENT: u64 = 5;
pub(super) const KIND_ARGUMENT: u64 = 6;
pub(super) const KIND_TRACK: u64 = 7;
pub(super) const KIND_REQUEST: u64 = 8;
pub(super) const KIND_SERVED: u64 = 9;

const UNSIGNED: u64 = 1;
const SIGNED: u64 = 2;
const FLOAT: u64 = 3;
const FLAG: u64 = 4;
const TEXT: u64 = 5;

fn head(kind: u64, flags: u64, generation: u32) -> u64 {
    kind | flags << 16 | u64::from(generation) << 32
}

fn half(word: u64, index: u32) -> u16 {
    (word >> (16 * index)) as u16
}

impl Event {
    #[inline(always)]
    pub(super) fn encode(&self) -> Words {
        let (flow, number) = match self.flow {
            Some((step, number)) => (step as u64, number),
            None => (0, 0),
        };
        let slots = u64::from(self.name) | u64::from(self.category) << 16;
        [
            head(KIND_EVENT, self.shape as u64 | flow << 4, self.generation),
            self.begin_ticks,
            self.end_ticks,
            slots | u64::from(self.depth) << 32 | u64::from(self.arguments) << 48,
            self.track,
            self.device_ns.unwrap_or(NONE),
            number,
            0,
        ]
    }

    pub(super) fn decode(generation: u32, w: &Words) -> Option<Self> {
        let flags = half(w[0], 1);
        let step = match flags >> 4 & 3 {
            0 => FlowStep::Begin,
            1 => FlowStep::Step,
            _ => FlowStep::End,
        };
        Some(Self {
            generation,
            shape: match flags & 15 {
                1 => Shape::Span,
                2 => Shape::Instant,
                3 => Shape::Counter,
                4 => Shape::Duration,
                _ => return None,
            },
            begin_ticks: w[1],
            end_ticks: w[2],
            name: half(w[3], 0),
            category: half(w[3], 1),
            depth: half(w[3], 2),
            arguments: half(w[3], 3),
            track: w[4],
            device_ns: (w[5] != NONE).then_some(w[5]),
            flow: (w[6] != 0).then_some((step, w[6])),
        })
    }
}

impl Argument {
    /// Part `part` of a text as an argument; `None` behind its end.
    pub fn of_text(generation: u32, key: u16, text: &[u8], part: u16) -> Option<Self> {
        let (length, bytes) = part_of(text, part)?;
        Some(Self { generation, key, value: Value::Text { part, length, bytes } })
    }

    #[inline]
    pub(super) fn encode(&self) -> Words {
        let about = u64::from(self.key);
        let (kind, about, [a, b, c, d, e, f]) = match self.value {
            Value::Unsigned(value) => (UNSIGNED, about, [value, 0, 0, 0, 0, 0]),
            Value::Signed(value) => (SIGNED, about, [value as u64, 0, 0, 0, 0, 0]),
            Value::Float(bits) => (FLOAT, about, [bits, 0, 0, 0, 0, 0]),
            Value::Flag(flag) => (FLAG, about, [u64::from(flag), 0, 0, 0, 0, 0]),
            Value::Text { part, length, bytes } => {
                (TEXT, about | u64::from(part) << 16 | u64::from(length) << 32, bytes)
            }
        };
        [head(KIND_ARGUMENT, kind, self.generation), about, a, b, c, d, e, f]
    }

    pub(super) fn decode(generation: u32, w: &Words) -> Option<Self> {
        let value = match w[0] >> 16 & 15 {
            UNSIGNED => Value::Unsigned(w[2]),
            SIGNED => Value::Signed(w[2] as i64),
            FLOAT => Value::Float(w[2]),
            FLAG => Value::Flag(w[2] != 0),
            TEXT => {
                let bytes = [w[2], w[3], w[4], w[5], w[6], w[7]];
                Value::Text { part: half(w[1], 1), length: half(w[1], 2), bytes }
            }
            _ => return None,
        };
        Some(Self { generation, key: half(w[1], 0), value })
    }
}

impl Track {
    #[inline]
    pub(super) fn encode(&self) -> Words {
        [head(KIND_TRACK, 0, self.generation), self.track, self.name.into(), 0, 0, 0, 0, 0]
    }

    pub(super) fn decode(generation: u32, w: &Words) -> Self {
        Self { generation, track: w[1], name: half(w[2], 0) }
    }
}

impl Request {
    #[inline]
    pub(super) fn encode(&self) -> Words {
        [
            head(KIND_REQUEST, self.moment.into(), self.generation),
            self.request,
            self.ticks,
            self.iteration,
            u64::from(self.prompt_tokens) | u64::from(self.output_tokens) << 32,
            self.cached_tokens.into(),
            self.id.into(),
            0,
        ]
    }

    pub(super) fn decode(generation: u32, w: &Words) -> Self {
        Self {
            generation,
            moment: half(w[0], 1),
            request: w[1],
            ticks: w[2],
            iteration: w[3],
            prompt_tokens: w[4] as u32,
            output_tokens: (w[4] >> 32) as u32,
            cached_tokens: w[5] as u32,
            id: half(w[6], 0),
        }
    }
}

impl Served {
    #[inline]
    pub(super) fn encode(&self) -> Words {
        let [(a, tokens_a), (b, tokens_b), (c, tokens_c)] = self.requests;
        let tokens = u64::from(tokens_a) | u64::from(tokens_b) << 32;
        [head(KIND_SERVED, 0, self.generation), self.iteration, a, b, c, tokens, tokens_c.into(), 0]
    }

    pub(super) fn decode(generation: u32, w: &Words) -> Self {
        let requests = [(w[2], w[5] as u32), (w[3], (w[5] >> 32) as u32), (w[4], w[6] as u32)];
        Self { generation, iteration: w[1], requests }
    }
}
