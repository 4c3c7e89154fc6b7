//! Requests that pass through the sidecar, in its traces and reports.

use std::io::Write;
use std::sync::{Mutex, mpsc};

use serde_json::Value;

use super::support::{Engine, Front, hang_up, read_until};
use crate::support::{self, number};

/// Slices of the process that is called so, with their track's name.
fn slices(trace: &Value, process: &str) -> Vec<(String, Value)> {
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |event: &&Value, kind: &str| event["ph"] == "M" && event["name"] == kind;
    let pid = events
        .iter()
        .filter(|event| named(event, "process_name"))
        .find(|event| event["args"]["name"].as_str().unwrap().starts_with(process))
        .map(|event| event["pid"].clone());
    let Some(pid) = pid else { return Vec::new() };
    let track = |tid: &Value| {
        let names = events.iter().filter(|event| named(event, "thread_name") && event["pid"] == pid);
        let mut names = names.filter(|event| event["tid"] == *tid);
        names.next().map_or(String::new(), |event| event["args"]["name"].as_str().unwrap().to_owned())
    };
    let own = events.iter().filter(|event| event["ph"] == "X" && event["pid"] == pid);
    own.map(|event| (track(&event["tid"]), event.clone())).collect()
}

/// Requests by path.
fn request<'a>(slices: &'a [(String, Value)], path: &str) -> &'a Value {
    let found = slices.iter().find(|(_, slice)| slice["name"] == "request" && slice["args"]["path"] == path);
    &found.unwrap_or_else(|| panic!("{path} in {slices:#?}")).1
}

#[test]
fn each_request_of_a_window_is_a_slice_with_its_stages_and_the_report_has_their_table() {
    let (next, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let engine = Engine::start(move |connection| {
        while let Some(head) = connection.head() {
            if head.contains("/stream") || head.contains("/left") || head.contains("/open") {
                connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n");
                if !head.contains("/stream") {
                    connection.closed();
                    return;
                }
                wait.lock().unwrap().recv().unwrap();
                connection.write("5\r\ntoken\r\n0\r\n\r\n");
            } else if head.contains("/broken") {
                return;
            } else {
                connection.answer("whole");
            }
        }
    });
    let front = Front::of(engine.address);
    let mut steps = support::Engine::start(&front.place.segments(), &["--paced", "--ranks", "1", "--iterations", "0"]);
    front.sidecar.attached(1);
    // Before the window: no capture has it.
    front.get("/before");
    let send = |path: &str| {
        let mut stream = front.connect();
        let id = path.split('?').next().unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine-{id}\r\n\r\n").unwrap();
        stream
    };
    let mut early = send("/stream-early?secret=1");
    read_until(&mut early, "token\r\n");
    let started = front.sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    steps.make(10);
    front.sidecar.in_state(id, "recording");
    next.send(()).unwrap();
    read_until(&mut early, "0\r\n\r\n");
    assert!(front.get("/plain?secret=2").contains("whole"));
    assert!(front.get("/broken").starts_with("HTTP/1.1 502 "));
    assert!(front.exchange("GET /refused HTTP/1.1\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let mut left = send("/left");
    read_until(&mut left, "token\r\n");
    hang_up(left);
    front.counts("stepscope_proxy_client_aborts_total", 1);
    let mut open = send("/open");
    read_until(&mut open, "token\r\n");
    steps.make(10);
    front.sidecar.stop_profile();
    let capture = front.sidecar.finished(id);
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(capture["sources"][0]["label"], "proxy", "{capture:#}");

    let trace = front.sidecar.get(&format!("/stepscope/v1/captures/{id}/trace?format=json")).ok();
    let all = slices(&trace, "proxy (stepscope ");
    let outcome = |path: &str| request(&all, path)["args"]["outcome"].clone();
    assert_eq!(outcome("/stream-early"), "finished");
    assert_eq!(outcome("/plain"), "finished");
    assert_eq!(outcome("/broken"), "engine failed");
    assert_eq!(outcome("/refused"), "refused");
    assert_eq!(outcome("/left"), "client left");
    assert_eq!(outcome("/open"), "open");
    assert!(!trace.to_string().contains("/before") && !trace.to_string().contains("secret"), "no query is kept");
    let early = &request(&all, "/stream-early")["args"];
    assert_eq!(early["x_request_id"], "mine-/stream-early");
    assert_eq!((number(&early["status"]), number(&early["chunks"]), number(&early["bytes"])), (200, 2, 10));
    let parts: u64 =
        ["connect", "engine", "first chunk", "stream", "close"].into_iter().map(|stage| number(&early[stage])).sum();
    assert_eq!(parts, number(&early["total_ns"]));
    // Stages lie inside their request, on its track; requests under way at once have tracks of their own.
    let mut inside = 0;
    for (track, stage) in all.iter().filter(|(_, slice)| slice["name"] != "request") {
        assert!(track.starts_with("in flight "), "{track}");
        let (begin, end) = bounds(stage);
        inside += all
            .iter()
            .filter(|(other, slice)| other == track && slice["name"] == "request")
            .filter(|(_, slice)| bounds(slice).0 <= begin && end <= bounds(slice).1)
            .count()
            .min(1);
    }
    assert_eq!(inside, all.iter().filter(|(_, slice)| slice["name"] != "request").count());
    assert!(inside > 5, "{all:#?}");

    let report = front.sidecar.get(&format!("/stepscope/v1/captures/{id}/report")).ok();
    let proxied = &report["proxied"];
    let counts = ["seen", "complete", "client_left", "engine_failed", "refused", "open"];
    assert_eq!(counts.map(|name| number(&proxied[name])), [6, 2, 1, 1, 1, 1], "{proxied:#}");
    let names: Vec<_> = proxied["stages"].as_array().unwrap().iter().map(|row| row["stage"].clone()).collect();
    assert_eq!(names, ["connect", "engine", "first chunk", "stream", "close"]);
    let page = front.sidecar.get(&format!("/stepscope/v1/captures/{id}/report?format=html")).body;
    assert!(page.contains("In front of the engine"));
    drop(open);
}

/// Begin and end in nanoseconds.
fn bounds(slice: &Value) -> (u64, u64) {
    let ns = |value: &Value| (value.as_f64().unwrap() * 1000.0).round() as u64;
    (ns(&slice["ts"]), ns(&slice["ts"]) + ns(&slice["dur"]))
}

#[test]
fn a_capture_that_wants_no_events_has_nothing_of_the_proxy_and_neither_has_one_without_requests() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let mut steps = support::Engine::start(&front.place.segments(), &["--paced", "--ranks", "1", "--iterations", "0"]);
    front.sidecar.attached(1);
    for (body, requests) in [(r#"{"level":"off"}"#, 3), ("", 0)] {
        let started = front.sidecar.start_profile(body);
        let id = started["capture_id"].as_str().unwrap();
        steps.make(5);
        front.sidecar.in_state(id, "recording");
        (0..requests).for_each(|_| drop(front.get("/x")));
        steps.make(5);
        front.sidecar.stop_profile();
        let capture = front.sidecar.finished(id);
        assert_eq!((capture["complete"].clone(), capture["sources"].clone()), (true.into(), serde_json::json!([])));
        let report = front.sidecar.get(&format!("/stepscope/v1/captures/{id}/report")).ok();
        assert_eq!(report["proxied"]["recorded"], false);
    }
}
