//! The window as NVTX ranges.

use super::support::{Bench, Parts};
use crate::support::fakes::library;
use crate::support::{Place, number};

const RANGES: &[&str] = &["start", "end", "push", "pop"];

#[test]
fn a_tool_sees_one_capture_around_exactly_the_windows_iterations() {
    let parts = Parts { tool: true, ..Parts::default() };
    let bench = Bench::new(parts, &["--ranks", "1", "--iterations", "0", "--step-us", "500"], &[]);
    bench.sidecar.attached(1);
    for (delay, count) in [(7, 4), (0, 1), (1, 20)] {
        let before = bench.calls(RANGES).len();
        let body = format!(r#"{{"delay_iterations": {delay}, "max_iterations": {count}}}"#);
        let started = bench.sidecar.start_profile(&body);
        let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
        assert_eq!(capture["complete"], true, "{capture:#}");
        let report = &capture["ranks"][0];
        let (first, last) = (number(&report["first_iteration"]), number(&report["last_iteration"]));
        assert_eq!(last - first + 1, count);
        assert_eq!(report["profiler"]["capture_range"], true, "{report:#}");
        assert_eq!(report["profiler"]["iteration_ranges"], true, "{report:#}");

        let calls = bench.calls(RANGES).split_off(before);
        let names: Vec<&str> = calls.iter().map(|c| c.name.as_str()).collect();
        let pairs = ["push", "pop"].repeat(count as usize);
        assert_eq!(names, [&["start"][..], &pairs, &["end"]].concat());
        assert!(calls[0].detail.starts_with("capture@stepscope "), "{:?}", calls[0]);
        let ledger = bench.sidecar.ledger(capture["capture_id"].as_str().unwrap());
        let pushes = calls.iter().filter(|c| c.name == "push");
        for (iteration, (call, row)) in (first..).zip(pushes.zip(&ledger)) {
            let named = format!(
                "execute_context_{}({})_generation_{}({})@stepscope {iteration}",
                row["context_requests"], row["context_tokens"], row["generation_requests"], row["generation_tokens"]
            );
            assert_eq!(call.detail, named);
        }
    }
}

#[test]
fn of_one_session_one_rank_opens_the_capture_and_closes_it_after_all_others() {
    let parts = Parts { tool: true, session: "one", ..Parts::default() };
    let bench = Bench::new(parts, &["--ranks", "4", "--iterations", "0", "--step-us", "1000"], &[]);
    bench.sidecar.attached(4);
    bench.sidecar.begun(20);
    let started = bench.sidecar.start_profile(r#"{"delay_iterations": 5, "max_iterations": 6}"#);
    let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["complete"], true, "{capture:#}");
    let calls = bench.calls(RANGES);
    let (first, last) = (calls.first().unwrap(), calls.last().unwrap());
    assert_eq!((first.name.as_str(), last.name.as_str()), ("start", "end"), "{calls:#?}");
    assert_eq!(first.pid, last.pid);
    assert_eq!(calls.iter().filter(|c| c.name == "start").count(), 1);
    assert_eq!(calls.iter().filter(|c| c.name == "push").count(), 24);
    let leaders = capture["ranks"].as_array().unwrap().iter().filter(|r| r["profiler"]["leader"] == true);
    assert_eq!(leaders.map(|r| &r["rank"]).collect::<Vec<_>>(), [0]);
}

#[test]
fn an_idle_engines_window_is_closed_by_the_helper_and_so_is_its_capture() {
    let parts = Parts { tool: true, ..Parts::default() };
    let mut bench = Bench::new(parts, &["--ranks", "2", "--paced", "--step-us", "200"], &[]);
    bench.sidecar.attached(2);
    let started = bench.sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    bench.engine.make(6);
    bench.sidecar.in_state(id, "recording");
    bench.sidecar.begun(6);
    bench.sidecar.stop_profile();
    let capture = bench.sidecar.finished(id);
    assert_eq!(capture["closed_by"], "stop", "{capture:#}");
    for report in capture["ranks"].as_array().unwrap() {
        assert_eq!(report["profiler"]["stopped_by"], "helper", "{capture:#}");
        assert_eq!(report["profiler"]["capture_range"], true, "{capture:#}");
    }
    // Without a session each rank is its own leader.
    for name in ["start", "end"] {
        assert_eq!(bench.calls(&[name]).len(), 2);
    }
}

#[test]
fn without_a_tool_nothing_is_said_of_a_profiler() {
    let bench = Bench::new(Parts::default(), &["--ranks", "1", "--iterations", "0", "--step-us", "500"], &[]);
    bench.sidecar.attached(1);
    let started = bench.sidecar.start_profile(r#"{"max_iterations": 3}"#);
    let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
    assert!(capture["ranks"][0]["profiler"].is_null(), "{capture:#}");
}

#[test]
fn asked_to_always_every_iteration_is_a_range_and_windows_are_as_exact() {
    let place = Place::new();
    let log = place.path().join("calls");
    let tool = library("nvtx_tool", "libnvtx_tool.so", &[]);
    for (wanted, expected) in [("always", 60), ("off", 0)] {
        let environment = [
            ("STEPSCOPE_TEST_CALLS", log.display().to_string()),
            ("NVTX_INJECTION64_PATH", tool.display().to_string()),
            ("STEPSCOPE_NVTX", wanted.into()),
        ];
        let engine = &["--ranks", "1", "--paced", "--step-us", "100"];
        let _ = std::fs::remove_file(&log);
        let mut bench = Bench::with_environment(Place::new(), log.clone(), &environment, engine, &[]);
        bench.sidecar.attached(1);
        bench.engine.make(30);
        bench.sidecar.begun(30);
        let started = bench.sidecar.start_profile(r#"{"delay_iterations": 10, "max_iterations": 5}"#);
        bench.engine.make(30);
        let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
        assert_eq!(
            (&capture["complete"], number(&capture["ranks"][0]["iterations"])),
            (&true.into(), 5),
            "{capture:#}"
        );
        bench.sidecar.begun(60);
        let pushes = bench.calls(&["push"]);
        assert_eq!(pushes.len(), expected, "{wanted}");
        assert_eq!(bench.calls(&["pop"]).len(), expected);
        assert!(pushes.iter().all(|c| c.detail.starts_with("execute_context_")), "{pushes:#?}");
    }
}
