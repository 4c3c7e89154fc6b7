//! Small captures made of real fragments, and the checks that every trace has to pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stepscope::trace::event::{Anchor, Batch, Event, Flags, Iteration, Thread, ThreadName};
use stepscope::trace::export::ExportSummary;
use stepscope::trace::fragment::{FragmentIdentity, FragmentWriter};
use stepscope::trace::meta::{ExportMeta, RankWindow, Selection};
use stepscope::trace::output::{Format, write_trace};

pub(crate) const EPOCH_NS: u64 = 1_800_000_000_000_000_000;

/// A counter of 2 ticks per nanosecond.
pub(crate) fn anchor(monotonic_ns: u64) -> Anchor {
    Anchor { ticks: monotonic_ns * 2, monotonic_ns, realtime_ns: EPOCH_NS + monotonic_ns }
}

pub(crate) fn identity(group: &str, rank: u32) -> FragmentIdentity {
    FragmentIdentity {
        capture_id: "0193b0f0-0000-7000-8000-000000000000".into(),
        job: "job".into(),
        group: group.into(),
        rank,
        world_size: 2,
        label: format!("tp{rank}"),
        engine: "vllm 0.32.0".into(),
        pid: 1,
        role: "rank".into(),
        segment_instance: 7,
        generation: 2,
        first_iteration: 1,
        ticks_per_second: 2_000_000_000,
        gpus: Vec::new(),
    }
}

pub(crate) fn iteration(number: u64, begin_ns: u64, end_ns: u64) -> Iteration {
    let n = number as u32;
    Iteration {
        iteration: number,
        begin_ticks: begin_ns * 2,
        end_ticks: end_ns * 2,
        batch: Batch {
            context_requests: n % 3,
            context_tokens: n % 3 * 256,
            generation_requests: n,
            generation_tokens: n,
        },
        device_ns: None,
        flags: Flags::default(),
    }
}

/// `count` iterations of 800 µs, one each millisecond, from `first` on; rank N begins N µs later.
pub(crate) fn iterations(rank: u32, first: u64, count: u64) -> Vec<Event> {
    let event = |number: u64| {
        let begin_ns = number * 1_000_000 + u64::from(rank) * 1_000;
        Event::Iteration(iteration(number, begin_ns, begin_ns + 800_123))
    };
    (first..first + count).map(event).collect()
}

pub(crate) fn thread(name: &str) -> Event {
    Event::Thread(Thread { tid: 4242, name: ThreadName::new(name.as_bytes()) })
}

/// Writes one fragment of one ring; opening anchor in front, closing anchor behind.
pub(crate) fn fragment(dir: &Path, identity: &FragmentIdentity, events: &[Event]) -> PathBuf {
    let path = dir.join(format!("{}-{}.frag", identity.group, identity.rank));
    let mut writer = FragmentWriter::create(&path, identity).unwrap();
    for (i, chunk) in events.chunks(16).enumerate() {
        writer.write_block(0, 100 + i as u64 * 16, chunk, anchor(1_000_000), 0).unwrap();
    }
    writer.write_block(0, 0, &[], anchor(3_600_000_000_000), 0).unwrap();
    path
}

pub(crate) fn window(group: &str, rank: u32, first: u64, last: u64) -> RankWindow {
    RankWindow {
        job: "job".into(),
        group: group.into(),
        rank,
        first_iteration: Some(first),
        last_iteration: Some(last),
        dropped: 0,
        opened_at_ns: Some(EPOCH_NS + first * 1_000_000 - 50_000),
        closed_at_ns: Some(EPOCH_NS + last * 1_000_000 + 900_000),
        closed_by: Some("max_iterations".into()),
    }
}

pub(crate) fn meta(ranks: Vec<RankWindow>) -> ExportMeta {
    ExportMeta {
        capture_id: "0193b0f0-0000-7000-8000-000000000000".into(),
        stepscope_version: "0.0.0-test".into(),
        complete: Some(true),
        missing: Vec::new(),
        requests: false,
        sampling: Vec::new(),
        ranks,
    }
}

pub(crate) fn text(fragments: &[PathBuf], meta: &ExportMeta, selection: &Selection) -> (String, ExportSummary) {
    let mut bytes = Vec::new();
    let summary = write_trace(fragments, meta, selection, Format::Json, &mut bytes).unwrap();
    (String::from_utf8(bytes).unwrap(), summary)
}

/// Parses strictly and checks what holds of every trace: times with three decimals and not below zero, named
/// processes, and slices of a track nested or disjoint. Returns the events.
pub(crate) fn checked(text: &str) -> Vec<Value> {
    let trace: Value = serde_json::from_str(text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap().clone();
    let mut tracks: BTreeMap<(u64, u64), Vec<(u128, u128)>> = BTreeMap::new();
    let mut named = std::collections::BTreeSet::new();
    let mut begun = BTreeMap::new();
    for event in &events {
        let pid = event["pid"].as_u64().unwrap();
        assert!(pid >= 1);
        match event["ph"].as_str().unwrap() {
            "M" => {
                if event["name"] == "process_name" {
                    named.insert(pid);
                }
            }
            "X" => {
                let begin_ns = exact_ns(&event["ts"]);
                let slice = (begin_ns, begin_ns + exact_ns(&event["dur"]));
                tracks.entry((pid, event["tid"].as_u64().unwrap())).or_default().push(slice);
            }
            "i" | "C" => drop(exact_ns(&event["ts"])),
            // An arrow is at the begin of the slice in front of it.
            "s" | "t" | "f" => {
                let slices = &tracks[&(pid, event["tid"].as_u64().unwrap())];
                assert_eq!(slices.last().unwrap().0, exact_ns(&event["ts"]), "{event}");
            }
            "b" => {
                let begin_ns = exact_ns(&event["ts"]);
                assert!(begun.insert(event["id"].as_u64().unwrap(), (begin_ns, event["name"].clone())).is_none());
            }
            "e" => {
                let (begin_ns, name) = begun.remove(&event["id"].as_u64().unwrap()).unwrap();
                assert!(exact_ns(&event["ts"]) >= begin_ns && event["name"] == name, "{event}");
            }
            other => panic!("phase {other}"),
        }
        assert!(named.contains(&pid), "process {pid} has no name before {event}");
    }
    assert!(begun.is_empty(), "without an end: {begun:?}");
    assert_eq!(text.matches("\"ts\":").count(), three_decimals(text, "\"ts\":"));
    assert_eq!(text.matches("\"dur\":").count(), three_decimals(text, "\"dur\":"));
    assert_nested(tracks);
    events
}

/// The slices of each track, begin and end, are nested or disjoint.
pub(crate) fn assert_nested<T: std::fmt::Debug>(tracks: BTreeMap<T, Vec<(u128, u128)>>) {
    for (track, mut slices) in tracks {
        slices.sort_by_key(|&(begin, end)| (begin, u128::MAX - end));
        let mut open: Vec<u128> = Vec::new();
        for (begin, end) in slices {
            while open.last().is_some_and(|&outer| outer <= begin) {
                open.pop();
            }
            assert!(open.last().is_none_or(|&outer| end <= outer), "track {track:?}: {begin}..{end} overlaps");
            open.push(end);
        }
    }
}

/// Microseconds of the text as nanoseconds, without going through a float's rounding.
fn exact_ns(micros: &Value) -> u128 {
    let micros = micros.as_f64().unwrap();
    assert!(micros >= 0.0);
    (micros * 1000.0).round() as u128
}

fn three_decimals(text: &str, key: &str) -> usize {
    let exact = |rest: &str| {
        let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        number.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3)
    };
    text.split(key).skip(1).filter(|rest| exact(rest)).count()
}

pub(crate) fn of_category<'a>(events: &'a [Value], category: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["cat"] == category).collect()
}
