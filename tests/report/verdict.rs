//! The verdict, from evidence made for it: each bound, both sides of its threshold, and what can't be told.

use stepscope::report::thresholds::*;
use stepscope::report::verdict::{Bound, Evidence, Finding, GroupEvidence, Holds, Verdict, judge};

/// Just below a threshold.
const LESS: f64 = 1e-6;

/// Nothing stands out, and everything is known.
fn quiet() -> Evidence {
    Evidence {
        iterations: 1000,
        prefill_ns: 50.0,
        decode_ns: 50.0,
        other_ns: 0.0,
        device: Some((1000, 0.8)),
        gap_share: Some(0.1),
        utilization: Ok(0.5),
        groups: vec![group(0.5, 0.0)],
        queue: Some((1000, 0.0)),
        profiler: "cuda".into(),
    }
}

fn group(share: f64, excess: f64) -> GroupEvidence {
    GroupEvidence { rank: "rank 1".into(), compared: 1000, share, excess, covered: 0.9 }
}

fn of(verdict: &Verdict, bound: Bound) -> &Finding {
    verdict.findings.iter().find(|finding| finding.bound == bound).unwrap()
}

/// What is said of `bound` when `change` has been made to a quiet engine.
fn holds(bound: Bound, change: impl FnOnce(&mut Evidence)) -> Holds {
    let mut evidence = quiet();
    change(&mut evidence);
    of(&judge(&evidence), bound).holds
}

#[test]
fn a_quiet_engine_is_bound_by_nothing_that_is_asked_for() {
    let verdict = judge(&quiet());
    assert_eq!(verdict.primary, Bound::CantTell);
    assert_eq!(verdict.findings.len(), 6);
    assert!(verdict.findings.iter().all(|finding| finding.holds == Holds::No), "{verdict:?}");
    assert_eq!(verdict.summary, "can't tell: nothing reaches its threshold.");
}

#[test]
fn straggler_bound_takes_how_often_and_how_much() {
    let holds = |share, excess| holds(Bound::StragglerBound, |e| e.groups = vec![group(share, excess)]);
    assert_eq!(holds(STRAGGLER_SHARE, STRAGGLER_EXCESS), Holds::Yes);
    assert_eq!(holds(STRAGGLER_SHARE - LESS, 1.0), Holds::No);
    assert_eq!(holds(1.0, STRAGGLER_EXCESS - LESS), Holds::No);
}

#[test]
fn a_straggler_is_not_told_by_calls_that_do_not_take_the_time() {
    let late = |covered, compared| GroupEvidence { covered, compared, ..group(1.0, 1.0) };
    let holds = |group| holds(Bound::StragglerBound, |e| e.groups = vec![group]);
    assert_eq!(holds(late(HOST_COVERS, 1000)), Holds::Yes);
    assert_eq!(holds(late(HOST_COVERS - LESS, 1000)), Holds::CantTell);
    assert_eq!(holds(late(0.9, MIN_COUNT)), Holds::Yes);
    assert_eq!(holds(late(0.9, MIN_COUNT - 1)), Holds::CantTell);
}

#[test]
fn one_rank_has_no_straggler_and_of_several_groups_the_worst_counts() {
    assert_eq!(holds(Bound::StragglerBound, |e| e.groups.clear()), Holds::No);
    let groups = vec![group(0.5, 0.9), group(0.9, 0.1), group(0.9, 0.2)];
    let verdict = judge(&Evidence { groups, ..quiet() });
    let finding = of(&verdict, Bound::StragglerBound);
    assert_eq!((finding.holds, finding.measured), (Holds::Yes, Some(0.2)));
}

#[test]
fn queue_bound_is_a_share_of_requests_time() {
    let holds = |queue| holds(Bound::QueueBound, |e| e.queue = queue);
    assert_eq!(holds(Some((MIN_COUNT, QUEUE_SHARE))), Holds::Yes);
    assert_eq!(holds(Some((MIN_COUNT, QUEUE_SHARE - LESS))), Holds::No);
    assert_eq!(holds(Some((MIN_COUNT - 1, 1.0))), Holds::CantTell);
    assert_eq!(holds(None), Holds::CantTell);
}

#[test]
fn host_bound_takes_device_times_and_no_gap_stands_in_for_them() {
    let holds = |device| holds(Bound::HostBound, |e| e.device = device);
    assert_eq!(holds(Some((MIN_COUNT, HOST_DEVICE_SHARE))), Holds::Yes);
    assert_eq!(holds(Some((MIN_COUNT, HOST_DEVICE_SHARE + LESS))), Holds::No);
    assert_eq!(holds(Some((MIN_COUNT - 1, 0.1))), Holds::CantTell);
    let verdict = judge(&Evidence { device: None, gap_share: Some(0.99), profiler: "steps".into(), ..quiet() });
    let finding = of(&verdict, Bound::HostBound);
    assert_eq!((finding.holds, finding.measured), (Holds::CantTell, None));
    assert!(finding.evidence.contains("99.0 % of an interval, prove nothing"), "{}", finding.evidence);
}

#[test]
fn gpu_bound_takes_both_the_devices_share_and_nvmls_word() {
    let busy = Some((MIN_COUNT, GPU_DEVICE_SHARE));
    let none = || Err("no counters".to_owned());
    let holds = |device, utilization| holds(Bound::GpuBound, |e| (e.device, e.utilization) = (device, utilization));
    assert_eq!(holds(busy, Ok(GPU_UTILIZATION)), Holds::Yes);
    assert_eq!(holds(Some((MIN_COUNT, GPU_DEVICE_SHARE - LESS)), Ok(1.0)), Holds::No);
    assert_eq!(holds(busy, Ok(GPU_UTILIZATION - LESS)), Holds::No);
    assert_eq!(holds(None, Ok(GPU_UTILIZATION - LESS)), Holds::No);
    assert_eq!(holds(Some((MIN_COUNT, 0.2)), none()), Holds::No);
    assert_eq!(holds(busy, none()), Holds::CantTell);
    assert_eq!(holds(None, Ok(1.0)), Holds::CantTell);
    assert_eq!(holds(None, none()), Holds::CantTell);
}

#[test]
fn prefill_and_decode_bound_are_shares_of_time() {
    let holds = |bound, prefill, decode, other| {
        holds(bound, |e| (e.prefill_ns, e.decode_ns, e.other_ns) = (prefill, decode, other))
    };
    assert_eq!(holds(Bound::PrefillBound, PREFILL_SHARE, 1.0 - PREFILL_SHARE, 0.0), Holds::Yes);
    assert_eq!(holds(Bound::PrefillBound, PREFILL_SHARE - LESS, 1.0 - PREFILL_SHARE + LESS, 0.0), Holds::No);
    assert_eq!(holds(Bound::DecodeBound, 1.0 - DECODE_SHARE, DECODE_SHARE, 0.0), Holds::Yes);
    assert_eq!(holds(Bound::DecodeBound, 1.0 - DECODE_SHARE + LESS, DECODE_SHARE - LESS, 0.0), Holds::No);
}

#[test]
fn time_that_is_nobodys_leaves_open_what_it_could_decide() {
    let evidence = Evidence { prefill_ns: 40.0, decode_ns: 5.0, other_ns: 55.0, ..quiet() };
    let verdict = judge(&evidence);
    assert_eq!(of(&verdict, Bound::PrefillBound).holds, Holds::CantTell);
    assert_eq!(of(&verdict, Bound::DecodeBound).holds, Holds::CantTell);
    let decided = judge(&Evidence { prefill_ns: 70.0, decode_ns: 5.0, other_ns: 25.0, ..quiet() });
    assert_eq!(of(&decided, Bound::PrefillBound).holds, Holds::Yes);
    assert_eq!(of(&decided, Bound::DecodeBound).holds, Holds::No);
    let few = judge(&Evidence { iterations: MIN_COUNT - 1, decode_ns: 100.0, prefill_ns: 0.0, ..quiet() });
    assert_eq!(of(&few, Bound::DecodeBound).holds, Holds::CantTell);
}

#[test]
fn the_first_that_holds_is_the_verdict_and_the_others_are_named() {
    let all = Evidence {
        groups: vec![group(1.0, 1.0)],
        queue: Some((100, 0.9)),
        device: Some((100, 0.1)),
        decode_ns: 100.0,
        prefill_ns: 0.0,
        ..quiet()
    };
    let verdict = judge(&all);
    assert_eq!(verdict.primary, Bound::StragglerBound);
    assert!(verdict.summary.contains("Also queue-bound, host-bound, decode-bound."), "{}", verdict.summary);
    let without = judge(&Evidence { groups: Vec::new(), ..all });
    assert_eq!(without.primary, Bound::QueueBound);
}

#[test]
fn every_threshold_stands_in_the_document() {
    let json = serde_json::to_value(stepscope::report::verdict::Thresholds::default()).unwrap();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/thresholds.rs")).unwrap();
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let names: Vec<_> = source.lines().filter_map(|l| l.strip_prefix("pub const ")?.split(':').next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        let name = name.to_lowercase();
        assert!(json.get(&name).is_some(), "{name} is not in the report");
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
    }
    assert_eq!(json.as_object().unwrap().len(), names.len());
}
