//! The fixed 64-byte record: eight words, encoded by the agent, decoded and checked by the collector.
//!
//! | word | iteration | thread | span | text |
//! | --- | --- | --- | --- | --- |
//! | 0 | kind (16) · flags (16) · generation (32) | the same | the same | the same |
//! | 1 | iteration number | thread id | begin, ticks | slot (16) · part (16) · bytes of the whole text (16) |
//! | 2 | begin, ticks | when it was announced, ticks | end, ticks | 48 bytes of the text |
//! | 3 | end, ticks | name, an id of [`crate::wire::names`] | bytes of the name (16) · slot of the name (16) · slot of the domain (16) · depth (16) | text |
//! | 4 | context requests (32) · context tokens (32) | 0 | the name, where it is short: 32 bytes | text |
//! | 5 | generation requests (32) · generation tokens (32) | 0 | name | text |
//! | 6 | device time, nanoseconds, or `NONE` | 0 | name | text |
//! | 7 | 0 | 0 | name | text |
//!
//! The records of [`super::event`] are described there.
//!
//! **Texts.** What does not fit into a span stands in a *slot* of its ring: text records put it there, parts in order, and
//! it holds until the next text of that slot, or of another generation, comes along the same ring. Slot 0 is none.

use super::event;
use super::layout::NONE;
use super::text::cut;

/// Longest name that stands in its span.
pub const SHORT_BYTES: usize = 32;
/// Longest text; what is longer is cut at a character.
pub const TEXT_BYTES: usize = 240;
/// Bytes of a text in one record.
pub const PART_BYTES: usize = 48;
/// Slots of a ring for the names of domains and categories, from 1 on.
pub const DOMAIN_SLOTS: usize = 32;
/// Slots of a ring for names, behind those.
pub const NAME_SLOTS: usize = 128;
/// Slots of a ring for the keys of arguments, behind those.
pub const KEY_SLOTS: usize = 64;

/// A record as it lies in a ring slot.
pub type Words = [u64; 8];

/// What an iteration was like; bits of [`Iteration::flags`].
pub mod flags {
    /// A dummy batch that keeps data-parallel ranks in step.
    pub const DUMMY: u16 = 1;
    /// The next begin ended it: no end was seen.
    pub const UNENDED: u16 = 2;
    /// The window was closed while it ran; `end` is the closing time.
    pub const MID_ITERATION: u16 = 4;
    /// No batch composition was given.
    pub const NO_BATCH: u16 = 8;
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

/// One iteration inside a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iteration {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// [`flags`].
    pub flags: u16,
    /// Number, from 1 per process.
    pub iteration: u64,
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks.
    pub end_ticks: u64,
    /// What was computed.
    pub batch: Batch,
    /// Device time in nanoseconds, where a hook could record it.
    pub device_ns: Option<u64>,
}

/// A thread names itself before its first record of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// Thread id in the engine's pid namespace.
    pub tid: u64,
    /// When, ticks.
    pub ticks: u64,
    /// Name, an id of [`crate::wire::names`].
    pub name: u64,
}

/// What a span is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanName {
    /// So many bytes, up to [`SHORT_BYTES`], in memory's order; the rest is 0.
    Short([u64; 4], u16),
    /// The text in this slot.
    Slot(u16),
}

impl SpanName {
    /// A name that stands in the span; `None` if it is too long.
    #[inline]
    pub fn short(text: &[u8]) -> Option<Self> {
        let mut words = [0u64; 4];
        if text.len() > size_of_val(&words) {
            return None;
        }
        // SAFETY: as many bytes as both have.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), words.as_mut_ptr().cast::<u8>(), text.len()) };
        Some(Self::Short(words, text.len() as u16))
    }
}

/// A range that the engine told of, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// May overlap others, and may have begun on another thread.
    pub is_async: bool,
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks.
    pub end_ticks: u64,
    /// Spans of its thread and domain that were open around it.
    pub depth: u16,
    /// Slot of its domain's name; 0: the domain without a name.
    pub domain: u16,
    /// What it is called.
    pub name: SpanName,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPart {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// Which slot it goes to.
    pub slot: u16,
    /// Which part, from 0.
    pub part: u16,
    /// Bytes of the whole text, up to [`TEXT_BYTES`].
    pub length: u16,
    /// This part, in memory's order; 0 behind the text's end.
    pub bytes: [u64; 6],
}

impl TextPart {
    /// Part `part` of a text; `None` behind its end.
    pub fn of(generation: u32, slot: u16, text: &[u8], part: u16) -> Option<Self> {
        let (length, bytes) = part_of(text, part)?;
        Some(Self { generation, slot, part, length, bytes })
    }
}

/// Bytes of the whole text as it is kept, and part `part` of it, in memory's order; `None` behind its end.
pub(super) fn part_of(text: &[u8], part: u16) -> Option<(u16, [u64; 6])> {
    let text = cut(text, TEXT_BYTES);
    let rest = text.get(usize::from(part).wrapping_mul(PART_BYTES)..).filter(|rest| !rest.is_empty() || part == 0)?;
    let mut bytes = [0u64; 6];
    let count = rest.len().min(size_of_val(&bytes));
    // SAFETY: as many bytes as both have.
    unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), bytes.as_mut_ptr().cast::<u8>(), count) };
    Some((text.len() as u16, bytes))
}

/// A decoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// See [`Iteration`].
    Iteration(Iteration),
    /// See [`Thread`].
    Thread(Thread),
    /// See [`Span`].
    Span(Span),
    /// See [`TextPart`].
    Text(TextPart),
    /// See [`event::Event`].
    Event(event::Event),
    /// See [`event::Argument`].
    Argument(event::Argument),
    /// See [`event::Track`].
    Track(event::Track),
    /// See [`event::Request`].
    Request(event::Request),
    /// See [`event::Served`].
    Served(event::Served),
}

const KIND_ITERATION: u64 = 1;
const KIND_THREAD: u64 = 2;
const KIND_SPAN: u64 = 3;
const KIND_TEXT: u64 = 4;
/// Flag of a span: see [`Span::is_async`].
const ASYNC: u64 = 1 << 16;

impl Record {
    /// Encodes for a ring slot.
    #[inline(always)]
    pub fn encode(&self) -> Words {
        match self {
            Self::Iteration(i) => [
                KIND_ITERATION | u64::from(i.flags) << 16 | u64::from(i.generation) << 32,
                i.iteration,
                i.begin_ticks,
                i.end_ticks,
                u64::from(i.batch.context_requests) | u64::from(i.batch.context_tokens) << 32,
                u64::from(i.batch.generation_requests) | u64::from(i.batch.generation_tokens) << 32,
                i.device_ns.unwrap_or(NONE),
                0,
            ],
            Self::Thread(t) => [KIND_THREAD | u64::from(t.generation) << 32, t.tid, t.ticks, t.name, 0, 0, 0, 0],
            Self::Span(s) => {
                let head = KIND_SPAN | if s.is_async { ASYNC } else { 0 } | u64::from(s.generation) << 32;
                let more = u64::from(s.domain) << 32 | u64::from(s.depth) << 48;
                let (about, [a, b, c, d]) = match s.name {
                    SpanName::Short(words, length) => (u64::from(length), words),
                    SpanName::Slot(slot) => (u64::from(slot) << 16, [0; 4]),
                };
                [head, s.begin_ticks, s.end_ticks, about | more, a, b, c, d]
            }
            Self::Text(t) => {
                let head = KIND_TEXT | u64::from(t.generation) << 32;
                let about = u64::from(t.slot) | u64::from(t.part) << 16 | u64::from(t.length) << 32;
                let [a, b, c, d, e, f] = t.bytes;
                [head, about, a, b, c, d, e, f]
            }
            Self::Event(e) => e.encode(),
            Self::Argument(a) => a.encode(),
            Self::Track(t) => t.encode(),
            Self::Request(r) => r.encode(),
            Self::Served(s) => s.encode(),
        }
    }

    /// Decodes what stood in a slot. `None`: not a record that this version knows.
    pub fn decode(w: &Words) -> Option<Self> {
        let generation = (w[0] >> 32) as u32;
        match w[0] & 0xffff {
            KIND_ITERATION => Some(Self::Iteration(Iteration {
                generation,
                flags: (w[0] >> 16) as u16,
                iteration: w[1],
                begin_ticks: w[2],
                end_ticks: w[3],
                batch: Batch {
                    context_requests: w[4] as u32,
                    context_tokens: (w[4] >> 32) as u32,
                    generation_requests: w[5] as u32,
                    generation_tokens: (w[5] >> 32) as u32,
                },
                device_ns: (w[6] != NONE).then_some(w[6]),
            })),
            KIND_THREAD => Some(Self::Thread(Thread { generation, tid: w[1], ticks: w[2], name: w[3] })),
            KIND_SPAN => Some(Self::Span(Span {
                generation,
                is_async: w[0] & ASYNC != 0,
                begin_ticks: w[1],
                end_ticks: w[2],
                depth: (w[3] >> 48) as u16,
                domain: (w[3] >> 32) as u16,
                name: match (w[3] >> 16) as u16 {
                    0 => SpanName::Short([w[4], w[5], w[6], w[7]], w[3] as u16),
                    slot => SpanName::Slot(slot),
                },
            })),
            KIND_TEXT => Some(Self::Text(TextPart {
                generation,
                slot: w[1] as u16,
                part: (w[1] >> 16) as u16,
                length: (w[1] >> 32) as u16,
                bytes: [w[2], w[3], w[4], w[5], w[6], w[7]],
            })),
            event::KIND_EVENT => event::Event::decode(generation, w).map(Self::Event),
            event::KIND_ARGUMENT => event::Argument::decode(generation, w).map(Self::Argument),
            event::KIND_TRACK => Some(Self::Track(event::Track::decode(generation, w))),
            event::KIND_REQUEST => Some(Self::Request(event::Request::decode(generation, w))),
            event::KIND_SERVED => Some(Self::Served(event::Served::decode(generation, w))),
            _ => None,
        }
    }

    /// The low half of the generation that a slot's record belongs to.
    pub fn generation_of(w: &Words) -> u32 {
        (w[0] >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_iteration_survives_the_slot(generation: u32, flags: u16, iteration: u64, begin_ticks: u64, end_ticks: u64,
            batch: [u32; 4], device_ns in proptest::option::of(0..NONE)) {
            let [context_requests, context_tokens, generation_requests, generation_tokens] = batch;
            let batch = Batch { context_requests, context_tokens, generation_requests, generation_tokens };
            let record = Record::Iteration(Iteration { generation, flags, iteration, begin_ticks, end_ticks, batch, device_ns });
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            prop_assert_eq!(Record::generation_of(&record.encode()), generation);
        }

        #[test]
        fn any_span_survives_the_slot(generation: u32, is_async: bool, ticks: [u64; 2], depth: u16, domain: u16, slot in 1..=u16::MAX,
            name in proptest::collection::vec(any::<u8>(), 0..50)) {
            let name = SpanName::short(&name).unwrap_or(SpanName::Slot(slot));
            let [begin_ticks, end_ticks] = ticks;
            let record = Record::Span(Span { generation, is_async, begin_ticks, end_ticks, depth, domain, name });
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            prop_assert_eq!(Record::generation_of(&record.encode()), generation);
        }

        #[test]
        fn any_event_survives_the_slot(generation: u32, shape in 0..4usize, words: [u64; 3], slots: [u16; 4],
            device_ns in proptest::option::of(0..NONE), flow in proptest::option::of((0..3usize, 1..u64::MAX))) {
            use event::{FlowStep, Shape};
            let [begin_ticks, end_ticks, track] = words;
            let [name, category, depth, arguments] = slots;
            let shape = [Shape::Span, Shape::Instant, Shape::Counter, Shape::Duration][shape];
            let flow = flow.map(|(step, number)| ([FlowStep::Begin, FlowStep::Step, FlowStep::End][step], number));
            let record = Record::Event(event::Event {
                generation, shape, begin_ticks, end_ticks, name, category, depth, arguments, track, device_ns, flow,
            });
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            prop_assert_eq!(Record::generation_of(&record.encode()), generation);
        }

        #[test]
        fn what_happens_to_requests_survives_the_slot(generation: u32, moment: u16, words: [u64; 3], tokens: [u32; 3], id: u16,
            requests: [(u64, u32); event::SERVED]) {
            let ([request, ticks, iteration], [prompt_tokens, output_tokens, cached_tokens]) = (words, tokens);
            for record in [
                Record::Request(event::Request {
                    generation, moment, request, ticks, iteration, prompt_tokens, output_tokens, cached_tokens, id,
                }),
                Record::Served(event::Served { generation, iteration, requests }),
                Record::Track(event::Track { generation, track: request, name: id }),
            ] {
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }

        #[test]
        fn any_argument_survives_the_slot(generation: u32, key: u16, word: u64, text in ".{0,300}") {
            use event::{Argument, Value};
            let values = [Value::Unsigned(word), Value::Signed(word as i64), Value::Float(word), Value::Flag(word & 1 == 0)];
            let whole = values.map(|value| Argument { generation, key, value });
            let parts = (0..).map_while(|part| Argument::of_text(generation, key, text.as_bytes(), part));
            for argument in whole.into_iter().chain(parts) {
                let record = Record::Argument(argument);
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }

        #[test]
        fn a_text_is_put_together_from_its_parts(text in ".{0,300}", generation: u32, slot: u16) {
            let kept = cut(text.as_bytes(), TEXT_BYTES);
            prop_assert!(text.len() > TEXT_BYTES || kept == text.as_bytes());
            prop_assert!(std::str::from_utf8(kept).is_ok() && kept.len() + 3 >= text.len().min(TEXT_BYTES));
            let parts = (0..).map_while(|part| TextPart::of(generation, slot, text.as_bytes(), part));
            let mut whole = Vec::new();
            for part in parts {
                prop_assert_eq!(Record::decode(&Record::Text(part).encode()), Some(Record::Text(part)));
                prop_assert_eq!(usize::from(part.length), kept.len());
                whole.extend(part.bytes.iter().flat_map(|word| word.to_ne_bytes()));
            }
            whole.truncate(kept.len());
            prop_assert_eq!(whole, kept);
        }
    }
}
