//! One clock: stated bases, what is said where there is none, what is measured, and what is refused.

use serde_json::json;

use super::support::{Files, annotations, events, kineto, ours};
use crate::trace::sample::EPOCH_NS;

#[test]
fn iterations_that_both_show_are_compared_and_nothing_is_shifted() {
    let mut files = Files::new();
    // vLLM's window is longer than ours, and its profiler's begin disturbs the first one of ours.
    let late = |number| if number == 11 { 900_000 } else { 30_000 + number % 5 * 1_000 };
    files.input("ours.json", ours(&[0], 11, 40, 0)).input("torch.json", kineto(0, "a", &annotations(1, 80, late)));
    let (report, trace) = files.merged();
    let [found] = &report.matches[..] else { panic!("{:?}", report.matches) };
    assert_eq!((found.a.as_str(), found.b.as_str(), found.iterations), ("ours", "torch", 40));
    assert_eq!((found.median_offset_ns, found.spread_ns), (32_000, 2_000));
    let first = events(&trace).into_iter().find(|event| event["args"]["External id"] == 20).unwrap();
    assert_eq!(first["ts"].as_f64(), Some(20_000.0 + 30.0 - (report.base_ns.unwrap() - EPOCH_NS) as f64 / 1e3));
    let torch = &report.inputs[1];
    assert_eq!((torch.offset_ns, torch.uncertainty_ns), (0, Some(50_000)));
    assert_eq!((report.uncertainty_ns, report.looking_at_ns), (Some(60_000), 800_123));
}

#[test]
fn an_input_without_a_base_is_left_out_until_somebody_says_where_it_lies() {
    let foreign = json!([{"ph": "X", "pid": 1, "tid": 1, "ts": 5000.5, "dur": 2, "name": "foreign"}]).to_string();
    let mut files = Files::new();
    files.input("ours.json", ours(&[0], 1, 9, 0)).input("foreign.json", &foreign);
    let (report, _) = files.merged();
    assert_eq!(report.inputs.len(), 1);
    assert!(
        report.refused[0].why.contains("no baseTimeNanoseconds")
            && report.refused[0].why.contains("--offset foreign=NS")
    );

    files.wanted.offsets.insert("foreign".into(), EPOCH_NS as i64 + 1_000_000);
    let (report, trace) = files.merged();
    let at = |trace: &serde_json::Value| {
        let found = events(trace).into_iter().find(|event| event["name"] == "foreign").unwrap().clone();
        found["ts"].as_f64().unwrap()
    };
    assert_eq!(at(&trace), 6_000.5);
    assert!(report.is_complete() && report.inputs[1].clock.contains("as --offset says"));

    files.wanted.offsets.clear();
    files.wanted.force = true;
    let (report, trace) = files.merged();
    assert_eq!(at(&trace), 950.0, "our window opens 50 µs before 1 ms");
    assert!(report.inputs[1].clock.contains("forced to begin together with ours"), "{}", report.inputs[1].clock);
    assert!(report.forced.is_some_and(|why| why.contains("nobody knows how far off foreign lies")));

    files.wanted.offsets.insert("nobody".into(), 1);
    let error = files.merge().unwrap_err().to_string();
    assert_eq!(error, "--offset nobody: there is no such input; there are ours, foreign");
}

#[test]
fn times_since_1970_are_recognised_in_the_hint() {
    let mut files = Files::new();
    let old = json!({"traceEvents": [{"ph": "X", "pid": 1, "ts": EPOCH_NS / 1000, "dur": 1, "name": "old kineto"}]});
    files.input("ours.json", ours(&[0], 1, 3, 0)).input("old.json", old.to_string());
    let (report, _) = files.merged();
    assert!(report.refused[0].why.contains("--offset old=0"), "{}", report.refused[0].why);
    files.wanted.offsets.insert("old".into(), 0);
    let (report, _) = files.merged();
    assert_eq!((report.base_ns, report.inputs.len()), (Some(EPOCH_NS), 2));
}

#[test]
fn one_input_alone_needs_no_base_and_several_without_any_begin_together_if_forced() {
    let foreign = |at: u64| json!([{"ph": "X", "pid": 1, "ts": at, "dur": 1, "name": "x"}]).to_string();
    let mut files = Files::new();
    let (report, trace) = files.input("a.json", foreign(77)).merged();
    assert_eq!((report.base_ns, trace.get("baseTimeNanoseconds")), (None, None));
    files.input("b.json", foreign(1_000_000));
    assert!(files.merge().unwrap_err().to_string().contains("there is nothing to merge"));
    files.wanted.force = true;
    let (report, trace) = files.merged();
    assert_eq!(report.base_ns, None);
    assert_eq!(events(&trace).iter().map(|event| event["ts"].as_f64().unwrap()).collect::<Vec<_>>(), [0.0, 0.0]);
}

#[test]
fn two_hosts_whose_clocks_differ_by_more_than_an_iteration_are_refused_with_the_measured_skew() {
    let mut files = Files::new();
    files.input("left.json", ours(&[0], 1, 60, 0)).input("right.json", ours(&[1], 1, 60, 3_000_000));
    let error = files.merge().unwrap_err().to_string();
    assert!(
        error.contains("not merged: right may lie 3.00 ms off")
            && error.contains("takes 800.1 µs (the median iteration)"),
        "{error}"
    );
    assert_eq!(files.left_behind(), [] as [std::path::PathBuf; 0]);

    files.wanted.force = true;
    let (report, trace) = files.merged();
    assert_eq!(report.matches[0].median_offset_ns, 3_001_000, "rank 1 begins a microsecond later by itself");
    assert!(report.forced.is_some());
    let numbers = |pid: u64| -> Vec<u64> {
        let all = events(&trace);
        let of = all.iter().filter(|event| event["cat"] == "iteration" && event["pid"] == pid);
        of.map(|event| event["args"]["iteration"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(1), numbers(3)), ((1..=60).collect(), (1..=60).collect()), "order within a process is kept");

    files.wanted.force = false;
    files.wanted.offsets.insert("right".into(), -3_000_000);
    let (report, _) = files.merged();
    assert_eq!(report.matches[0].median_offset_ns, 1_000);
    assert_eq!(report.inputs[1].offset_ns, -3_000_000);
}

#[test]
fn inputs_of_two_machines_are_refused_unless_somebody_vouches() {
    let mut files = Files::new();
    files
        .input("a.json", kineto(0, "left", &annotations(1, 9, |_| 0)))
        .input("b.json", kineto(1, "right", &[json!({"ph": "i", "ts": 0, "pid": 1})]));
    let error = files.merge().unwrap_err().to_string();
    assert!(
        error.contains("of another machine (right) than the others (left)") && error.contains("takes 1.00 ms"),
        "{error}"
    );
    files.wanted.offsets.insert("b".into(), 0);
    assert_eq!(files.merge().unwrap().inputs[1].uncertainty_ns, Some(0));
}

#[test]
fn what_a_capture_says_of_its_own_clock_counts() {
    let mut files = Files::new();
    let coarse = ours(&[0], 1, 9, 0).replace("\"clock\":{", "\"clock\":{\"uncertainty_ns\":790000,");
    files.input("ours.json", coarse).input("torch.json", kineto(0, "a", &annotations(1, 9, |_| 0)));
    let error = files.merge().unwrap_err().to_string();
    assert!(error.contains("ours may lie 790.0 µs off"), "{error}");
}
