//! Nothing of one input is taken for something of another: processes, flows, asynchronous slices.

use serde_json::{Value, json};

use super::support::{Files, events, names, pid};

fn base(events: Value) -> String {
    json!({"traceEvents": events, "baseTimeNanoseconds": 1_800_000_000_000_000_000u64}).to_string()
}

fn named(pid: Value, name: &str) -> Value {
    json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}})
}

#[test]
fn processes_with_the_same_number_stay_apart_and_are_named_by_their_input() {
    let trace = |gpu: &str| {
        base(json!([
            named(json!(1), "engine"), {"ph": "X", "pid": 1, "tid": 1, "ts": 1, "dur": 1, "name": gpu},
            named(json!(0), gpu), {"ph": "X", "pid": 0, "tid": 7, "ts": 2, "dur": 1, "name": "kernel"},
            {"ph": "M", "name": "process_sort_index", "pid": 1, "args": {"sort_index": 9}},
            {"ph": "X", "pid": "Spans", "tid": 0, "ts": 3, "dur": 1, "name": "span"},
            {"ph": "i", "ts": 4, "name": "nobody's"},
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "main"}},
        ]))
    };
    let mut files = Files::new();
    files.input("left.json", trace("GPU A")).input("right.json", trace("GPU B"));
    let (report, trace) = files.merged();
    // Input by input, and in it as it was: what has no place stands at 0, the engine at 9.
    assert_eq!(
        names(&trace),
        [
            "GPU A (pid 0)",
            "left: Spans",
            "left: no pid",
            "left: engine (pid 1)",
            "GPU B (pid 0)",
            "right: Spans",
            "right: no pid",
            "right: engine (pid 1)",
        ]
    );
    let numbers: Vec<u32> = report.inputs.iter().flat_map(|input| input.processes.iter().map(|p| p.pid)).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    for (engine, gpu) in [("left: engine (pid 1)", "GPU A"), ("right: engine (pid 1)", "GPU B")] {
        let of = |event: &&&Value| event["pid"] == pid(&trace, engine);
        let found: Vec<_> = events(&trace).iter().filter(of).map(|event| event["name"].clone()).collect();
        assert_eq!(found, [json!(gpu)]);
        let threads = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["name"] == "thread_name");
        assert_eq!(threads.filter(|event| of(&event)).count(), 1);
    }
    // The same again: the numbers are the same.
    assert_eq!(files.merged().1["traceEvents"], trace["traceEvents"]);
}

#[test]
fn flows_and_asynchronous_slices_never_meet_those_of_another_input_and_arguments_stay() {
    let trace = || {
        base(json!([
            {"ph": "s", "id": 7, "pid": 1, "tid": 1, "ts": 1, "cat": "ac2g", "name": "ac2g", "args": {"correlation": 7}},
            {"ph": "f", "bp": "e", "id": "0x7", "pid": 0, "tid": 7, "ts": 2, "cat": "ac2g", "name": "ac2g"},
            {"ph": "b", "id": "req-1", "pid": 1, "tid": 1, "ts": 1, "cat": "request", "name": "r"},
            {"ph": "e", "id": "req-1", "pid": 1, "tid": 1, "ts": 3, "cat": "request", "name": "r"},
            {"ph": "b", "id2": {"global": "0xffffffffffffffff"}, "pid": 1, "tid": 1, "ts": 1, "cat": "g", "name": "r"},
            {"ph": "n", "id2": {"local": "0x1"}, "pid": 1, "tid": 1, "ts": 1, "cat": "l", "name": "r"},
            {"ph": "X", "bind_id": "0x7", "flow_out": true, "pid": 1, "tid": 1, "ts": 1, "dur": 1, "name": "x"},
            {"ph": "C", "id": 7, "pid": 1, "ts": 1, "name": "counter", "args": {"correlation": 7, "id": 7}},
        ]))
    };
    let mut files = Files::new();
    // Not the same file: one more event.
    let second = trace().replacen('[', "[{\"ph\":\"i\",\"ts\":0,\"pid\":1,\"name\":\"more\"},", 1);
    files.input("a.json", trace()).input("b.json", second);
    let (_, merged) = files.merged();
    let ids = |of: std::ops::RangeInclusive<u64>, key: &str| -> Vec<Value> {
        let all = events(&merged);
        let of_input = all.iter().filter(|event| of.contains(&event["pid"].as_u64().unwrap()) && event["ph"] != "C");
        of_input.filter_map(|event| event.get(key).cloned()).collect()
    };
    // Two processes each.
    assert_eq!(ids(1..=2, "id"), [json!(14), json!(14), json!("0/req-1"), json!("0/req-1")]);
    assert_eq!(ids(3..=4, "id"), [json!(15), json!(15), json!("1/req-1"), json!("1/req-1")]);
    assert_eq!((ids(1..=2, "bind_id"), ids(3..=4, "bind_id")), (vec![json!(14)], vec![json!(15)]));
    let (left, right) = (ids(1..=2, "id2"), ids(3..=4, "id2"));
    assert_ne!(left[0]["global"], right[0]["global"]);
    assert!(left[0]["global"].as_str().unwrap().starts_with("0x"), "{left:?}");
    assert_eq!(left[1], json!({"local": "0x1"}));
    for counter in events(&merged).iter().filter(|event| event["ph"] == "C") {
        assert_eq!((&counter["id"], &counter["args"]), (&json!(7), &json!({"correlation": 7, "id": 7})));
    }
    let flows = events(&merged).into_iter().filter(|event| event["ph"] == "s").cloned().collect::<Vec<_>>();
    assert!(flows.iter().all(|flow| flow["args"] == json!({"correlation": 7})));
}

#[test]
fn one_input_alone_keeps_its_ids() {
    let mut files = Files::new();
    files.input(
        "a.json",
        base(json!([{"ph": "s", "id": "0xF", "pid": 1, "ts": 1}, {"ph": "f", "id": 3, "pid": 1, "ts": 1}])),
    );
    let ids: Vec<Value> = events(&files.merged().1).iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, [json!("0xF"), json!(3)]);
}
