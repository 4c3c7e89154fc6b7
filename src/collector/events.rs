//! From a ring slot to a trusted event: unknown kinds and impossible times are refused here, once and for all.

use crate::trace::event::{
    Anchor, Batch, Event, Flags, Iteration, MAX_SLOT, SHORT_NAME_BYTES, Span, SpanName, TEXT_BYTES, TEXT_PART_BYTES,
    TextPart, Thread, ThreadName,
};
use crate::wire::names;
use crate::wire::record::{self, Record, Words};
use crate::wire::segment::Segment;

use super::recorded;

/// Decodes and checks; `None` for what no agent of ours writes.
pub(super) fn trusted(segment: &Segment, words: &Words) -> Option<Event> {
    match Record::decode(words)? {
        Record::Iteration(i) => {
            let plausible = i.iteration > 0 && i.begin_ticks <= i.end_ticks;
            plausible.then_some(Event::Iteration(Iteration {
                iteration: i.iteration,
                begin_ticks: i.begin_ticks,
                end_ticks: i.end_ticks,
                batch: Batch {
                    context_requests: i.batch.context_requests,
                    context_tokens: i.batch.context_tokens,
                    generation_requests: i.batch.generation_requests,
                    generation_tokens: i.batch.generation_tokens,
                },
                device_ns: i.device_ns,
                // Both sides number the flags alike; what is not known is dropped.
                flags: Flags::from_bits(i.flags),
            }))
        }
        Record::Thread(t) => {
            let name = names::get(segment, t.name).unwrap_or_default();
            Some(Event::Thread(Thread { tid: t.tid, name: ThreadName::new(name.as_bytes()) }))
        }
        Record::Span(s) => {
            let name = match s.name {
                record::SpanName::Short(words, length) => u8::try_from(length)
                    .ok()
                    .filter(|&length| usize::from(length) <= SHORT_NAME_BYTES)
                    .map(|length| SpanName::Short(bytes_of(words), length)),
                record::SpanName::Slot(slot) => (1..=SLOTS).contains(&slot).then_some(SpanName::Slot(slot)),
            };
            let plausible = s.begin_ticks <= s.end_ticks && s.domain <= SLOTS;
            name.filter(|_| plausible).map(|name| {
                let record::Span { begin_ticks, end_ticks, depth, domain, is_async, .. } = s;
                Event::Span(Span { begin_ticks, end_ticks, name, domain, depth, is_async })
            })
        }
        Record::Text(t) => {
            let (slot, part, length) = (t.slot, t.part, t.length);
            let starts = usize::from(part) * TEXT_PART_BYTES;
            let plausible = (1..=SLOTS).contains(&slot)
                && usize::from(length) <= TEXT_BYTES
                && (starts < usize::from(length) || part == 0);
            plausible.then_some(Event::Text(TextPart { slot, part, length, bytes: bytes_of(t.bytes) }))
        }
        told => recorded::trusted(&told),
    }
}

/// Slots that our agents have.
pub(super) const SLOTS: u16 = (record::DOMAIN_SLOTS + record::NAME_SLOTS + record::KEY_SLOTS) as u16;

const _: () = {
    assert!(SLOTS <= MAX_SLOT && record::SHORT_BYTES == SHORT_NAME_BYTES);
    assert!(record::TEXT_BYTES == TEXT_BYTES && record::PART_BYTES == TEXT_PART_BYTES);
};

/// Words in memory's order.
pub(super) fn bytes_of<const W: usize, const B: usize>(words: [u64; W]) -> [u8; B] {
    const { assert!(W * 8 == B) };
    let mut bytes = [0; B];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The same instant in the trace's own words.
pub(super) fn anchor(a: crate::wire::layout::Anchor) -> Anchor {
    Anchor { ticks: a.ticks, monotonic_ns: a.monotonic_ns, realtime_ns: a.realtime_ns }
}
