//! Fragments written by a stranger: never a panic, and a strict, well-formed trace comes out whatever went in.

use std::path::Path;

use proptest::prelude::*;
use stepscope::trace::event::{Anchor, Batch, Event, Flags, Iteration, Span, SpanName, TextPart, Thread, ThreadName};
use stepscope::trace::fragment::{FragmentIdentity, FragmentReader, FragmentWriter};
use stepscope::trace::ledger::write_ledger;
use stepscope::trace::meta::Selection;
use stepscope::trace::output::{Format, LedgerFormat, write_trace};

use crate::support::at_least;

use super::picture::Picture;
use super::sample::*;

fn export_all(path: &Path) {
    let files = [path.to_owned()];
    let meta = meta(vec![window("0", 0, 2, 90)]);
    let mut perfetto = Vec::new();
    write_trace(&files, &meta, &Selection::default(), Format::Perfetto, &mut perfetto).unwrap();
    Picture::of_pftrace(&perfetto);
    checked_loosely(&text(&files, &meta, &Selection::default()).0);
    let mut rows = Vec::new();
    write_ledger(&files, &meta, &Selection::default(), LedgerFormat::JsonLines, &mut rows).unwrap();
    for row in rows.split(|&b| b == b'\n').filter(|row| !row.is_empty()) {
        serde_json::from_slice::<serde_json::Value>(row).unwrap();
    }
}

/// Nested or disjoint by the digits of the text: floats are too coarse for times of a stranger.
fn checked_loosely(text: &str) {
    serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mut tracks = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("{\"ph\":\"X\"")) {
        // Behind the name, which may hold anything.
        let field = |key: &str| {
            let rest = &line[line.rfind(key).unwrap() + key.len()..];
            rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').filter(|c| *c != '.').collect::<String>()
        };
        let number = |key: &str| field(key).parse::<u128>().unwrap();
        let (track, begin) = ((field("\"pid\":"), field("\"tid\":")), number("\"ts\":"));
        tracks.entry(track).or_insert_with(Vec::new).push((begin, begin + number("\"dur\":")));
    }
    assert_nested(tracks);
}

fn any_span() -> impl Strategy<Value = Event> {
    let ticks = || prop_oneof![any::<u64>(), 0u64..2000, Just(u64::MAX), Just(0)];
    let name = prop_oneof![
        (any::<[u8; 32]>(), 0u8..33).prop_map(|(bytes, length)| SpanName::Short(bytes, length)),
        (1u16..40).prop_map(SpanName::Slot),
    ];
    (ticks(), ticks(), name, 0u16..5, any::<u16>(), any::<bool>()).prop_map(|(a, b, name, domain, depth, is_async)| {
        Event::Span(Span { begin_ticks: a.min(b), end_ticks: a.max(b), name, domain, depth, is_async })
    })
}

fn any_text() -> impl Strategy<Value = Event> {
    let bytes = proptest::collection::vec(any::<u8>(), 48);
    (1u16..40, 0u16..6, 0u16..241, bytes).prop_map(|(slot, part, length, bytes)| {
        Event::Text(TextPart { slot, part, length, bytes: bytes.try_into().unwrap() })
    })
}

fn any_iteration() -> impl Strategy<Value = Event> {
    let near = prop_oneof![any::<u64>(), 0u64..2000, Just(u64::MAX), Just(0)];
    (any::<u64>(), near.clone(), near, any::<[u32; 4]>(), any::<u16>(), any::<Option<u64>>()).prop_map(
        |(iteration, begin_ticks, end_ticks, b, flags, device_ns)| {
            Event::Iteration(Iteration {
                iteration,
                begin_ticks,
                end_ticks,
                batch: Batch {
                    context_requests: b[0],
                    context_tokens: b[1],
                    generation_requests: b[2],
                    generation_tokens: b[3],
                },
                device_ns,
                flags: Flags::from_bits(flags),
            })
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let name = proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        8 => any_iteration(),
        1 => (any::<u64>(), name).prop_map(|(tid, name)| Event::Thread(Thread { tid, name: ThreadName::new(&name) })),
        1 => Just(Event::Skipped),
        6 => any_span(),
        2 => any_text(),
    ]
}

fn any_anchor() -> impl Strategy<Value = Anchor> {
    let clock = || prop_oneof![any::<u64>(), 0u64..1000, Just(u64::MAX)];
    (clock(), clock(), clock()).prop_map(|(ticks, monotonic_ns, realtime_ns)| Anchor {
        ticks,
        monotonic_ns,
        realtime_ns,
    })
}

proptest! {
    #![proptest_config(at_least(300))]

    #[test]
    fn mutated_bytes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(), cuts: bool, inserted in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = fragment(dir.path(), &identity("0", 0), &iterations(0, 1, 100));
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let at = cut.index(bytes.len());
        bytes.splice(at..at, inserted);
        if cuts {
            bytes.truncate(at);
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(mut reader) = FragmentReader::open(&path) {
            reader.scan().unwrap();
            while reader.next_block().unwrap().is_some() {}
            // An offset beyond the end: only the padding of the identity is gone.
            prop_assert_eq!(reader.offset() + reader.tail().cut_bytes(), reader.offset().max(bytes.len() as u64));
        }
        export_all(&path);
        if let Ok((writer, recovered)) = FragmentWriter::append(&path) {
            prop_assert_eq!(writer.bytes() + recovered.cut_bytes, writer.bytes().max(bytes.len() as u64));
        }
    }

    #[test]
    fn sound_blocks_of_any_content_make_a_well_formed_trace(
        blocks in proptest::collection::vec((0u32..4, any::<u32>(), proptest::collection::vec(any_event(), 0..20),
            any_anchor(), any::<u64>()), 0..8),
        words in proptest::collection::vec(any::<String>(), 5), rank: u32, ticks_per_second: u64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.frag");
        let [job, group, label, engine, role] = <[String; 5]>::try_from(words).unwrap();
        let identity = FragmentIdentity { job, group, label, engine, role, rank, ticks_per_second, ..identity("0", 0) };
        let mut writer = FragmentWriter::create(&path, &identity).unwrap();
        for (ring, first, events, anchor, dropped) in blocks {
            writer.write_block(ring, first.into(), &events, anchor, dropped).unwrap();
        }
        let files = [path];
        checked_loosely(&text(&files, &meta(Vec::new()), &Selection::default()).0);
        export_all(&files[0]);
    }
}
