//! The profiler `cuda`: which calls are made, when, by whom, and what is said of them.

use serde_json::Value;

use super::support::{Bench, Parts};
use crate::support::fakes::library;
use crate::support::{Place, eventually};

const CALLS: &[&str] = &["cuProfilerStart", "cuProfilerStop", "push", "pop", "start", "end", "cuCtxSynchronize"];
const RUNNING: &[&str] = &["--ranks", "1", "--iterations", "0", "--step-us", "500"];

fn with_driver(answers: &'static str) -> Parts {
    Parts { driver: Some(answers), tool: true, ..Parts::default() }
}

fn capture(bench: &Bench, body: &str) -> Value {
    let started = bench.sidecar.start_profile(body);
    bench.sidecar.finished(started["capture_id"].as_str().unwrap())
}

#[test]
fn start_comes_before_the_first_iteration_and_stop_after_the_last() {
    let bench = Bench::new(with_driver(""), RUNNING, &[]);
    bench.sidecar.attached(1);
    let capture = capture(&bench, r#"{"profiler": "cuda", "delay_iterations": 5, "max_iterations": 3}"#);
    assert_eq!((&capture["complete"], &capture["profiler"]), (&true.into(), &"cuda".into()), "{capture:#}");
    let names: Vec<String> = bench.calls(CALLS).into_iter().map(|c| c.name).collect();
    // Started one iteration early, so waited for twice: before the profiler, and before the window.
    let expected = "cuCtxSynchronize cuProfilerStart start cuCtxSynchronize push pop push pop push pop cuCtxSynchronize \
                    end cuProfilerStop";
    assert_eq!(names.join(" "), expected);
    let report = &capture["ranks"][0]["profiler"];
    for call in ["start", "stop", "synchronize_open", "synchronize_close"] {
        assert_eq!((&report[call]["code"], &report[call]["name"]), (&0.into(), &"CUDA_SUCCESS".into()), "{report:#}");
        assert!(report[call]["duration_ns"].as_u64().unwrap() > 0, "{report:#}");
    }
    let first = capture["ranks"][0]["first_iteration"].as_u64().unwrap();
    assert_eq!(report["start_iteration"], first - 1);
    assert_eq!((&report["stopped_by"], &report["no_context"]), (&"engine".into(), &false.into()), "{report:#}");
}

#[test]
fn what_is_waited_for_and_how_early_it_starts_can_be_said() {
    let bench = Bench::new(with_driver(""), RUNNING, &[]);
    bench.sidecar.attached(1);
    for (body, expected) in [
        (r#""synchronize": "none", "lead_iterations": 0"#, "cuProfilerStart start push pop end cuProfilerStop"),
        (
            r#""synchronize": "end", "lead_iterations": 3"#,
            "cuProfilerStart start push pop cuCtxSynchronize end cuProfilerStop",
        ),
        (
            r#""synchronize": "both", "lead_iterations": 0"#,
            "cuCtxSynchronize cuProfilerStart start push pop cuCtxSynchronize end cuProfilerStop",
        ),
    ] {
        let before = bench.calls(CALLS).len();
        let capture = capture(&bench, &format!(r#"{{"profiler": "cuda", "max_iterations": 1, {body}}}"#));
        assert_eq!(capture["complete"], true, "{capture:#}");
        let names: Vec<String> = bench.calls(CALLS).split_off(before).into_iter().map(|c| c.name).collect();
        assert_eq!(names.join(" "), expected, "{body}");
    }
    for (body, field) in [(r#"{"synchronize": "maybe"}"#, "synchronize"), (r#"{"cuda_ranks": 3}"#, "cuda_ranks")] {
        let refused = bench.sidecar.post("/start_profile", body);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &Value::from(field)));
    }
}

/// Per rank exactly one Start, then one Stop, whatever ended the window.
fn assert_paired(bench: &Bench, ranks: usize) {
    let calls = eventually("every rank's profiler to be stopped", || {
        let calls = bench.calls(&["cuProfilerStart", "cuProfilerStop"]);
        (calls.iter().filter(|c| c.name == "cuProfilerStop").count() >= ranks).then_some(calls)
    });
    let mut pids: Vec<u32> = calls.iter().map(|c| c.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), ranks, "{calls:#?}");
    for pid in pids {
        let of_rank: Vec<&str> = calls.iter().filter(|c| c.pid == pid).map(|c| c.name.as_str()).collect();
        assert_eq!(of_rank, ["cuProfilerStart", "cuProfilerStop"], "{calls:#?}");
    }
}

#[test]
fn a_stop_a_cap_and_the_death_of_the_sidecar_stop_every_ranks_profiler_once() {
    let engine = &["--ranks", "2", "--iterations", "0", "--step-us", "500"];
    for how in ["stop", "cap", "kill"] {
        let bench = Bench::new(with_driver(""), engine, &["--lease-ms", "1500"]);
        bench.sidecar.attached(2);
        let cap = if how == "cap" { r#", "max_duration_ms": 100"# } else { "" };
        let started = bench.sidecar.start_profile(&format!(r#"{{"profiler": "cuda"{cap}}}"#));
        let id = started["capture_id"].as_str().unwrap();
        eventually("the profiler to be on", || (bench.calls(&["cuProfilerStart"]).len() == 2).then_some(()));
        match how {
            "stop" => {
                bench.sidecar.in_state(id, "recording");
                bench.sidecar.stop_profile();
            }
            "kill" => bench.sidecar.signal("KILL"),
            _ => {}
        }
        assert_paired(&bench, 2);
    }
}

#[test]
fn an_idle_engines_profiler_is_stopped_by_the_helper_in_the_engines_context() {
    let mut bench = Bench::new(with_driver(""), &["--ranks", "1", "--paced"], &[]);
    bench.sidecar.attached(1);
    let started = bench.sidecar.start_profile(r#"{"profiler": "cuda"}"#);
    let id = started["capture_id"].as_str().unwrap();
    bench.engine.make(5);
    bench.sidecar.in_state(id, "recording");
    bench.sidecar.begun(5);
    bench.sidecar.stop_profile();
    let capture = bench.sidecar.finished(id);
    assert_eq!(capture["ranks"][0]["profiler"]["stopped_by"], "helper", "{capture:#}");
    assert_paired(&bench, 1);
    let calls = bench.calls(&["cuProfilerStart", "cuCtxSetCurrent", "cuProfilerStop", "cuCtxSynchronize"]);
    let (start, stop) = (&calls.iter().find(|c| c.name == "cuProfilerStart").unwrap(), calls.last().unwrap());
    assert_ne!(start.tid, stop.tid);
    assert!(calls.iter().any(|c| c.name == "cuCtxSetCurrent" && c.tid == stop.tid), "{calls:#?}");
    assert!(!calls.iter().any(|c| c.name == "cuCtxSynchronize" && c.tid == stop.tid), "the helper never waits");
    let modes = bench.calls(&["cuThreadExchangeStreamCaptureMode"]);
    assert!(!modes.is_empty() && modes.iter().all(|c| c.tid == stop.tid && c.detail == "2"), "{modes:#?}");
}

#[test]
fn one_leader_makes_the_calls_of_a_session_unless_all_are_asked_for() {
    let parts = Parts { session: "one", ..with_driver("") };
    let bench = Bench::new(parts, &["--ranks", "3", "--iterations", "0", "--step-us", "1000"], &[]);
    bench.sidecar.attached(3);
    capture(&bench, r#"{"profiler": "cuda", "max_iterations": 4}"#);
    assert_paired(&bench, 1);
    let before = bench.calls(&["cuProfilerStart", "cuProfilerStop"]).len();
    let all = capture(&bench, r#"{"profiler": "cuda", "max_iterations": 4, "cuda_ranks": "all"}"#);
    assert_eq!(all["complete"], true, "{all:#}");
    assert_eq!(bench.calls(&["cuProfilerStart", "cuProfilerStop"]).len() - before, 6);
}

#[test]
fn every_failure_of_a_call_reaches_the_manifest() {
    for (answers, call, name) in [
        ("cuProfilerStart=5", "start", "CUDA_ERROR_PROFILER_DISABLED"),
        ("cuProfilerStop=999", "stop", "CUDA_ERROR_UNKNOWN"),
        ("cuCtxSynchronize=700", "synchronize_close", "CUDA_ERROR_ILLEGAL_ADDRESS"),
    ] {
        let bench = Bench::new(with_driver(answers), RUNNING, &[]);
        bench.sidecar.attached(1);
        let capture = capture(&bench, r#"{"profiler": "cuda", "max_iterations": 3}"#);
        assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
        assert_eq!(capture["ranks"][0]["profiler"][call]["name"], name, "{capture:#}");
        let missing = capture["missing"].to_string();
        assert!(missing.contains(name), "{missing}");
        assert_eq!(capture["ranks"][0]["iterations"], 3, "the engine went on, and so did the recording");
    }
}

#[test]
fn a_driver_that_cannot_work_is_refused_before_anything_happens_with_its_reason() {
    for (driver, reason) in
        [(Some("cuInit=100"), "cuInit answered 100 (CUDA_ERROR_NO_DEVICE)"), (None, "lacks the profiler's symbols")]
    {
        let place = Place::new();
        let log = place.path().join("calls");
        let flags: &[&str] = if driver.is_some() { &[] } else { &["-DWITHOUT_PROFILER"] };
        let library = library("cuda", "libcuda.so.1", flags);
        let environment = [
            ("STEPSCOPE_TEST_CALLS", log.display().to_string()),
            ("LD_LIBRARY_PATH", library.parent().unwrap().display().to_string()),
            ("STEPSCOPE_TEST_CUDA", driver.unwrap_or_default().to_owned()),
        ];
        let bench = Bench::with_environment(place, log, &environment, RUNNING, &[]);
        bench.sidecar.attached(1);
        // A driver that is still being loaded is not known to fail: such a start may be let through, the next one not.
        let refused = eventually("a refusal", || {
            let reply = bench.sidecar.post("/start_profile", r#"{"profiler": "cuda", "max_iterations": 1}"#);
            if reply.status == 200 {
                bench.sidecar.finished(reply.json()["capture_id"].as_str().unwrap());
            }
            (reply.status == 422).then_some(reply)
        });
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason) && message.contains("rank 0"), "{message}");
        let steps = capture(&bench, r#"{"profiler": "steps", "max_iterations": 3}"#);
        assert_eq!(steps["complete"], true, "the engine is unharmed");
        assert!(bench.calls(&["cuProfilerStart"]).is_empty());
    }
}

#[test]
fn without_a_tool_in_sight_a_start_is_warned_of_and_its_completeness_is_not_known() {
    let parts = Parts { driver: Some(""), ..Parts::default() };
    let bench = Bench::new(parts, RUNNING, &[]);
    bench.sidecar.attached(1);
    let started = bench.sidecar.start_profile(r#"{"profiler": "cuda", "max_iterations": 3}"#);
    assert!(started["warnings"].to_string().contains("no profiling tool"), "{started:#}");
    let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
    assert_eq!(capture["complete"], "unknown", "{capture:#}");
    // SGLang's GPU is the best that works: with nothing to listen, that is steps.
    let best = bench.sidecar.start_profile(r#"{"activities": ["CPU", "GPU"], "num_steps": 2}"#);
    let best = bench.sidecar.finished(best["capture_id"].as_str().unwrap());
    assert_eq!((&best["profiler"], &best["complete"]), (&"steps".into(), &true.into()), "{best:#}");
    assert!(best["warnings"].to_string().contains("activity GPU"), "{best:#}");
}
