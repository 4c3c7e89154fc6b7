//! All formats hold the same trace, whatever is in it, and each stands what its readers have to stand.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use stepscope::trace::counter::Metric;
use stepscope::trace::event::{Event, Span, SpanName, TextPart};
use stepscope::trace::meta::{ExportMeta, Selection};
use stepscope::trace::output::{Format, write_trace, write_with};
use stepscope::trace::writer::{
    Argument, Flow, FlowStep, MAX_TEXT_BYTES, ProcessId, Slice, TraceStart, TraceWriter, Track, Value,
};

use super::counters::{counters, gpus, value};
use super::pftrace::packets;
use super::picture::Picture;
use super::sample::*;
use crate::support::at_least;

/// Two ranks with spans, nested and asynchronous, and two GPUs with counters.
fn capture(dir: &Path) -> (Vec<PathBuf>, ExportMeta) {
    let spans = |rank: u64| {
        let span = move |n: u64, begin_ns: u64, end_ns: u64, depth: u16, is_async: bool| {
            let mut name = [0; 32];
            name[..5].copy_from_slice(format!("s{:04}", n % 7).as_bytes());
            let name = if n.is_multiple_of(3) { SpanName::Slot(1) } else { SpanName::Short(name, 5) };
            let (begin_ticks, end_ticks) = ((begin_ns + rank) * 2, (end_ns + rank) * 2);
            Event::Span(Span { begin_ticks, end_ticks, name, domain: (n % 2) as u16, depth, is_async })
        };
        let mut bytes = [b'w'; 48];
        bytes[0] = b'"';
        let mut events = vec![thread("loop"), Event::Text(TextPart { slot: 1, part: 0, length: 48, bytes })];
        for n in 0..40 {
            let at_ns = 5_000_000 + n * 1_000_000;
            events.push(span(2 * n, at_ns, at_ns + 300_000, 1, false));
            // Begins with the one that it holds.
            events.push(span(2 * n, at_ns, at_ns + 600_000, 0, false));
            events.push(span(2 * n + 1, at_ns, at_ns + 2_500_000, 0, true));
        }
        events
    };
    let with_spans = |rank: u32| {
        let events = [iterations(rank, 1, 60), spans(rank.into())].concat();
        fragment(dir, &identity("0", rank), &events)
    };
    let power = |n: u64| value(n as u32 % 2, Metric::Power, 5_000_000 + n * 500_000, 300.25 + n as f64);
    let memory = |n: u64| value(n as u32 % 2, Metric::MemoryUsed, 5_000_000 + n * 500_000, 1e9 + n as f64);
    let values: Vec<Event> = (0..80).map(power).chain((0..80).map(memory)).collect();
    let files = vec![with_spans(0), with_spans(1), counters(dir, gpus(), &values)];
    let mut other = window("0", 1, 5, 54);
    other.dropped = 3;
    (files, meta(vec![window("0", 0, 5, 54), other]))
}

fn written(capture: &(Vec<PathBuf>, ExportMeta), selection: &Selection, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_trace(&capture.0, &capture.1, selection, format, &mut bytes).unwrap();
    bytes
}

#[test]
fn json_and_perfetto_show_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let capture = capture(dir.path());
    let json = written(&capture, &Selection::default(), Format::Json);
    let perfetto = written(&capture, &Selection::default(), Format::Perfetto);
    let (json, perfetto) = (Picture::of_json(&json), Picture::of_pftrace(&perfetto));
    json.assert_same(&perfetto);
    assert_eq!((json.processes.len(), json.async_slices.len(), json.instants.len()), (6, 80, 4));
    assert!(json.slices.len() > 2 * (50 * 2 + 49 + 80) && json.counters.len() == 2 * 4 + 2 + 4, "{:?}", json.counters);
    assert_eq!(json.metadata["capture_id"], capture.1.capture_id);
}

#[test]
fn the_trace_of_one_rank_says_which_and_fits_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let capture = capture(dir.path());
    let described = |bytes: &[u8]| -> BTreeMap<Option<u64>, _> {
        let descriptors = packets(bytes).0.into_iter().filter_map(|packet| packet.track_descriptor);
        descriptors.map(|descriptor| (descriptor.uuid, descriptor)).collect()
    };
    let all = described(&written(&capture, &Selection::default(), Format::Perfetto));
    let mut sequences = std::collections::BTreeSet::new();
    for rank in [0, 1] {
        let one = written(&capture, &Selection::rank(rank), Format::Perfetto);
        assert_eq!(Picture::of_pftrace(&one).metadata["rank"], rank);
        sequences.insert(packets(&one).0[0].trusted_packet_sequence_id);
        let rows = described(&one).into_iter().filter(|(_, descriptor)| descriptor.thread.is_some());
        let same = rows.filter(|(uuid, descriptor)| all.get(uuid) == Some(descriptor)).count();
        assert_eq!(same, 5, "the rows of a rank have the same ids in every file");
    }
    assert_eq!(sequences.len(), 2, "what is concatenated has to be told apart");
}

#[test]
fn counters_have_their_units() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = written(&capture(dir.path()), &Selection::default(), Format::Perfetto);
    let units: BTreeMap<_, _> = packets(&bytes)
        .0
        .into_iter()
        .filter_map(|packet| packet.track_descriptor)
        .filter_map(|track| Some((track.name?, track.counter?)))
        .map(|(name, counter)| (name, (counter.unit, counter.unit_name)))
        .collect();
    assert_eq!(units["power (W)"], (None, Some("W".into())));
    assert_eq!(units["memory used (bytes)"], (Some(3), None));
    assert_eq!(units["tokens context"], (Some(2), None));
}

#[test]
fn a_perfetto_trace_cut_at_any_byte_holds_all_whole_packets() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = written(&capture(dir.path()), &Selection::default(), Format::Perfetto);
    let (all, 0) = packets(&bytes) else { panic!() };
    let mut seen = 0;
    for cut in (0..bytes.len()).step_by(7).chain(bytes.len() - 300..=bytes.len()) {
        let (whole, rest) = packets(&bytes[..cut]);
        assert!(whole.len() >= seen && whole[..] == all[..whole.len()]);
        assert!(rest < 4096);
        seen = whole.len();
        if cut % 49 == 0 && seen >= 2 {
            let (_, open) = Picture::of_packets(&whole);
            assert!(open <= 1, "one slice is open where the file ends");
        }
    }
    assert_eq!(seen, all.len());
}

#[test]
fn what_is_packed_holds_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let capture = capture(dir.path());
    let plain = written(&capture, &Selection::default(), Format::Json);
    let mut unpacked = Vec::new();
    let gzip = written(&capture, &Selection::default(), Format::JsonGz);
    flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let zstd = written(&capture, &Selection::default(), Format::JsonZst);
    assert_eq!(zstd::decode_all(&zstd[..]).unwrap(), plain);
    assert!(zstd.len() * 4 < plain.len());
    let mut damaged = zstd.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(zstd::decode_all(&damaged[..]).is_err(), "the checksum is there");
}

#[test]
fn names_that_are_told_again_and_again_are_interned_and_others_are_not() {
    let mut bytes = Vec::new();
    write_with(Format::Perfetto, &mut bytes, |writer| {
        writer.begin(TraceStart { base_ns: 0, only_rank: None })?;
        let track = Track { process: ProcessId(1), row: 1 };
        writer.process(track.process, "p", "", 1)?;
        writer.track(track, "r", 1)?;
        for n in 0..20_000 {
            let once = format!("once {n}");
            for (name, at) in [("again", 0), (once.as_str(), 1)] {
                let begin_ns = n * 10 + at * 5;
                let slice = Slice { track, category: "c", name, begin_ns, duration_ns: 3, flows: &[] };
                writer.slice(slice, &[("key", Value::Number(n))])?;
            }
        }
        writer.finish()
    })
    .unwrap();
    let told: Vec<String> = packets(&bytes)
        .0
        .into_iter()
        .filter_map(|packet| packet.interned_data)
        .flat_map(|fresh| fresh.event_names)
        .filter_map(|entry| entry.name)
        .collect();
    assert_eq!(told, ["again"]);
    assert_eq!(Picture::of_pftrace(&bytes).slices.len(), 40_000);
}

#[derive(Debug, Clone)]
enum Call {
    Push(u32, Words, Vec<(String, Given)>, Vec<Flow>),
    Pop(u32),
    Wait(u64),
    Instant(u32, Words, Vec<(String, Given)>),
    Counter(String, String, u32),
    Gauge(String, f64),
    Async(u32, Words, u64),
}

/// Category and name.
type Words = (String, String);

#[derive(Debug, Clone)]
enum Given {
    Number(u64),
    Signed(i64),
    Decimal(f64),
    Flag(bool),
    Text(String),
}

impl Given {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Number(number) => Value::Number(*number),
            Self::Signed(number) => Value::Signed(*number),
            Self::Decimal(number) => Value::Decimal(*number),
            Self::Flag(flag) => Value::Flag(*flag),
            Self::Text(text) => Value::Text(text),
        }
    }
}

/// What people call things, and what strangers do.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => "[a-d]{0,3}",
        5 => any::<String>(),
        5 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|b| String::from_utf8_lossy(&b).into_owned()),
        2 => Just("\"\\\u{0}\n\u{1f}\u{7f}\u{2028}</script>\u{fffd}".to_owned()),
        2 => (MAX_TEXT_BYTES - 3..MAX_TEXT_BYTES + 3).prop_map(|length| "é".repeat(length / 2) + "a"),
        1 => Just("1 MB \u{1f525}\"".repeat(1 << 17)),
    ]
}

fn any_arguments() -> impl Strategy<Value = Vec<(String, Given)>> {
    let decimal = prop_oneof![any::<i32>().prop_map(|n| f64::from(n) / 8.0), Just(f64::NAN), Just(f64::INFINITY)];
    let given = prop_oneof![
        (0u64..1 << 53).prop_map(Given::Number),
        (-(1i64 << 53)..1 << 53).prop_map(Given::Signed),
        decimal.prop_map(Given::Decimal),
        any::<bool>().prop_map(Given::Flag),
        any_text().prop_map(Given::Text),
    ];
    proptest::collection::vec((any_text(), given), 0..4).prop_map(|mut arguments| {
        // One name twice in one object is nobody's to write.
        for (number, (key, _)) in arguments.iter_mut().enumerate() {
            key.insert_str(0, &number.to_string());
        }
        arguments
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    let words = || (any_text(), any_text());
    let flow = (0u64..5, prop_oneof![Just(FlowStep::Begin), Just(FlowStep::Step), Just(FlowStep::End)]);
    let flows = proptest::collection::vec(flow.prop_map(|(id, step)| Flow { id, step }), 0..3);
    prop_oneof![
        6 => (1u32..4, words(), any_arguments(), flows).prop_map(|(row, w, a, f)| Call::Push(row, w, a, f)),
        6 => (1u32..4).prop_map(Call::Pop),
        4 => (0u64..3).prop_map(Call::Wait),
        1 => (1u32..4, words(), any_arguments()).prop_map(|(row, w, a)| Call::Instant(row, w, a)),
        1 => (any_text(), any_text(), any::<u32>()).prop_map(|(n, k, v)| Call::Counter(n, k, v)),
        1 => (any_text(), any::<i32>()).prop_map(|(name, v)| Call::Gauge(name, f64::from(v) / 8.0)),
        2 => (1u32..4, words(), 0u64..9).prop_map(|(row, w, duration)| Call::Async(row, w, duration)),
    ]
}

const NOW_NS: u64 = 1_800_000_000_123_000_000;

/// Has the calls made, slices in the order of their begins.
fn make(calls: &[Call], writer: &mut dyn TraceWriter) -> std::io::Result<()> {
    writer.begin(TraceStart { base_ns: NOW_NS, only_rank: None })?;
    let at = |row: u32| Track { process: ProcessId(row % 2 + 1), row };
    for row in 1..4 {
        writer.process(at(row).process, "a process", "", 1)?;
        writer.track(at(row), "a row", row)?;
    }
    // Ends first: a slice is written where it begins.
    let mut ends = vec![0; calls.len()];
    let (mut now_ns, mut open) = (NOW_NS, BTreeMap::<u32, Vec<usize>>::new());
    for (number, call) in calls.iter().enumerate() {
        match call {
            Call::Wait(ns) => now_ns += ns,
            Call::Push(row, ..) => open.entry(*row).or_default().push(number),
            Call::Pop(row) => {
                if let Some(begun) = open.entry(*row).or_default().pop() {
                    ends[begun] = now_ns;
                }
            }
            _ => {}
        }
    }
    open.into_values().flatten().for_each(|begun| ends[begun] = now_ns);
    let mut now_ns = NOW_NS;
    for (number, call) in calls.iter().enumerate() {
        let arguments = |given: &'_ [(String, Given)]| -> Vec<(String, Given)> { given.to_vec() };
        match call {
            Call::Wait(ns) => now_ns += ns,
            Call::Pop(_) => {}
            Call::Push(row, (category, name), given, flows) => {
                let given = arguments(given);
                let all: Vec<Argument<'_>> = given.iter().map(|(key, value)| (key.as_str(), value.value())).collect();
                let duration_ns = ends[number] - now_ns;
                writer.slice(Slice { track: at(*row), category, name, begin_ns: now_ns, duration_ns, flows }, &all)?;
            }
            Call::Instant(row, (category, name), given) => {
                let all: Vec<Argument<'_>> = given.iter().map(|(key, value)| (key.as_str(), value.value())).collect();
                writer.instant(at(*row), category, name, now_ns, &all)?;
            }
            Call::Counter(name, key, value) => {
                let key = format!("k{key}");
                writer.counter(
                    ProcessId(1),
                    &format!("c{name}"),
                    now_ns,
                    &[(&key, u64::from(*value)), ("other", 1)],
                )?;
            }
            Call::Gauge(name, value) => writer.gauge(ProcessId(2), &format!("g{name}"), now_ns, *value)?,
            Call::Async(row, (category, name), duration_ns) => {
                let begin_ns = now_ns;
                let slice = Slice { track: at(*row), category, name, begin_ns, duration_ns: *duration_ns, flows: &[] };
                writer.async_slice(slice, number as u64, &[])?;
            }
        }
    }
    writer.metadata(&serde_json::json!({"capture_id": "a", "numbers": [1, -2, 0.5, null], "nothing": null}))?;
    writer.finish()
}

proptest! {
    #![proptest_config(at_least(40))]

    #[test]
    fn whatever_is_written_reads_the_same_in_every_format(calls in proptest::collection::vec(any_call(), 0..120)) {
        let of = |format| {
            let mut bytes = Vec::new();
            write_with(format, &mut bytes, |writer| make(&calls, writer)).unwrap();
            bytes
        };
        let plain = of(Format::Json);
        // Long names of counters are cut in one place or in two.
        let long = |call: &Call| match call {
            Call::Counter(name, key, _) => name.len() + key.len().max("other".len()) + 3 > MAX_TEXT_BYTES,
            _ => false,
        };
        if !calls.iter().any(long) {
            Picture::of_json(&plain).assert_same(&Picture::of_pftrace(&of(Format::Perfetto)));
        } else {
            Picture::of_pftrace(&of(Format::Perfetto));
        }
        prop_assert_eq!(zstd::decode_all(&of(Format::JsonZst)[..]).unwrap(), plain);
    }
}

#[test]
fn long_texts_are_cut_with_a_mark_in_every_format() {
    let long = "€".repeat(1 << 19);
    let calls = [
        Call::Push(1, (long.clone(), long.clone()), vec![(long.clone(), Given::Text(long.clone()))], Vec::new()),
        Call::Wait(5),
    ];
    for format in [Format::Json, Format::Perfetto] {
        let mut bytes = Vec::new();
        write_with(format, &mut bytes, |writer| make(&calls, writer)).unwrap();
        assert!(bytes.len() < 5 * MAX_TEXT_BYTES);
        let picture = if format == Format::Json { Picture::of_json(&bytes) } else { Picture::of_pftrace(&bytes) };
        let slice = &picture.slices[0];
        let (key, value) = slice.arguments.iter().next().unwrap();
        for text in [&slice.category, &slice.name, key, value.as_str().unwrap()] {
            let kept = text.strip_suffix("… (1572864 bytes)").unwrap();
            assert!(kept.chars().all(|c| c == '€') && kept.len() + 3 > MAX_TEXT_BYTES);
        }
    }
}
