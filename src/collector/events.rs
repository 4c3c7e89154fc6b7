//! From a ring slot to a trusted event: unknown kinds and impossible times are refused here, once and for all.

use crate::trace::event::{Anchor, Batch, Event, Flags, Iteration, Thread, ThreadName};
use crate::wire::names;
use crate::wire::record::{Record, Words};
use crate::wire::segment::Segment;

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
    }
}

/// The same instant in the trace's own words.
pub(super) fn anchor(a: crate::wire::layout::Anchor) -> Anchor {
    Anchor { ticks: a.ticks, monotonic_ns: a.monotonic_ns, realtime_ns: a.realtime_ns }
}
