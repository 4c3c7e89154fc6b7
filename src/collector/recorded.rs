//! What an engine tells of itself, from ring slots to trusted events: as [`super::events`], of which it is a part.

use crate::trace::event::{Event, TEXT_BYTES, TEXT_PART_BYTES};
use crate::trace::recorded::{
    ArgumentValue, FlowStep, Moment, Recorded, RecordedArgument, RequestMoment, Served, Shape, TrackName,
};
use crate::wire::event::{self, MAX_ARGUMENTS, Value};
use crate::wire::record::Record;

use super::events::{SLOTS, bytes_of};

/// Checks; `None` for what no agent of ours writes.
pub(super) fn trusted(record: &Record) -> Option<Event> {
    match record {
        Record::Event(e) => self::event(e).map(Event::Recorded),
        Record::Argument(a) => argument(a).map(Event::Argument),
        Record::Track(t) => {
            let plausible = t.track != 0 && is_slot(t.name);
            plausible.then_some(Event::Track(TrackName { track: t.track, name: t.name }))
        }
        Record::Request(r) => request(r).map(Event::Request),
        Record::Served(s) => {
            let plausible = s.iteration > 0 && s.requests.iter().any(|&(number, _)| number != 0);
            plausible.then_some(Event::Served(Served { iteration: s.iteration, requests: s.requests }))
        }
        Record::Iteration(_) | Record::Thread(_) | Record::Span(_) | Record::Text(_) => None,
    }
}

fn is_slot(slot: u16) -> bool {
    (1..=SLOTS).contains(&slot)
}

fn event(e: &event::Event) -> Option<Recorded> {
    let shape = match e.shape {
        event::Shape::Span => Shape::Span,
        event::Shape::Instant => Shape::Instant,
        event::Shape::Counter => Shape::Counter,
        event::Shape::Duration => Shape::Duration,
    };
    let in_time = match shape {
        Shape::Counter => f64::from_bits(e.end_ticks).is_finite(),
        _ => e.begin_ticks <= e.end_ticks,
    };
    let plausible = in_time && is_slot(e.name) && e.category <= SLOTS && usize::from(e.arguments) <= MAX_ARGUMENTS;
    plausible.then_some(Recorded {
        shape,
        begin_ticks: e.begin_ticks,
        end_ticks: e.end_ticks,
        name: e.name,
        category: e.category,
        depth: e.depth,
        arguments: e.arguments,
        track: e.track,
        device_ns: e.device_ns,
        flow: e.flow.map(|(step, number)| {
            let step = match step {
                event::FlowStep::Begin => FlowStep::Begin,
                event::FlowStep::Step => FlowStep::Step,
                event::FlowStep::End => FlowStep::End,
            };
            (step, number)
        }),
    })
}

fn argument(a: &event::Argument) -> Option<RecordedArgument> {
    let value = match a.value {
        Value::Unsigned(value) => ArgumentValue::Unsigned(value),
        Value::Signed(value) => ArgumentValue::Signed(value),
        Value::Float(bits) => ArgumentValue::Float(f64::from_bits(bits)),
        Value::Flag(value) => ArgumentValue::Flag(value),
        Value::Text { part, length, bytes } => {
            let starts = usize::from(part) * TEXT_PART_BYTES;
            let plausible = usize::from(length) <= TEXT_BYTES && (starts < usize::from(length) || part == 0);
            plausible.then(|| ArgumentValue::Text(part, length, bytes_of(bytes)))?
        }
    };
    is_slot(a.key).then_some(RecordedArgument { key: a.key, value })
}

fn request(r: &event::Request) -> Option<RequestMoment> {
    let moment = Moment::from_number(r.moment)?;
    (r.request != 0 && r.id <= SLOTS).then_some(RequestMoment {
        request: r.request,
        moment,
        ticks: r.ticks,
        iteration: r.iteration,
        prompt_tokens: r.prompt_tokens,
        output_tokens: r.output_tokens,
        cached_tokens: r.cached_tokens,
        id: r.id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::Words;
    use proptest::prelude::*;

    proptest! {
        /// Whatever stands in a slot is refused, or an event that a fragment gives back as it is.
        #[test]
        fn what_is_trusted_survives_a_fragment(mut words: Words, kind in 5u64..10, slots: [u8; 4], short: bool) {
            words[0] = words[0] & !0xffff | kind;
            if short {
                // Near enough to the truth that most of it is taken.
                words[0] = words[0] & !(0xffff << 16) | u64::from(slots[3] % 9) << 16;
                let [a, b, c, d] = slots.map(u64::from);
                words[1] = words[1].min(words[2]);
                words[3] = a | b << 16 | c << 32 | (d % 20) << 48;
            }
            let Some(event) = Record::decode(&words).as_ref().and_then(trusted) else { return Ok(()) };
            let bytes = event.to_bytes();
            // By their bytes: a float of a stranger's may be no number, which equals nothing.
            prop_assert_eq!(Event::from_bytes(&bytes).map(|event| event.to_bytes()), Some(bytes));
        }
    }
}
