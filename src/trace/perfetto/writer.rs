//! The writer: calls in, packets out.

use std::io::{self, Write};

use super::annotation;
use super::fields::{PACKET, annotation as annotation_fields, clock, defaults, event, interned, packet, track};
use super::interner::{Interned, Interner};
use super::proto::{Fields, Open, ProtoBuffer};
use super::tracks::{ROOT, Tracks};
use crate::trace::writer::{Argument, Flow, FlowStep, ProcessId, Slice, TraceStart, TraceWriter, Track, Value};

const FLUSH_BYTES: usize = 64 * 1024;
/// A reader's times are signed.
const LATEST_NS: u64 = i64::MAX.cast_unsigned();

/// Writes Perfetto's protobuf to a sink.
#[derive(Debug)]
pub struct PerfettoWriter<W: Write> {
    sink: W,
    proto: ProtoBuffer,
    /// Told to the trace with the packet that is open.
    fresh: ProtoBuffer,
    base_ns: u64,
    tracks: Tracks,
    categories: Interner,
    names: Interner,
    keys: Interner,
    /// Sequence id and flags: a part of every packet.
    tail: ProtoBuffer,
    only_rank: Option<u32>,
    events: u64,
}

/// A packet with an event in it, both open.
struct OpenEvent {
    packet: Open,
    event: Open,
}

impl<W: Write> PerfettoWriter<W> {
    /// A writer in front of its first call. The sink need not be buffered.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            proto: ProtoBuffer::with_capacity(FLUSH_BYTES + 4096),
            fresh: ProtoBuffer::default(),
            base_ns: 0,
            tracks: Tracks::default(),
            categories: Interner::new(64),
            names: Interner::new(2048),
            keys: Interner::new(256),
            tail: ProtoBuffer::default(),
            only_rank: None,
            events: 0,
        }
    }

    /// The sink; call it after [`TraceWriter::finish`].
    pub fn into_inner(self) -> W {
        self.sink
    }

    #[inline]
    fn close(&mut self, packet: Open) -> io::Result<()> {
        self.proto.close(packet);
        if self.proto.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(self.proto.bytes())?;
        self.proto.clear();
        Ok(())
    }

    /// A packet that describes a track, `fill` adding to its id.
    fn describe(&mut self, uuid: u64, fill: impl FnOnce(&mut ProtoBuffer)) -> io::Result<()> {
        let packet = self.proto.open(PACKET);
        self.proto.raw(self.tail.bytes());
        let descriptor = self.proto.open(packet::TRACK_DESCRIPTOR);
        self.proto.number(track::UUID, uuid);
        fill(&mut self.proto);
        self.proto.close(descriptor);
        self.close(packet)
    }

    /// Time, sequence and flags.
    #[inline]
    fn place(&self, fields: &mut Fields, at_ns: u64) {
        fields.number(packet::TIMESTAMP, at_ns.min(LATEST_NS).saturating_sub(self.base_ns));
        fields.raw(self.tail.bytes());
    }

    #[inline]
    fn open_event(&mut self, at_ns: u64, kind: u64, uuid: u64) -> OpenEvent {
        let mut head = Fields::new();
        let packet = head.message(PACKET, 0);
        self.place(&mut head, at_ns);
        let event = head.message(packet::TRACK_EVENT, 0);
        head.number(event::TYPE, kind);
        head.number(event::TRACK_UUID, uuid);
        let [packet, event] = self.proto.raw_open(&head, [packet, event]);
        OpenEvent { packet, event }
    }

    /// An event of two or three numbers and nothing else, which most are.
    #[inline]
    fn small_event(&mut self, at_ns: u64, body: &Fields) -> io::Result<()> {
        let mut head = Fields::new();
        let packet = head.message(PACKET, 0);
        self.place(&mut head, at_ns);
        let event = head.message(packet::TRACK_EVENT, 0);
        head.raw(body.bytes());
        let [packet, event] = self.proto.raw_open(&head, [packet, event]);
        self.proto.close(event);
        self.close(packet)
    }

    #[inline]
    fn close_event(&mut self, open: OpenEvent) -> io::Result<()> {
        self.proto.close(open.event);
        if self.fresh.len() > 0 {
            let interned = self.proto.open(packet::INTERNED_DATA);
            self.proto.raw(self.fresh.bytes());
            self.proto.close(interned);
            self.fresh.clear();
        }
        self.close(open.packet)
    }

    #[inline]
    fn title(&mut self, category: &str, name: &str) {
        let category_of = (interned::CATEGORIES, event::CATEGORY_IIDS, event::CATEGORIES);
        word(&mut self.proto, &mut self.fresh, self.categories.intern(category), category_of, category);
        let name_of = (interned::EVENT_NAMES, event::NAME_IID, event::NAME);
        word(&mut self.proto, &mut self.fresh, self.names.intern(name), name_of, name);
    }

    #[inline]
    fn arguments(&mut self, arguments: &[Argument<'_>]) {
        let key_of = (interned::ANNOTATION_NAMES, annotation_fields::NAME_IID, annotation_fields::NAME);
        for &(key, value) in arguments {
            let key_as = self.keys.intern(key);
            if let (Interned::Known(key), Value::Number(value)) = (key_as, value) {
                let mut whole = Fields::new();
                let open = whole.message(event::ANNOTATIONS, 0);
                whole.number(annotation_fields::NAME_IID, key);
                whole.number(annotation_fields::UINT, value);
                let [open] = self.proto.raw_open(&whole, [open]);
                self.proto.close(open);
                continue;
            }
            let open = self.proto.open(event::ANNOTATIONS);
            word(&mut self.proto, &mut self.fresh, key_as, key_of, key);
            annotation::value(&mut self.proto, value);
            self.proto.close(open);
        }
    }

    #[inline]
    fn flow(&mut self, flow: Flow) {
        let field = match flow.step {
            FlowStep::Begin | FlowStep::Step => event::FLOW_IDS,
            FlowStep::End => event::TERMINATING_FLOW_IDS,
        };
        self.proto.fixed(field, flow.id);
    }

    #[inline]
    fn slice_on(&mut self, uuid: u64, slice: &Slice<'_>, flows: &[Flow], arguments: &[Argument<'_>]) -> io::Result<()> {
        let open = self.open_event(slice.begin_ns, event::SLICE_BEGIN, uuid);
        self.title(slice.category, slice.name);
        flows.iter().for_each(|&flow| self.flow(flow));
        self.arguments(arguments);
        self.close_event(open)?;
        let mut end = Fields::new();
        end.number(event::TYPE, event::SLICE_END);
        end.number(event::TRACK_UUID, uuid);
        self.small_event(slice.begin_ns.saturating_add(slice.duration_ns), &end)
    }

    /// The track of a counter's value, described if it is new.
    fn counter_track(&mut self, process: ProcessId, name: &str, key: &str) -> io::Result<u64> {
        let (uuid, is_new) = self.tracks.counter(process, name, key);
        if is_new {
            let parent = Tracks::row(Track { process, row: 0 });
            let full = if key.is_empty() { name.to_owned() } else { format!("{name} {key}") };
            self.describe(uuid, |proto| {
                proto.number(track::PARENT_UUID, parent);
                proto.text(track::NAME, &full);
                let counter = proto.open(track::COUNTER);
                match unit(name) {
                    None => proto.number(track::COUNTER_UNIT, track::UNIT_COUNT),
                    Some("bytes") => proto.number(track::COUNTER_UNIT, track::UNIT_BYTES),
                    Some(unit) => proto.text(track::COUNTER_UNIT_NAME, unit),
                }
                proto.close(counter);
            })?;
        }
        Ok(uuid)
    }
}

impl<W: Write> TraceWriter for PerfettoWriter<W> {
    fn begin(&mut self, start: TraceStart) -> io::Result<()> {
        self.base_ns = start.base_ns.min(LATEST_NS);
        self.only_rank = start.only_rank;
        // 0 is none.
        let sequence = start.only_rank.map_or(1, |rank| u64::from(rank.min(u32::MAX - 2)) + 2);
        self.tail.number(packet::SEQUENCE_ID, sequence);
        self.tail.number(packet::SEQUENCE_FLAGS, packet::NEEDS_STATE);

        let packet = self.proto.open(PACKET);
        self.proto.number(packet::SEQUENCE_ID, sequence);
        self.proto.number(packet::SEQUENCE_FLAGS, packet::STATE_CLEARED);
        self.proto.number(packet::FIRST_ON_SEQUENCE, 1);
        let fallback = self.proto.open(packet::DEFAULTS);
        self.proto.number(defaults::TIMESTAMP_CLOCK_ID, clock::OF_SEQUENCE);
        self.proto.close(fallback);
        let snapshot = self.proto.open(packet::CLOCK_SNAPSHOT);
        for (id, at_ns) in [(clock::REALTIME, self.base_ns), (clock::OF_SEQUENCE, 0)] {
            let one = self.proto.open(clock::CLOCKS);
            self.proto.number(clock::ID, id);
            self.proto.number(clock::TIMESTAMP, at_ns);
            self.proto.close(one);
        }
        self.proto.number(clock::PRIMARY, clock::REALTIME);
        self.proto.close(snapshot);
        self.close(packet)?;
        self.describe(ROOT, |proto| {
            proto.number(track::PROCESS_ORDERING, track::EXPLICIT);
            proto.number(track::THREAD_ORDERING, track::EXPLICIT);
        })
    }

    fn process(&mut self, process: ProcessId, name: &str, label: &str, sort_index: u32) -> io::Result<()> {
        self.describe(Tracks::row(Track { process, row: 0 }), |proto| {
            proto.number(track::SIBLING_ORDER_RANK, rank(sort_index));
            let descriptor = proto.open(track::PROCESS);
            proto.number(track::PROCESS_PID, rank(process.0));
            proto.number(track::PROCESS_SORT_INDEX, rank(sort_index));
            proto.text(track::PROCESS_NAME, name);
            if !label.is_empty() {
                proto.text(track::PROCESS_LABELS, label);
            }
            proto.close(descriptor);
        })
    }

    fn track(&mut self, at: Track, name: &str, sort_index: u32) -> io::Result<()> {
        let parent = Tracks::row(Track { row: 0, ..at });
        self.describe(Tracks::row(at), |proto| {
            proto.number(track::PARENT_UUID, parent);
            proto.number(track::SIBLING_ORDER_RANK, rank(sort_index));
            let descriptor = proto.open(track::THREAD);
            proto.number(track::THREAD_PID, rank(at.process.0));
            proto.number(track::THREAD_TID, at.row.into());
            proto.number(track::THREAD_SORT_INDEX, rank(sort_index));
            proto.text(track::THREAD_NAME, name);
            proto.close(descriptor);
        })
    }

    fn slice(&mut self, slice: Slice<'_>, arguments: &[Argument<'_>]) -> io::Result<()> {
        self.events += 1;
        self.slice_on(Tracks::row(slice.track), &slice, slice.flows, arguments)
    }

    fn async_slice(&mut self, slice: Slice<'_>, _id: u64, arguments: &[Argument<'_>]) -> io::Result<()> {
        self.events += 2;
        let end_ns = slice.begin_ns.saturating_add(slice.duration_ns);
        let (uuid, is_new) = self.tracks.lane(slice.track, slice.begin_ns, end_ns);
        if is_new {
            let parent = Tracks::row(slice.track);
            self.describe(uuid, |proto| {
                proto.number(track::PARENT_UUID, parent);
                proto.text(track::NAME, slice.category);
            })?;
        }
        self.slice_on(uuid, &slice, &[], arguments)
    }

    fn instant(
        &mut self,
        track: Track,
        category: &str,
        name: &str,
        at_ns: u64,
        arguments: &[Argument<'_>],
    ) -> io::Result<()> {
        self.events += 1;
        let open = self.open_event(at_ns, event::INSTANT, Tracks::row(track));
        self.title(category, name);
        self.arguments(arguments);
        self.close_event(open)
    }

    fn counter(&mut self, process: ProcessId, name: &str, at_ns: u64, values: &[(&str, u64)]) -> io::Result<()> {
        self.events += 1;
        for &(key, value) in values {
            let uuid = self.counter_track(process, name, key)?;
            let mut body = Fields::new();
            body.number(event::TYPE, event::COUNTER);
            body.number(event::TRACK_UUID, uuid);
            body.number(event::COUNTER_VALUE, value.min(LATEST_NS));
            self.small_event(at_ns, &body)?;
        }
        Ok(())
    }

    fn gauge(&mut self, process: ProcessId, name: &str, at_ns: u64, value: f64) -> io::Result<()> {
        if !value.is_finite() {
            return Ok(());
        }
        self.events += 1;
        let uuid = self.counter_track(process, name, "")?;
        let mut body = Fields::new();
        body.number(event::TYPE, event::COUNTER);
        body.number(event::TRACK_UUID, uuid);
        body.double(event::DOUBLE_COUNTER_VALUE, value);
        self.small_event(at_ns, &body)
    }

    fn metadata(&mut self, metadata: &serde_json::Value) -> io::Result<()> {
        let uuid = Tracks::metadata(self.only_rank);
        self.describe(uuid, |proto| proto.text(track::NAME, "stepscope metadata"))?;
        let open = self.open_event(self.base_ns, event::INSTANT, uuid);
        self.title("stepscope", "metadata");
        if let Some(rank) = self.only_rank {
            annotation::members(&mut self.proto, &serde_json::json!({ "rank": rank }));
        }
        annotation::members(&mut self.proto, metadata);
        self.close_event(open)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sink.flush()
    }

    fn events(&self) -> u64 {
        self.events
    }
}

/// A text by its number, or as it is: the fields are those of the table, of the number and of the text.
#[inline]
fn word(
    proto: &mut ProtoBuffer,
    fresh: &mut ProtoBuffer,
    as_what: Interned,
    (list, by_number, as_it_is): (u32, u32, u32),
    text: &str,
) {
    match as_what {
        Interned::Known(number) => proto.number(by_number, number),
        Interned::New(number) => {
            let entry = fresh.open(list);
            fresh.number(interned::IID, number);
            fresh.text(interned::TEXT, text);
            fresh.close(entry);
            proto.number(by_number, number);
        }
        Interned::Inline => proto.text(as_it_is, text),
    }
}

/// A number as the 32 bits with a sign that the format has for it.
fn rank(number: u32) -> u64 {
    number.min(i32::MAX.cast_unsigned()).into()
}

/// The unit at the end of a counter's name: `power (W)`.
fn unit(name: &str) -> Option<&str> {
    let (_, unit) = name.strip_suffix(')')?.rsplit_once(" (")?;
    Some(unit)
}
