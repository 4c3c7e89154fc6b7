//! Traces: what people see, and what every viewer relies on.

use std::io::Read;

use serde_json::{Value, json};
use stepscope::trace::event::{Anchor, Event, Flags, Iteration};
use stepscope::trace::fragment::FragmentWriter;
use stepscope::trace::meta::{ExportMeta, Selection};
use stepscope::trace::output::{Format, write_trace};

use super::sample::*;

#[test]
fn two_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = vec![thread("engine \"loop\"")];
    first.extend(iterations(0, 4, 5));
    let Event::Iteration(dummy) = &mut first[3] else { panic!() };
    dummy.flags = Flags::DUMMY;
    dummy.device_ns = Some(700_000);
    let mut second = iterations(1, 4, 5);
    let Event::Iteration(last) = &mut second[3] else { panic!() };
    last.flags = Flags::UNENDED.with(Flags::NO_BATCH).with(Flags::MID_ITERATION);
    let files = [fragment(dir.path(), &identity("0", 0), &first), fragment(dir.path(), &identity("0", 1), &second)];
    let mut other = window("0", 1, 5, 7);
    other.dropped = 3;
    other.closed_by = Some("lease".into());
    let meta = meta(vec![window("0", 0, 5, 7), other]);
    let (text, summary) = text(&files, &meta, &Selection::default());
    checked(&text);
    assert_eq!((summary.iterations, summary.cut_bytes, summary.ranks.len()), (6, 0, 2));
    assert!(!text.contains("\"rank\": "), "a merged file must not look like one rank's to HTA");
    insta::assert_snapshot!(text);
}

#[test]
fn only_the_window_is_exported_and_every_iteration_has_its_slices() {
    let dir = tempfile::tempdir().unwrap();
    let files = [0, 1].map(|rank| fragment(dir.path(), &identity("0", rank), &iterations(rank, 1, 300)));
    let meta = meta(vec![window("0", 0, 11, 210), window("0", 1, 11, 210)]);
    let (text, summary) = text(&files, &meta, &Selection::default());
    let events = checked(&text);
    for pid in [1, 2] {
        let numbers = |category: &str| -> Vec<&Value> {
            of_category(&events, category).into_iter().filter(|e| e["pid"] == pid).collect()
        };
        let iterations: Vec<u64> =
            numbers("iteration").iter().map(|e| e["args"]["iteration"].as_u64().unwrap()).collect();
        assert_eq!(iterations, (11..=210).collect::<Vec<_>>());
        let steps: Vec<String> =
            numbers("user_annotation").iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(steps, (11..=210).map(|n| format!("ProfilerStep#{n}")).collect::<Vec<_>>());
        assert_eq!(numbers("gap").len(), 199);
    }
    assert_eq!((summary.iterations, summary.ranks[1].first_iteration), (400, Some(11)));
    assert_eq!(summary.events as usize, events.iter().filter(|e| e["ph"] != "M").count());
}

#[test]
fn one_rank_says_so_early_and_shares_the_time_base_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let files = [0, 1].map(|rank| fragment(dir.path(), &identity("0", rank), &iterations(rank, 1, 9)));
    let meta = meta(vec![window("0", 0, 2, 5), window("0", 1, 2, 5)]);
    let (merged, _) = text(&files, &meta, &Selection::default());
    let (one, summary) = text(&files, &meta, &Selection::rank(1));
    assert_eq!(summary.ranks.len(), 1);
    let at = one.find("\"rank\": 1,").unwrap();
    assert!(at < one.find("traceEvents").unwrap());
    assert_eq!(one.matches("\"rank\": ").count(), 1);
    let (merged, one): (Value, Value) = (serde_json::from_str(&merged).unwrap(), serde_json::from_str(&one).unwrap());
    assert_eq!(merged["baseTimeNanoseconds"], one["baseTimeNanoseconds"]);
    let slices = |trace: &Value| -> Vec<Value> {
        let events = trace["traceEvents"].as_array().unwrap();
        events.iter().filter(|e| e["cat"] == "iteration" && e["pid"] == 2).cloned().collect()
    };
    assert_eq!(slices(&merged), slices(&one), "same numbers, same times in both files");
    let windows = |trace: &Value| -> Vec<u64> {
        let events = trace["traceEvents"].as_array().unwrap();
        events.iter().filter(|e| e["cat"] == "window").map(|e| e["pid"].as_u64().unwrap()).collect()
    };
    let (other, _) = text(&files, &meta, &Selection::rank(0));
    let other: Value = serde_json::from_str(&other).unwrap();
    let all = [windows(&merged), windows(&other), windows(&one)];
    assert_eq!(all, [[3], [4], [5]], "the windows of two files overlap, and would share a track");
    assert_eq!(one["metadata"]["ranks"].as_array().unwrap().len(), 1);
    let base_ns = one["baseTimeNanoseconds"].as_u64().unwrap();
    let ts = slices(&one)[0]["ts"].as_f64().unwrap();
    assert_eq!(base_ns + (ts * 1000.0).round() as u64, EPOCH_NS + 2_001_000);
}

#[test]
fn an_end_beyond_the_next_begin_is_clamped_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let events = [(1, 1_000, 9_000), (2, 5_000, 6_000), (3, 7_000, 6_500), (4, 8_000, 8_000)]
        .map(|(number, begin_ns, end_ns)| Event::Iteration(iteration(number, begin_ns, end_ns)));
    let file = fragment(dir.path(), &identity("0", 0), &events);
    let (text, _) = text(&[file], &meta(Vec::new()), &Selection::default());
    let all = checked(&text);
    let slices = of_category(&all, "iteration");
    let seen: Vec<_> = slices.iter().map(|s| (s["dur"].as_f64().unwrap(), s["args"]["clamped"].clone())).collect();
    assert_eq!(seen, [(4.0, json!(true)), (1.0, json!(null)), (0.0, json!(true)), (0.0, json!(null))]);
}

#[test]
fn rings_of_one_rank_are_put_in_order_and_what_is_too_late_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
    let all = iterations(0, 1, 6000);
    // The loop moved to another thread at 3000; its ring was drained first. Then, far too late, the very first one.
    writer.write_block(0, 0, &all[1..1000], anchor(1_000_000), 0).unwrap();
    writer.write_block(1, 0, &all[3000..], anchor(1_000_000), 0).unwrap();
    writer.write_block(0, 999, &all[1000..3000], anchor(1_000_000), 0).unwrap();
    writer.write_block(0, 2999, &all[..1], anchor(3_600_000_000_000), 0).unwrap();
    let (text, summary) = text(&[path], &meta(Vec::new()), &Selection::default());
    let events = checked(&text);
    let numbers: Vec<u64> =
        of_category(&events, "iteration").iter().map(|e| e["args"]["iteration"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (2..=6000).collect::<Vec<_>>());
    assert_eq!(summary.ranks[0].disordered, 1);
}

#[test]
fn drops_stand_in_metadata_and_on_a_counter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
    let all = iterations(0, 1, 30);
    for (i, dropped) in [0, 5, 5].into_iter().enumerate() {
        writer.write_block(0, i as u64 * 10, &all[i * 10..i * 10 + 10], anchor(1_000_000), dropped).unwrap();
    }
    let mut rank = window("0", 0, 1, 30);
    rank.dropped = 8;
    let (text, summary) = text(&[path], &meta(vec![rank]), &Selection::default());
    let events = checked(&text);
    let mut counter: Vec<_> = events
        .iter()
        .filter(|e| e["name"] == "dropped records rank 0")
        .map(|e| (e["ts"].as_f64().unwrap(), e["args"]["dropped"].as_u64().unwrap()))
        .collect();
    counter.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(counter.iter().map(|c| c.1).collect::<Vec<_>>(), [0, 5, 8]);
    let trace: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(trace["metadata"]["ranks"][0]["dropped"], 8);
    assert_eq!(summary.ranks[0].dropped_total, 5);
}

#[test]
fn groups_are_told_apart_by_name_and_each_has_its_window_track() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|group| fragment(dir.path(), &identity(group, 0), &iterations(0, 1, 4)));
    let meta = meta(vec![window("a", 0, 1, 3), window("b", 0, 2, 4)]);
    let (all, _) = text(&files, &meta, &Selection::default());
    let events = checked(&all);
    let names: Vec<_> =
        events.iter().filter(|e| e["name"] == "process_name").map(|e| e["args"]["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["rank 0 (vllm 0.32.0, tp0, group a, pid 1)", "rank 0 (vllm 0.32.0, tp0, group b, pid 1)", "stepscope"]
    );
    let windows: std::collections::BTreeSet<_> =
        of_category(&events, "window").iter().map(|e| e["tid"].as_u64().unwrap()).collect();
    assert_eq!(windows.len(), 2, "two windows that overlap lie on two tracks");
    let group = Selection { rank: Some(0), group: Some("b".into()), job: None };
    let (_, summary) = text(&files, &meta, &group);
    assert_eq!(summary.ranks.iter().map(|r| r.group.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn ranks_share_one_way_to_the_epoch_unless_theirs_is_another_clock() {
    let dir = tempfile::tempdir().unwrap();
    let shifted = |rank: u32, shift_ns: u64| {
        let path = dir.path().join(format!("{rank}.frag"));
        let mut writer = FragmentWriter::create(&path, &identity("0", rank)).unwrap();
        let anchor = |ns| Anchor { realtime_ns: anchor(ns).realtime_ns + shift_ns, ..anchor(ns) };
        writer.write_block(0, 0, &iterations(0, 1, 3), anchor(1_000_000), 0).unwrap();
        writer.write_block(0, 3, &[], anchor(9_000_000 - u64::from(rank)), 0).unwrap();
        path
    };
    // Rank 1's clock was slewed by 3 ms, rank 2 lives in a time namespace of its own.
    let files = [shifted(0, 0), shifted(1, 3_000_000), shifted(2, 5_000_000_000)];
    let (text, _) = text(&files, &meta(Vec::new()), &Selection::default());
    let events = checked(&text);
    let first = |pid: u64| {
        of_category(&events, "iteration").into_iter().find(|e| e["pid"] == pid).unwrap()["ts"].as_f64().unwrap()
    };
    assert_eq!(first(1), first(2));
    assert_eq!(first(3) - first(1), 5_000_000.0);
}

#[test]
fn gzip_holds_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let files = [fragment(dir.path(), &identity("0", 0), &iterations(0, 1, 2000))];
    let meta = meta(vec![window("0", 0, 1, 2000)]);
    let (plain, _) = text(&files, &meta, &Selection::default());
    let mut packed = Vec::new();
    write_trace(&files, &meta, &Selection::default(), Format::JsonGz, &mut packed).unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(packed.len() * 4 < plain.len());
}

#[test]
fn a_file_that_is_no_fragment_is_named_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.frag");
    std::fs::write(&bad, "not ours").unwrap();
    let files = [bad, dir.path().join("missing.frag"), fragment(dir.path(), &identity("0", 0), &iterations(0, 1, 3))];
    let (text, summary) = text(&files, &meta(Vec::new()), &Selection::default());
    checked(&text);
    assert_eq!((summary.iterations, summary.refused.len()), (3, 2));
    assert!(summary.refused[0].contains("bad.frag is not a fragment"), "{:?}", summary.refused);
}

#[test]
fn nothing_at_all_is_a_trace_too() {
    let (text, summary) = text(&[], &ExportMeta::default(), &Selection::default());
    checked(&text);
    assert_eq!(summary.iterations, 0);
    let dir = tempfile::tempdir().unwrap();
    let file = fragment(dir.path(), &identity("0", 0), &[]);
    checked(&super::sample::text(&[file], &ExportMeta::default(), &Selection::default()).0);
}

#[test]
fn a_sink_that_fails_fails_the_export() {
    let dir = tempfile::tempdir().unwrap();
    let files = [fragment(dir.path(), &identity("0", 0), &iterations(0, 1, 5000))];
    for format in Format::ALL {
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let written = write_trace(&files, &ExportMeta::default(), &Selection::default(), format, &mut full);
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
}

#[test]
fn longest_numbers_fit() {
    let dir = tempfile::tempdir().unwrap();
    let most = Iteration {
        iteration: u64::MAX,
        begin_ticks: u64::MAX - 1,
        end_ticks: u64::MAX,
        batch: stepscope::trace::event::Batch {
            context_requests: u32::MAX,
            context_tokens: u32::MAX,
            generation_requests: u32::MAX,
            generation_tokens: u32::MAX,
        },
        device_ns: Some(u64::MAX - 1),
        flags: Flags::from_bits(7),
    };
    let file =
        fragment(dir.path(), &identity("0", 0), &[Event::Iteration(Iteration { flags: Flags::default(), ..most })]);
    let events = checked(&text(&[file], &meta(Vec::new()), &Selection::default()).0);
    let name = &of_category(&events, "iteration")[0]["name"];
    assert_eq!(name, "execute_context_4294967295(4294967295)_generation_4294967295(4294967295)");
    let file = fragment(dir.path(), &identity("1", 0), &[Event::Iteration(most)]);
    let events = checked(&text(&[file], &meta(Vec::new()), &Selection::default()).0);
    assert_eq!(of_category(&events, "iteration")[0]["args"].as_object().unwrap().len(), 9);
}
