//! What a reader makes of a trace, from Chrome JSON and from Perfetto's protobuf alike, so that the two can be compared.
//!
//! The protobuf is decoded by prost, begins and ends are put together as trace processor does it: all by time, what has
//! the same time in the order of the file, an end for the slice that was opened last.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::pftrace::{TracePacket, TrackDescriptor, TrackEvent, packets};

/// Sorted, so that the order in the file does not matter.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    pub(crate) processes: BTreeMap<u64, String>,
    pub(crate) rows: BTreeMap<Row, String>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) async_slices: Vec<Slice>,
    pub(crate) instants: Vec<Slice>,
    /// By process and name; a value as it was written, and when.
    pub(crate) counters: BTreeMap<(u64, String), Vec<(u64, f64)>>,
    /// Where each flow passes.
    pub(crate) flows: Vec<Vec<Pass>>,
    pub(crate) metadata: Value,
}

/// Process and thread id.
type Row = (u64, u64);
/// Where and when a flow passes, and whether it ends there.
type Pass = (Row, u64, bool);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slice {
    pub(crate) row: Row,
    pub(crate) category: String,
    pub(crate) name: String,
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) arguments: Map<String, Value>,
}

impl Picture {
    fn sorted(mut self) -> Self {
        for slices in [&mut self.slices, &mut self.async_slices, &mut self.instants] {
            slices.sort_by_cached_key(|slice| format!("{slice:?}"));
        }
        for flow in &mut self.flows {
            flow.sort_unstable();
        }
        self.flows.sort_unstable();
        for values in self.counters.values_mut() {
            values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        }
        self
    }

    /// Nothing is in one and not in the other; says what is, and not all the rest.
    pub(crate) fn assert_same(&self, other: &Self) {
        assert_eq!(self.processes, other.processes);
        assert_eq!(self.rows, other.rows);
        assert_eq!(self.flows, other.flows);
        assert_eq!(self.metadata, other.metadata);
        let pairs = [
            (&self.slices, &other.slices),
            (&self.async_slices, &other.async_slices),
            (&self.instants, &other.instants),
        ];
        for (ours, theirs) in pairs {
            let different = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
            assert_eq!((different, ours.len()), (None, theirs.len()));
        }
        assert_eq!(self.counters.keys().collect::<Vec<_>>(), other.counters.keys().collect::<Vec<_>>());
        for (name, values) in &self.counters {
            assert_eq!((name, values), (name, &other.counters[name]));
        }
    }

    /// Of Chrome JSON.
    pub(crate) fn of_json(text: &[u8]) -> Self {
        let trace: Value = serde_json::from_slice(text).unwrap();
        let base_ns = trace["baseTimeNanoseconds"].as_u64().unwrap();
        let (_, metadata) = plain((String::new(), trace["metadata"].clone()));
        let mut picture = Self { metadata, ..Self::default() };
        let mut flows: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let mut begun: HashMap<u64, Slice> = HashMap::new();
        for event in trace["traceEvents"].as_array().unwrap() {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let ns = |key: &str| (event[key].as_f64().unwrap_or_default() * 1000.0).round() as u64;
            let row = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
            let begin_ns = base_ns + ns("ts");
            let slice = || Slice {
                row,
                category: text("cat"),
                name: text("name"),
                begin_ns,
                end_ns: begin_ns + ns("dur"),
                arguments: event["args"].as_object().cloned().unwrap_or_default().into_iter().map(plain).collect(),
            };
            match event["ph"].as_str().unwrap() {
                "M" => match event["name"].as_str().unwrap() {
                    "process_name" => {
                        picture.processes.insert(row.0, event["args"]["name"].as_str().unwrap().to_owned());
                    }
                    "thread_name" => {
                        picture.rows.insert(row, event["args"]["name"].as_str().unwrap().to_owned());
                    }
                    _ => {}
                },
                "X" => picture.slices.push(slice()),
                "i" => picture.instants.push(slice()),
                "b" => assert!(begun.insert(event["id"].as_u64().unwrap(), slice()).is_none()),
                "e" => {
                    let mut slice = begun.remove(&event["id"].as_u64().unwrap()).unwrap();
                    slice.end_ns = begin_ns;
                    picture.async_slices.push(slice);
                }
                "C" => {
                    for (key, value) in event["args"].as_object().unwrap() {
                        let name = if key == "value" { text("name") } else { format!("{} {key}", text("name")) };
                        let values = picture.counters.entry((row.0, name)).or_default();
                        values.push((begin_ns, value.as_f64().unwrap()));
                    }
                }
                flow @ ("s" | "t" | "f") => {
                    assert_eq!(event["bp"] == "e", flow != "s");
                    flows.entry(event["id"].as_u64().unwrap()).or_default().push((row, begin_ns, flow == "f"));
                }
                other => panic!("phase {other}"),
            }
        }
        assert!(begun.is_empty());
        picture.flows = flows.into_values().collect();
        picture.sorted()
    }

    /// Of a Perfetto trace that is whole.
    pub(crate) fn of_pftrace(bytes: &[u8]) -> Self {
        let (picture, open) = Self::of_packets(&packets(bytes).0);
        assert_eq!(open, 0, "slices without an end");
        picture
    }

    /// Of packets, and how many slices they leave open.
    pub(crate) fn of_packets(packets: &[TracePacket]) -> (Self, usize) {
        let mut reader = Reader::default();
        packets.iter().for_each(|packet| reader.take(packet));
        reader.finish()
    }
}

/// A member as both formats have it: whole numbers are no floats, what is empty is null, and a null is no member of an
/// object in it.
fn plain((key, value): (String, Value)) -> (String, Value) {
    let value = match value {
        Value::Number(number) => match number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
            Some(whole) => (whole as i64).into(),
            None => number.into(),
        },
        Value::Array(values) if values.is_empty() => Value::Null,
        Value::Array(values) => values.into_iter().map(|value| plain((String::new(), value)).1).collect(),
        Value::Object(object) => {
            let object: Map<_, _> = object.into_iter().map(plain).filter(|(_, value)| !value.is_null()).collect();
            if object.is_empty() { Value::Null } else { object.into() }
        }
        other => other,
    };
    (key, value)
}

#[derive(Debug)]
struct Seen {
    at_ns: u64,
    uuid: u64,
    kind: i32,
    slice: Slice,
    value: f64,
    flows: Vec<(u64, bool)>,
}

/// Of one sequence.
#[derive(Debug, Default)]
struct Reader {
    sequence: u32,
    base_ns: Option<u64>,
    categories: HashMap<u64, String>,
    names: HashMap<u64, String>,
    keys: HashMap<u64, String>,
    descriptors: BTreeMap<u64, TrackDescriptor>,
    events: Vec<Seen>,
}

impl Reader {
    fn take(&mut self, packet: &TracePacket) {
        let sequence = packet.trusted_packet_sequence_id.unwrap();
        let flags = packet.sequence_flags.unwrap();
        if let Some(clocks) = &packet.clock_snapshot {
            assert_eq!((self.base_ns, flags, packet.first_packet_on_sequence), (None, 1, Some(true)));
            assert_eq!(packet.trace_packet_defaults.as_ref().unwrap().timestamp_clock_id, Some(64));
            assert_eq!(clocks.primary_trace_clock, Some(1), "CLOCK_REALTIME");
            let clocks: Vec<_> = clocks.clocks.iter().map(|c| (c.clock_id.unwrap(), c.timestamp.unwrap())).collect();
            let [(1, base_ns), (64, 0)] = clocks[..] else { panic!("{clocks:?}") };
            (self.base_ns, self.sequence) = (Some(base_ns), sequence);
        } else {
            assert_eq!(flags, 2, "needs what came before");
        }
        assert_eq!(sequence, self.sequence);
        assert!(sequence > 0);
        if let Some(fresh) = &packet.interned_data {
            for (told, table) in [
                (&fresh.event_categories, &mut self.categories),
                (&fresh.event_names, &mut self.names),
                (&fresh.debug_annotation_names, &mut self.keys),
            ] {
                for entry in told {
                    let (number, text) = (entry.iid.unwrap(), entry.name.clone().unwrap());
                    assert!(number > 0 && table.insert(number, text).is_none(), "{number} is given twice");
                }
            }
        }
        if let Some(descriptor) = &packet.track_descriptor {
            assert_eq!(packet.timestamp, None);
            let before = self.descriptors.insert(descriptor.uuid.unwrap(), descriptor.clone());
            assert!(before.is_none_or(|before| before == *descriptor), "one id for two tracks: {descriptor:?}");
        }
        if let Some(event) = &packet.track_event {
            let at_ns = self.base_ns.unwrap() + packet.timestamp.unwrap();
            self.event(at_ns, event);
        }
    }

    fn event(&mut self, at_ns: u64, event: &TrackEvent) {
        let word = |table: &HashMap<u64, String>, number: Option<u64>, text: &Option<String>| match (number, text) {
            (Some(number), None) => table[&number].clone(),
            (None, Some(text)) => text.clone(),
            (None, None) => String::new(),
            both => panic!("{both:?}"),
        };
        let category = event.category_iids.first().copied();
        assert!(event.category_iids.len() + event.categories.len() <= 1);
        let uuid = event.track_uuid.unwrap();
        let flows = event.flow_ids.iter().map(|&id| (id, false));
        let keys = &self.keys;
        let mut arguments = Map::new();
        for annotation in &event.debug_annotations {
            let key = word(keys, annotation.name_iid, &annotation.name);
            let (key, value) = plain((key, annotation.value()));
            assert!(arguments.insert(key, value).is_none());
        }
        self.events.push(Seen {
            at_ns,
            uuid,
            kind: event.r#type.unwrap(),
            slice: Slice {
                row: (0, 0),
                category: word(&self.categories, category, &event.categories.first().cloned()),
                name: word(&self.names, event.name_iid, &event.name),
                begin_ns: at_ns,
                end_ns: at_ns,
                arguments,
            },
            value: event.counter_value.map(|value| value as f64).or(event.double_counter_value).unwrap_or(f64::NAN),
            flows: flows.chain(event.terminating_flow_ids.iter().map(|&id| (id, true))).collect(),
        });
    }

    /// The row of a track, and whether it is one below it.
    fn row(&self, uuid: u64) -> (Row, bool) {
        let descriptor = &self.descriptors[&uuid];
        match (&descriptor.thread, &descriptor.process) {
            (Some(thread), _) => ((thread.pid.unwrap() as u64, thread.tid.unwrap() as u64), false),
            (None, Some(process)) => ((process.pid.unwrap() as u64, 0), false),
            (None, None) => (self.row(descriptor.parent_uuid.unwrap()).0, true),
        }
    }

    fn finish(mut self) -> (Picture, usize) {
        let mut picture = Picture::default();
        let root = &self.descriptors[&0];
        assert_eq!((root.process_ordering, root.thread_ordering), (Some(1), Some(1)));
        for descriptor in self.descriptors.values() {
            if let Some(process) = &descriptor.process {
                picture.processes.insert(process.pid.unwrap() as u64, process.process_name.clone().unwrap());
            }
            if let Some(thread) = &descriptor.thread {
                let row = (thread.pid.unwrap() as u64, thread.tid.unwrap() as u64);
                picture.rows.insert(row, thread.thread_name.clone().unwrap());
                let parent = &self.descriptors[&descriptor.parent_uuid.unwrap()];
                assert_eq!(parent.process.as_ref().unwrap().pid, thread.pid);
            }
        }
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|event| event.at_ns);
        let mut stacks: HashMap<u64, Vec<Slice>> = HashMap::new();
        let mut flows: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for Seen { at_ns, uuid, kind, mut slice, value, flows: passing } in events {
            if self.descriptors[&uuid].name.as_deref() == Some("stepscope metadata") {
                (_, picture.metadata) = plain((String::new(), slice.arguments.into()));
                continue;
            }
            let (row, is_below) = self.row(uuid);
            slice.row = row;
            for (id, ends) in passing {
                flows.entry(id).or_default().push((row, at_ns, ends));
            }
            match kind {
                1 => stacks.entry(uuid).or_default().push(slice),
                2 => {
                    let begun = stacks.get_mut(&uuid).and_then(Vec::pop).expect("an end without a begin");
                    let slices = if is_below { &mut picture.async_slices } else { &mut picture.slices };
                    slices.push(Slice { end_ns: at_ns, ..begun });
                }
                3 => picture.instants.push(slice),
                4 => {
                    let descriptor = &self.descriptors[&uuid];
                    assert!(descriptor.counter.is_some() && is_below);
                    let values = picture.counters.entry((row.0, descriptor.name.clone().unwrap())).or_default();
                    values.push((at_ns, value));
                }
                other => panic!("type {other}"),
            }
        }
        picture.flows = flows.into_values().collect();
        (picture.sorted(), stacks.values().map(Vec::len).sum())
    }
}
