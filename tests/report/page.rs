//! The page: whole, on its own, bounded, and nothing of an engine's text in it as markup.

use proptest::prelude::*;
use stepscope::cli::report_table;
use stepscope::report::Report;
use stepscope::report::html::page;
use stepscope::report::model::Distribution;
use stepscope::report::points::MAX_POINTS;
use stepscope::report::requests::{RequestRow, STAGES, StageRow};

use super::sample::{iteration, report, report_of};

/// Elements that have no end.
const VOID: [&str; 2] = ["meta", "br"];

/// Checks that every element that begins ends, in order. SVG's `<path …/>` ends itself.
fn assert_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').unwrap();
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {:?}", &rest[..rest.len().min(60)]);
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        if name == "style" {
            let end = rest.find("</style>").unwrap();
            rest = &rest[end..];
        }
        if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

pub(crate) fn with_requests() -> Report {
    let mut report = report();
    let requests = &mut report.requests;
    requests.recorded = true;
    (requests.seen, requests.complete, requests.open) = (9, 8, 1);
    let time_ns = Distribution { count: 8, avg: 5e6, min: 1, p50: 5, p90: 8, p99: 9, max: 9 };
    requests.stages =
        STAGES.map(|stage| StageRow { stage: stage.into(), time_ns: time_ns.clone(), share: 1.0 / 6.0 }).into();
    requests.end_to_end_ns = Some(time_ns);
    requests.rows = (0..8)
        .map(|request| RequestRow {
            request,
            arrived_ns: 1_000_000_000 + request * 1_000_000,
            stages_ns: vec![100_000, 2_000_000 * request, 3_000_000, 40_000_000, 10_000, 500_000],
            ..RequestRow::default()
        })
        .collect();
    report
}

#[test]
fn a_page_stands_on_its_own() {
    let html = page(&with_requests());
    assert_well_formed(&html);
    for outside in ["<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "href=", "http://", "https://"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'") && html.contains("prefers-color-scheme:dark"));
}

#[test]
fn every_plot_and_table_is_there() {
    let html = page(&with_requests());
    for title in [
        "Durations over time",
        "Device times over time",
        "Which durations occur",
        "Batches over time",
        "Gaps over time",
        "Durations rank by rank",
        "Iterations by phase",
        "Slowest iterations",
        "Requests",
        "GPU counters over the window",
        "What the capture itself took",
        "What is missing",
    ] {
        assert_eq!(html.matches(&format!("<h2>{title}</h2>")).count(), 1, "{title}");
    }
    assert!(html.matches("<svg").count() >= 9, "{}", html.matches("<svg").count());
    assert!(!html.contains("NaN") && !html.contains("inf"), "a number that is none");
}

#[test]
fn text_of_an_engine_is_text() {
    let mut report = with_requests();
    let evil = "</style><script>alert(1)</script><b onload='x' a=\"y\">&\u{202e}\u{0}";
    report.capture.engines = vec![evil.into()];
    report.capture.capture_id = evil.into();
    report.capture.profiler = evil.into();
    report.capture.accepted_at = evil.into();
    report.stepscope_version = evil.into();
    report.verdict.findings[0].evidence = evil.into();
    report.throughput.counted = evil.into();
    report.percentiles = evil.into();
    report.loss.missing = vec![evil.into()];
    report.loss.refused = vec![evil.into()];
    report.loss.gpus_absent = Some(evil.into());
    report.overhead.not_known = vec![evil.into()];
    for rank in &mut report.ranks {
        (rank.job, rank.group, rank.label) = (evil.into(), format!("{evil}{}", rank.rank), evil.into());
    }
    report.gpus[0].name = evil.into();
    report.gpus[0].counters[0].counter = evil.into();
    report.requests.stages[0].stage = evil.into();
    let html = page(&report);
    assert_well_formed(&html);
    for piece in ["<script", "<b onload", "alert(1)</script", "\u{202e}", "\u{0}"] {
        assert!(!html.contains(piece), "{piece:?}");
    }
}

#[test]
fn a_long_window_makes_a_page_of_bounded_size_that_says_so() {
    let all: Vec<_> = (1..=50_000)
        .map(|n| iteration(n, n * 1_000_000, 800_000 + n % 97 * 1_000, [(n % 9 == 0).into(), 77, 3, 3]))
        .collect();
    let report = report_of(&all);
    assert!(report.points.rows.len() <= MAX_POINTS);
    assert_eq!(report.phases.last().unwrap().iterations, 50_000);
    let html = page(&report);
    assert_well_formed(&html);
    assert!(html.len() < 1 << 20, "{}", html.len());
    assert!(html.contains("of 50,000 iterations are drawn, an even choice"));
}

#[test]
fn an_empty_report_has_a_page_too() {
    let html = page(&Report::default());
    assert_well_formed(&html);
    assert!(html.contains("no iteration was recorded"));
}

proptest! {
    #![proptest_config(crate::support::at_least(32))]
    #[test]
    fn whatever_a_file_says_is_shown_without_a_panic(numbers in proptest::collection::vec(any::<u64>(), 24),
        share in -1e300f64..1e300, rank: u32, text in ".{0,30}") {
        let n = |i: usize| numbers[i % numbers.len()];
        let times = serde_json::json!({"count": n(0), "avg": share, "min": n(1), "p50": n(2), "p90": n(3), "p99": n(4), "max": n(5)});
        let report: Report = serde_json::from_value(serde_json::json!({
            "schema": 1,
            "window": {"ranks": n(0), "groups": n(1), "first_iteration": n(2), "last_iteration": n(3), "iterations": n(4).max(1),
                "begin_ns": n(5), "wall_ns": n(6)},
            "phases": [{"phase": "decode", "duration_ns": times, "gap_ns": times, "share_of_time": share,
                "durations": [{"from_ns": n(7), "to_ns": n(8), "count": n(9)}]}, {"phase": "all", "duration_ns": times}],
            "slowest": [{"rank": rank, "iteration": n(10), "start_ns": n(11), "duration_ns": n(12), "gap_ns": n(13)}],
            "ranks": [{"group": text, "rank": rank, "duration_ns": times, "slowest_share": share}],
            "groups": [{"ranks": n(14), "slowest_share": share}],
            "verdict": {"findings": [{"bound": "host-bound", "measured": share, "threshold": -share}]},
            "requests": {"recorded": true, "complete": 2, "stages": [{"stage": text, "time_ns": times, "share": share}],
                "rows": [{"arrived_ns": n(15), "stages_ns": [n(16), n(17)]}, {"arrived_ns": n(18), "stages_ns": vec![n(19); 9]}]},
            "overhead": {"profiler_calls": [{"start_ns": n(20), "stop_ns": n(21)}]},
            "points": {"of": n(0), "share": share, "rows": [
                [0, n(1), n(2), n(3), n(4), n(5), "decode", rank, rank, rank, rank],
                [rank, n(6), n(7), n(8), n(9), null, "mixed", rank, rank, rank, rank]]},
        })).unwrap();
        assert_well_formed(&page(&report));
        prop_assert!(!report_table::report(&report).is_empty());
    }
}
