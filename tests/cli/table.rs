//! The tables, from fixed input.

use stepscope::cli::table;
use stepscope::client::types::{Capture, Status};

fn capture(state: &str, complete: &str) -> Capture {
    serde_json::from_str(&super::capture(state, complete)).unwrap()
}

#[test]
fn a_capture_that_waits_shows_the_agreed_window() {
    insta::assert_snapshot!(table::capture(&capture("delaying", "\"unknown\"")));
}

#[test]
fn a_capture_that_is_done_shows_each_rank() {
    insta::assert_snapshot!(table::capture(&capture("done", "true")));
}

#[test]
fn an_incomplete_and_a_failed_one_say_why() {
    let both = table::capture(&capture("done", "false")) + "\n" + &table::capture(&capture("failed", "false"));
    insta::assert_snapshot!(both);
}

#[test]
fn what_others_told_and_what_was_left_out_is_said() {
    let mut document: serde_json::Value = serde_json::from_str(&super::capture("done", "true")).unwrap();
    document["sources"] = serde_json::json!([
        {"label": "engine core dp0", "pid": 4711, "records": 2894, "dropped": 0},
        {"label": "", "pid": 12, "records": 7, "dropped": 12_345},
    ]);
    document["sampling"] =
        serde_json::json!([{"at_ns": 1, "one_in": 1}, {"at_ns": 2, "one_in": 4}, {"at_ns": 3, "one_in": 2}]);
    let capture: Capture = serde_json::from_value(document).unwrap();
    insta::assert_snapshot!(table::capture(&capture));
}

#[test]
fn what_the_engines_own_profiler_did_is_said_with_its_files() {
    let mut document: serde_json::Value = serde_json::from_str(&super::capture("done", "false")).unwrap();
    document["native"] = serde_json::json!({"state": "over", "kind": "vllm", "exact": false,
        "difference": "rank 0 of group 0 of job j: the engine's own profiler has 2 iterations behind the window too"});
    document["artifacts"] = serde_json::json!([
        {"name": "t.trace.json.gz", "kind": "trace", "bytes": 1, "events": 1},
        {"name": "x_rank0.pt.trace.json.gz", "kind": "engine_trace", "bytes": 2_000_000, "events": 9, "rank": 0},
        {"name": "x_host.async_llm.pt.trace.json.gz", "kind": "engine_trace", "bytes": 70_000, "events": 9, "rank": null},
    ]);
    let over: Capture = serde_json::from_value(document.clone()).unwrap();
    document["state"] = "draining".into();
    document["artifacts"] = serde_json::json!([]);
    document["native"] =
        serde_json::json!({"state": "stopping", "kind": "vllm", "stopping_ms": 61_500, "bytes": 3_000_000});
    let stopping: Capture = serde_json::from_value(document).unwrap();
    let list = table::captures(&[over.clone(), stopping.clone(), capture("done", "true")]);
    insta::assert_snapshot!([table::capture(&over), table::capture(&stopping), list].join("\n"));
}

#[test]
fn two_jobs_get_a_column_of_their_own() {
    let mut capture = capture("done", "true");
    capture.ranks[0].job = "other".into();
    insta::assert_snapshot!(table::capture(&capture));
}

#[test]
fn the_list_shows_one_line_each() {
    let list = [capture("done", "true"), capture("failed", "false"), capture("armed", "\"unknown\"")];
    insta::assert_snapshot!(table::captures(&list));
    assert!(table::captures(&[]).contains("stepscope start"));
}

#[test]
fn status_shows_ranks_refusals_and_what_runs() {
    let running: serde_json::Value = serde_json::from_str(&super::capture("delaying", "\"unknown\"")).unwrap();
    let rank = |rank: u32, role: &str| {
        serde_json::json!({
            "job": "vllm-7f3a", "group": "0", "rank": rank, "world_size": 2, "role": role, "label": format!("tp{rank}"),
            "engine": "vllm 0.32.0", "agent": "0.1.0", "pid": 4242 + rank, "begun": 123_456, "ended": 123_455,
            "iterations_per_second": 87.25, "gate": "armed", "dropped_total": 3 * rank, "segment": "/dev/shm/s/a.seg",
        })
    };
    let status = serde_json::json!({
        "stepscope_version": "0.1.0", "dir": "/dev/shm/stepscope-1000", "store_bytes": 3 << 20,
        "ranks": [rank(1, "rank"), rank(0, "rank"), rank(2, "source")],
        "refused": [{"segment": "/dev/shm/stepscope-1000/9-1.seg", "reason": "attached elsewhere: another sidecar drains this segment"}],
        "running": running,
    });
    let status: Status = serde_json::from_value(status).unwrap();
    insta::assert_snapshot!(table::status(&status, "http://127.0.0.1:8001"));
    let empty: Status = serde_json::from_str(r#"{"dir":"/d","ranks":null}"#).unwrap();
    insta::assert_snapshot!("status_of_an_idle_sidecar", table::status(&empty, "http://127.0.0.1:8001"));
}
