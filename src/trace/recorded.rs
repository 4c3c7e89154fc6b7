//! What an engine tells of itself, in the trusted event model: events with arguments, tracks, requests.
//!
//! Each stands in 64 bytes of a fragment: kind (2) · flags (2) · 0 (4) · seven words. Little-endian; parts of a text are
//! bytes as they come.
//!
//! | word | event (kind 16) | argument (17) | track (18) | request (19) | served (20) |
//! | --- | --- | --- | --- | --- | --- |
//! | flags | shape (4 bits) · flow (2 bits) | type | 0 | moment | 0 |
//! | 1 | begin ticks | slot of the key (2) · part (2) · bytes of the text (2) | number | number | iteration |
//! | 2 | end ticks, or the value as a 64-bit float | value, or text | slot of the name | ticks | number of a request, or 0 |
//! | 3 | slots of name (2) and category (2) · depth (2) · arguments (2) | text | 0 | iteration, or 0 | another |
//! | 4 | track, 0 for the thread's | text | 0 | prompt tokens (4) · output tokens (4) | another |
//! | 5 | device nanoseconds, all ones for none | text | 0 | cached tokens | tokens of the first (4) · of the second (4) |
//! | 6 | flow, 0 for none | text | 0 | slot of the id, or 0 | tokens of the third |
//! | 7 | 0 | text | 0 | 0 | 0 |

use super::event::{EVENT_BYTES, MAX_SLOT, NO_DEVICE_TIME, TEXT_BYTES, TEXT_PART_BYTES, half, long, word};
pub use super::writer::FlowStep;

/// What an event looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nested in what surrounds it on its track.
    Span,
    /// A moment.
    Instant,
    /// A value from now on: the end is the bits of a 64-bit float.
    Counter,
    /// Told afterwards: it may overlap anything.
    Duration,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// What it looks like.
    pub shape: Shape,
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks, not before the begin; or see [`Shape::Counter`].
    pub end_ticks: u64,
    /// Slot of its name.
    pub name: u16,
    /// Slot of its category; 0: none.
    pub category: u16,
    /// Spans of its track that were open around it.
    pub depth: u16,
    /// Arguments in front of it.
    pub arguments: u16,
    /// The logical track it is on; 0: that of its thread.
    pub track: u64,
    /// How long the same work took on the device, nanoseconds.
    pub device_ns: Option<u64>,
    /// The arrow that it is a part of.
    pub flow: Option<(FlowStep, u64)>,
}

/// A value, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ArgumentValue {
    /// A whole number.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// Any number.
    Float(f64),
    /// Yes or no.
    Flag(bool),
    /// Part of a text: which, bytes of the whole, and the bytes.
    Text(u16, u16, [u8; TEXT_PART_BYTES]),
}

/// An argument of the next event of its ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedArgument {
    /// Slot of its key.
    pub key: u16,
    /// Its value.
    pub value: ArgumentValue,
}

/// A logical track has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackName {
    /// Its number in its process; not 0.
    pub track: u64,
    /// Slot of its name.
    pub name: u16,
}

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It arrived at the server.
    Arrived,
    /// The scheduler has it, and it waits.
    Queued,
    /// It is computed for the first time, or again after it was preempted.
    Scheduled,
    /// Its first token is there.
    FirstToken,
    /// It was put back to wait.
    Preempted,
    /// Its last token is there.
    LastToken,
    /// It is done.
    Finished,
    /// It was given up.
    Aborted,
}

impl Moment {
    const ALL: [Self; 8] = [
        Self::Arrived,
        Self::Queued,
        Self::Scheduled,
        Self::FirstToken,
        Self::Preempted,
        Self::LastToken,
        Self::Finished,
        Self::Aborted,
    ];

    /// By its number, from 1; `None` for one that this version does not know.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    fn number(self) -> u16 {
        self as u16 + 1
    }
}

/// Something happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestMoment {
    /// Its number, equal in all processes of an engine; not 0.
    pub request: u64,
    /// What.
    pub moment: Moment,
    /// When, ticks.
    pub ticks: u64,
    /// In which iteration; 0: none, or not known.
    pub iteration: u64,
    /// Tokens of its prompt; 0: not known.
    pub prompt_tokens: u32,
    /// Tokens put out so far.
    pub output_tokens: u32,
    /// Tokens of its prompt that were in a cache.
    pub cached_tokens: u32,
    /// Slot of its id; 0: not told.
    pub id: u16,
}

/// Requests that an iteration computed, and how many tokens of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Which iteration.
    pub iteration: u64,
    /// Numbers and tokens; a number of 0 is none.
    pub requests: [(u64, u32); 3],
}

pub(super) const KIND_RECORDED: u16 = 16;
pub(super) const KIND_ARGUMENT: u16 = 17;
pub(super) const KIND_TRACK: u16 = 18;
pub(super) const KIND_REQUEST: u16 = 19;
pub(super) const KIND_SERVED: u16 = 20;

/// Writes kind, flags and words 1 to 7.
fn put(bytes: &mut [u8; EVENT_BYTES], kind: u16, flags: u16, words: [u64; 7]) {
    bytes[..2].copy_from_slice(&kind.to_le_bytes());
    bytes[2..4].copy_from_slice(&flags.to_le_bytes());
    for (to, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Recorded {
    pub(super) fn encode(&self, bytes: &mut [u8; EVENT_BYTES]) {
        let (step, flow) = match self.flow {
            Some((FlowStep::Begin, flow)) => (0, flow),
            Some((FlowStep::Step, flow)) => (1, flow),
            Some((FlowStep::End, flow)) => (2, flow),
            None => (0, 0),
        };
        let about = [self.name, self.category, self.depth, self.arguments];
        let about = about.into_iter().rev().fold(0, |word, half| word << 16 | u64::from(half));
        let device_ns = self.device_ns.unwrap_or(NO_DEVICE_TIME);
        let words = [self.begin_ticks, self.end_ticks, about, self.track, device_ns, flow, 0];
        put(bytes, KIND_RECORDED, self.shape as u16 | step << 4, words);
    }

    pub(super) fn decode(bytes: &[u8; EVENT_BYTES]) -> Option<Self> {
        let flags = half(bytes, 2);
        let shape = match flags & 15 {
            0 => Shape::Span,
            1 => Shape::Instant,
            2 => Shape::Counter,
            3 => Shape::Duration,
            _ => return None,
        };
        let step = match flags >> 4 & 3 {
            0 => FlowStep::Begin,
            1 => FlowStep::Step,
            _ => FlowStep::End,
        };
        let (begin_ticks, end_ticks) = (long(bytes, 8), long(bytes, 16));
        let (device_ns, flow) = (long(bytes, 40), long(bytes, 48));
        Some(Self {
            shape,
            begin_ticks,
            end_ticks: if shape == Shape::Counter { end_ticks } else { end_ticks.max(begin_ticks) },
            name: half(bytes, 24).min(MAX_SLOT),
            category: half(bytes, 26).min(MAX_SLOT),
            depth: half(bytes, 28),
            arguments: half(bytes, 30),
            track: long(bytes, 32),
            device_ns: (device_ns != NO_DEVICE_TIME).then_some(device_ns),
            flow: (flow != 0).then_some((step, flow)),
        })
    }
}

impl RecordedArgument {
    pub(super) fn encode(&self, bytes: &mut [u8; EVENT_BYTES]) {
        let key = u64::from(self.key);
        let (kind, value) = match self.value {
            ArgumentValue::Unsigned(value) => (1, value),
            ArgumentValue::Signed(value) => (2, value as u64),
            ArgumentValue::Float(value) => (3, value.to_bits()),
            ArgumentValue::Flag(value) => (4, u64::from(value)),
            ArgumentValue::Text(part, length, text) => {
                put(bytes, KIND_ARGUMENT, 5, [key | u64::from(part) << 16 | u64::from(length) << 32, 0, 0, 0, 0, 0, 0]);
                bytes[EVENT_BYTES - TEXT_PART_BYTES..].copy_from_slice(&text);
                return;
            }
        };
        put(bytes, KIND_ARGUMENT, kind, [key, value, 0, 0, 0, 0, 0]);
    }

    pub(super) fn decode(bytes: &[u8; EVENT_BYTES]) -> Option<Self> {
        let value = long(bytes, 16);
        let value = match half(bytes, 2) {
            1 => ArgumentValue::Unsigned(value),
            2 => ArgumentValue::Signed(value as i64),
            3 => ArgumentValue::Float(f64::from_bits(value)),
            4 => ArgumentValue::Flag(value != 0),
            5 => {
                let (_, text) = bytes.split_last_chunk::<TEXT_PART_BYTES>()?;
                ArgumentValue::Text(half(bytes, 10), half(bytes, 12).min(TEXT_BYTES as u16), *text)
            }
            _ => return None,
        };
        Some(Self { key: half(bytes, 8).min(MAX_SLOT), value })
    }
}

impl TrackName {
    pub(super) fn encode(&self, bytes: &mut [u8; EVENT_BYTES]) {
        put(bytes, KIND_TRACK, 0, [self.track, self.name.into(), 0, 0, 0, 0, 0]);
    }

    pub(super) fn decode(bytes: &[u8; EVENT_BYTES]) -> Self {
        Self { track: long(bytes, 8), name: half(bytes, 16).min(MAX_SLOT) }
    }
}

impl RequestMoment {
    pub(super) fn encode(&self, bytes: &mut [u8; EVENT_BYTES]) {
        let tokens = pair(self.prompt_tokens, self.output_tokens);
        let (cached, id) = (self.cached_tokens.into(), self.id.into());
        let words = [self.request, self.ticks, self.iteration, tokens, cached, id, 0];
        put(bytes, KIND_REQUEST, self.moment.number(), words);
    }

    pub(super) fn decode(bytes: &[u8; EVENT_BYTES]) -> Option<Self> {
        Some(Self {
            request: Some(long(bytes, 8)).filter(|&number| number != 0)?,
            moment: Moment::from_number(half(bytes, 2))?,
            ticks: long(bytes, 16),
            iteration: long(bytes, 24),
            prompt_tokens: word(bytes, 32),
            output_tokens: word(bytes, 36),
            cached_tokens: word(bytes, 40),
            id: half(bytes, 48).min(MAX_SLOT),
        })
    }
}

impl Served {
    pub(super) fn encode(&self, bytes: &mut [u8; EVENT_BYTES]) {
        let [(a, tokens_a), (b, tokens_b), (c, tokens_c)] = self.requests;
        let words = [self.iteration, a, b, c, pair(tokens_a, tokens_b), tokens_c.into(), 0];
        put(bytes, KIND_SERVED, 0, words);
    }

    pub(super) fn decode(bytes: &[u8; EVENT_BYTES]) -> Self {
        let tokens = [word(bytes, 40), word(bytes, 44), word(bytes, 48)];
        let [a, b, c] = [16, 24, 32].map(|at| long(bytes, at));
        Self { iteration: long(bytes, 8), requests: [(a, tokens[0]), (b, tokens[1]), (c, tokens[2])] }
    }
}
