//! From fragments to a report: what people see, and the arithmetic behind it.

use serde_json::json;
use stepscope::cli::report_table;
use stepscope::report::Report;
use stepscope::report::about::About;
use stepscope::report::build;
use stepscope::report::model::Phase;
use stepscope::report::verdict::{Bound, Holds};
use stepscope::trace::event::Flags;
use stepscope::trace::fragment::{FragmentIdentity, FragmentWriter};
use stepscope::trace::meta::Selection;

use super::sample::*;
use crate::trace::sample::{fragment, identity, iterations, meta, window};

#[test]
fn the_document_is_what_was_reviewed() {
    let mut json = serde_json::to_value(report()).unwrap();
    let rows = json["points"]["rows"].as_array_mut().unwrap();
    assert_eq!(rows.len() as u64, 2 * ITERATIONS - 1);
    rows.truncate(2);
    for phase in json["phases"].as_array_mut().unwrap() {
        let bins = phase["durations"].as_array().unwrap();
        let counted: u64 = bins.iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
        assert_eq!(Some(counted), phase["duration_ns"]["count"].as_u64().or(Some(0)));
        phase["durations"] = json!(bins.len());
    }
    insta::assert_json_snapshot!(json);
}

#[test]
fn the_tables_are_what_was_reviewed() {
    insta::assert_snapshot!(report_table::report(&report()));
}

#[test]
fn a_report_survives_being_written_and_read() {
    let report = report();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn a_report_of_another_version_is_read_as_far_as_it_goes() {
    let later = json!({"schema": 2, "new": {"x": [1]}, "phases": [{"phase": "speculative", "iterations": 3}],
        "verdict": {"primary": "network-bound", "findings": [{"bound": "x", "holds": "perhaps"}]}});
    let report: Report = serde_json::from_value(later).unwrap();
    assert_eq!((report.phases[0].phase, report.phases[0].iterations), (Phase::Unknown, 3));
    assert!(report_table::report(&report).contains("can't tell"));
}

#[test]
fn counts_agree_with_the_trace_and_nothing_is_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    let files = [0, 1].map(|rank| fragment(dir.path(), &identity("0", rank), &iterations(rank, 1, 300)));
    let meta = meta(vec![window("0", 0, 11, 210), window("0", 1, 11, 210)]);
    let report = build(&files, &About { meta: meta.clone(), ..About::default() });
    let (_, summary) = crate::trace::sample::text(&files, &meta, &Selection::default());
    assert_eq!((report.window.iterations, summary.iterations), (400, 400));
    let (all, kinds) = report.phases.split_last().unwrap();
    assert_eq!((all.phase, all.iterations), (Phase::All, 400));
    assert_eq!(kinds.iter().map(|row| row.iterations).sum::<u64>(), 400);
    assert_eq!(report.groups[0].compared, 200);
    assert_eq!(all.interval_ns.as_ref().map(|d| (d.count, d.min, d.max)), Some((398, 1_000_000, 1_000_000)));
    assert_eq!(all.gap_ns.as_ref().map(|d| (d.min, d.max)), Some((199_877, 199_877)));
    let shares: f64 = kinds.iter().map(|row| row.share_of_time).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
}

#[test]
fn a_batch_that_ranks_share_counts_once_and_batches_of_their_own_each() {
    let second = 1_000_000_000;
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rank = |dir: &tempfile::TempDir, rank: u32, tokens: fn(u64) -> u32| {
        let events: Vec<_> = (1..=100)
            .map(|n| {
                let batch = [0, 0, tokens(n), tokens(n)];
                stepscope::trace::event::Event::Iteration(iteration(n, n * second / 100, second / 100, batch))
            })
            .collect();
        fragment(dir.path(), &identity("0", rank), &events)
    };
    let about = About { meta: meta(Vec::new()), ..About::default() };
    let shared = build(&[rank(&one, 0, |_| 10), rank(&one, 1, |_| 10)], &about).throughput;
    assert_eq!((shared.generation_tokens_per_second, shared.iterations_per_second), (1000.0, 100.0));
    assert!(shared.counted.starts_with("once a group"), "{}", shared.counted);
    let own = build(&[rank(&other, 0, |_| 10), rank(&other, 1, |n| 10 + n as u32 % 2 * 10)], &about);
    assert_eq!(own.throughput.generation_tokens_per_second, 2500.0);
    assert!(own.throughput.counted.starts_with("once a rank"), "{}", own.throughput.counted);
    assert_eq!(own.phases.last().unwrap().tokens_per_second.map(f64::round), Some(2500.0));
}

#[test]
fn an_interval_in_front_of_a_lost_record_is_not_measured() {
    let all: Vec<_> = (1..=50).map(|n| iteration(n, n * 1_000_000, 900_000, [0, 0, 4, 4])).collect();
    let without: Vec<_> = all.iter().copied().filter(|i| !(20..30).contains(&i.iteration)).collect();
    let all = report_of(&all).phases.pop().unwrap();
    let without = report_of(&without).phases.pop().unwrap();
    assert_eq!(all.interval_ns.map(|d| (d.count, d.max)), Some((49, 1_000_000)));
    assert_eq!(without.interval_ns.map(|d| (d.count, d.max)), Some((38, 1_000_000)));
}

#[test]
fn what_was_cut_off_counts_and_has_no_duration() {
    let mut all: Vec<_> = (1..=30).map(|n| iteration(n, n * 1_000_000, 900_000, [0, 0, 4, 4])).collect();
    all[29].flags = Flags::MID_ITERATION;
    let report = report_of(&all);
    let row = report.phases.last().unwrap();
    assert_eq!((row.iterations, row.duration_ns.as_ref().map(|d| d.count)), (30, Some(29)));
    assert_eq!(report.loss.ranks[0].without_end, 1);
    assert_eq!(report.overhead.edges.iter().map(|edge| edge.edge.as_str()).collect::<Vec<_>>(), ["first"]);
}

#[test]
fn an_empty_capture_and_a_file_that_is_none_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.frag");
    std::fs::write(&path, "no fragment").unwrap();
    let report = build(&[path], &About::default());
    assert_eq!((report.window.iterations, report.loss.refused.len()), (0, 1));
    let text = report_table::report(&report);
    assert!(text.contains("no iteration was recorded") && text.contains("x.frag is not a fragment"), "{text}");
}

#[test]
fn a_process_that_runs_no_iterations_is_no_rank_and_its_losses_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let source = FragmentIdentity { role: "source".into(), label: "API server".into(), ..identity("0", 9) };
    let path = dir.path().join("source.frag");
    let mut writer = FragmentWriter::create(&path, &source).unwrap();
    writer.write_block(0, 0, &[], crate::trace::sample::anchor(1_000_000), 7).unwrap();
    let mut files: Vec<_> =
        [0, 1].map(|rank| fragment(dir.path(), &identity("0", rank), &iterations(rank, 1, 50))).into();
    files.push(path);
    let report = build(&files, &About { meta: meta(Vec::new()), ..About::default() });
    assert_eq!((report.ranks.len(), report.groups[0].ranks, report.groups[0].compared), (2, 2, 50));
    let row = report.loss.ranks.iter().find(|row| row.role == "source").unwrap();
    assert_eq!((row.label.as_str(), row.dropped, row.recorded), ("API server", 7, 0));
    assert!(
        report_table::report(&report).contains("API server         0         0        7"),
        "{}",
        report_table::report(&report)
    );
}

/// Iterations back to back, `(duration in µs, device time in µs, batch)` each, over and over.
fn engine(count: u64, kinds: &[(u64, Option<u64>, [u32; 4])]) -> Report {
    let mut begin_ns = 1_000_000;
    let all: Vec<_> = (1..=count)
        .map(|number| {
            let (duration_us, device_us, batch) = kinds[(number % kinds.len() as u64) as usize];
            let mut this = iteration(number, begin_ns, duration_us * 1000, batch);
            this.device_ns = device_us.map(|us| us * 1000);
            begin_ns += duration_us * 1000 + 1_000;
            this
        })
        .collect();
    report_of(&all)
}

fn holding(report: &Report) -> Vec<Bound> {
    report.verdict.findings.iter().filter(|f| f.holds == Holds::Yes).map(|f| f.bound).collect()
}

const DECODE: [u32; 4] = [0, 0, 8, 8];

#[test]
fn long_prompts_are_prefill_bound_and_short_ones_decode_bound() {
    let long = engine(200, &[(1_000, None, DECODE), (9_000, None, [1, 2048, 0, 0])]);
    assert_eq!(holding(&long), [Bound::PrefillBound]);
    let short = engine(200, &[(5_000, None, DECODE), (1_000, None, [1, 16, 0, 0])]);
    assert_eq!(holding(&short), [Bound::DecodeBound]);
}

#[test]
fn of_a_mixed_iteration_what_goes_beyond_decode_is_prefill() {
    let costly = engine(200, &[(2_000, None, DECODE), (12_000, None, [1, 2048, 8, 8])]);
    assert_eq!(holding(&costly), [Bound::PrefillBound]);
    let cheap = engine(200, &[(2_000, None, DECODE), (2_200, None, [1, 16, 8, 8])]);
    assert_eq!(holding(&cheap), [Bound::DecodeBound]);
    let only_mixed = engine(200, &[(12_000, None, [1, 2048, 8, 8])]);
    assert_eq!((holding(&only_mixed).len(), only_mixed.verdict.primary), (0, Bound::CantTell));
}

#[test]
fn a_device_that_waits_is_host_bound_by_its_own_times_alone() {
    let waits = engine(200, &[(2_000, Some(500), DECODE)]);
    assert_eq!(holding(&waits), [Bound::HostBound, Bound::DecodeBound]);
    let works = engine(200, &[(2_000, Some(1_950), DECODE)]);
    assert_eq!(holding(&works), [Bound::DecodeBound]);
    // Asynchronous: short calls, long gaps, and the device times are not known.
    let mut begin_ns = 0;
    let gaps: Vec<_> = (1..=200)
        .map(|number| {
            begin_ns += 5_000_000;
            iteration(number, begin_ns, 100_000, DECODE)
        })
        .collect();
    assert_eq!(holding(&report_of(&gaps)), [Bound::DecodeBound]);
}

#[test]
fn a_server_that_nobody_asks_anything_is_not_host_bound() {
    // Each request is one prefill of 2 ms, all of it on the device; then nothing for half a second.
    let idle: Vec<_> = (1..=100)
        .map(|number| {
            let mut this = iteration(number, number * 500_000_000, 2_000_000, [1, 100, 0, 0]);
            this.device_ns = Some(2_000_000);
            this
        })
        .collect();
    let report = report_of(&idle);
    assert_eq!(holding(&report), [Bound::PrefillBound]);
    let host = report.verdict.findings.iter().find(|f| f.bound == Bound::HostBound).unwrap();
    assert_eq!(host.holds, Holds::CantTell);
}

#[test]
fn groups_that_count_apart_are_not_said_to_share_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("a", 100), ("b", 900)]
        .map(|(group, first)| fragment(dir.path(), &identity(group, 0), &iterations(0, first, 30)));
    let report = build(&files, &About { meta: meta(Vec::new()), ..About::default() });
    let text = report_table::report(&report);
    assert!(text.contains("\n60 iterations of 2 ranks in 2 groups, "), "{text}");
    assert!(text.contains("\n   a/0 ") && text.contains("\n   b/0 "), "{text}");
}
