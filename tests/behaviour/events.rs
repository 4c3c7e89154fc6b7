//! What an engine tells of itself: from every process of it, in the window and around it, and less of it under load.

use serde_json::Value;

use crate::hazards::support::example_rank;
use crate::support::{Engine, Place, Sidecar, number};

const TELLING: &[&str] = &["--requests", "--ranks", "2", "--iterations", "0", "--step-us", "500"];

fn events(sidecar: &Sidecar, query: &str) -> Vec<Value> {
    let trace = sidecar.get(&format!("/stepscope/v1/captures/latest/trace?format=json{query}")).ok();
    trace["traceEvents"].as_array().unwrap().clone()
}

fn captured(sidecar: &Sidecar, body: &str) -> Value {
    let started = sidecar.start_profile(body);
    sidecar.finished(started["capture_id"].as_str().unwrap())
}

#[test]
fn requests_of_the_window_are_whole_and_what_served_them_is_what_the_batches_say() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), TELLING);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(3);
    sidecar.begun(200);
    let capture = captured(&sidecar, r#"{"delay_iterations": 7, "max_iterations": 300}"#);
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert!(number(&capture["request_moments"]) > 0, "{capture:#}");
    let sources = capture["sources"].as_array().unwrap();
    assert_eq!((sources.len(), &sources[0]["label"]), (1, &"scheduler".into()));
    let events = events(&sidecar, "");
    let of = |category: &'static str, name: &'static str| {
        events.iter().filter(move |e| e["ph"] == "X" && e["cat"] == category && (name.is_empty() || e["name"] == name))
    };
    // One of each iteration's scheduling, but for the first one, which may begin before the window.
    assert!((299..=301).contains(&of("scheduler", "schedule").count()));
    // Requests in flight when it began are whole too: their past was told.
    let finished: Vec<&Value> = of("request", "request").filter(|e| e["args"]["outcome"] == "finished").collect();
    assert!(finished.len() > 20, "{}", finished.len());
    for request in &finished {
        let stages: Vec<&Value> =
            of("request", "").filter(|e| e["tid"] == request["tid"] && e["name"] != "request").collect();
        assert_eq!(stages.len(), 5, "{stages:#?}");
        let sum: f64 = stages.iter().map(|stage| stage["dur"].as_f64().unwrap()).sum();
        assert!((sum - request["dur"].as_f64().unwrap()).abs() < 0.01, "{stages:#?}");
    }
    // Arrows: as many through an iteration as requests were computed in it.
    let first_rank = events.iter().find(|e| e["cat"] == "iteration").unwrap()["pid"].clone();
    let steps = events.iter().filter(|e| e["ph"] == "t").count() as u64;
    let computed: u64 = of("iteration", "")
        .filter(|e| e["pid"] == first_rank)
        .map(|e| number(&e["args"]["context_requests"]) + number(&e["args"]["generation_requests"]))
        .sum();
    assert_eq!(steps, computed);
    let waiting = events.iter().filter(|e| e["ph"] == "C" && e["name"] == "requests waiting").count();
    assert!(waiting > 250, "{waiting}");
}

#[test]
fn a_capture_of_level_off_asks_nobody_and_the_next_one_has_nothing_of_it() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), TELLING);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(3);
    let off = captured(&sidecar, r#"{"max_iterations": 50, "level": "off"}"#);
    assert_eq!((&off["complete"], number(&off["request_moments"])), (&true.into(), 0), "{off:#}");
    assert_eq!((&off["sources"], &off["sampling"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    let on = captured(&sidecar, r#"{"max_iterations": 50, "level": "basic"}"#);
    assert!(number(&on["request_moments"]) > 0, "{on:#}");
    let wrong = sidecar.post("/start_profile", r#"{"level": "loud"}"#);
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &"level".into()));
}

#[test]
fn dropped_records_shed_requests_whole_and_it_is_said() {
    let place = Place::new();
    let small = [("STEPSCOPE_SEGMENT_BYTES", "131072")];
    let _engine = Engine::start_with(&place.segments(), TELLING, &small);
    let sidecar = Sidecar::start(&place, &["--lease-ms", "60000"]);
    sidecar.attached(3);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "recording");
    // Nobody fetches anything for a while, and the rings are small.
    let ranks = sidecar.get("/stepscope/v1/status").ok();
    let before = ranks["ranks"].as_array().unwrap().iter().map(|rank| number(&rank["ended"])).max().unwrap();
    sidecar.signal("STOP");
    crate::support::eventually("a thousand iterations unseen", || {
        let segment = std::fs::read_dir(place.segments()).unwrap().map(|e| std::fs::read(e.unwrap().path()).unwrap());
        let at = stepscope::wire::layout::STATUS_OFFSET as usize + 64;
        let ended = segment.map(|bytes| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())).max().unwrap();
        (ended > before + 1000).then_some(())
    });
    sidecar.signal("CONT");
    let shed = crate::support::eventually("fewer requests", || {
        let capture = sidecar.capture(id);
        (capture["sampling"].as_array().unwrap().len() > 1).then_some(capture)
    });
    assert_eq!(shed["sampling"][0]["one_in"], 1, "{shed:#}");
    assert_eq!(shed["sampling"][1]["one_in"], 2, "{shed:#}");
    sidecar.stop_profile();
    let capture = sidecar.finished(id);
    assert_eq!(capture["complete"], false, "{capture:#}");
    assert!(capture["missing"].to_string().contains("were dropped"), "{capture:#}");
    let rates: Vec<u64> = events(&sidecar, "")
        .iter()
        .filter(|e| e["ph"] == "C" && e["name"] == "requests recorded: one in")
        .map(|e| number(&e["args"]["requests"]))
        .collect();
    assert_eq!(rates[..2], [1, 2]);
}

#[test]
fn one_rank_has_no_processes_that_are_none() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), TELLING);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(3);
    captured(&sidecar, r#"{"max_iterations": 20}"#);
    let trace = sidecar.get("/stepscope/v1/captures/latest/trace?format=json&rank=1").ok();
    assert_eq!(trace["rank"], 1);
    let names = events(&sidecar, "&rank=1");
    let names: Vec<&str> =
        names.iter().filter(|e| e["name"] == "process_name").map(|e| e["args"]["name"].as_str().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("rank 1") || *name == "stepscope"), "{names:?}");
}

#[test]
fn a_sidecar_that_dies_leaves_no_recorder_on() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), TELLING);
    let sidecar = Sidecar::start(&place, &["--lease-ms", "1000"]);
    sidecar.attached(3);
    let started = sidecar.start_profile("");
    sidecar.in_state(started["capture_id"].as_str().unwrap(), "recording");
    sidecar.kill();
    let heads = || -> Vec<u64> {
        let segments = std::fs::read_dir(place.segments()).unwrap();
        let mut heads: Vec<(std::path::PathBuf, u64)> = segments
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let bytes = std::fs::read(&path).unwrap();
                let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
                let rings = stepscope::wire::layout::RINGS_OFFSET as usize;
                // Head and drops of every ring: neither grows where nothing is recorded.
                (path, (0..8).map(|ring| word(rings + ring * 192) + word(rings + ring * 192 + 8)).sum())
            })
            .collect();
        heads.sort();
        heads.into_iter().map(|(_, head)| head).collect()
    };
    let begun = || {
        let bytes = std::fs::read_dir(place.segments()).unwrap().map(|e| std::fs::read(e.unwrap().path()).unwrap());
        let at = stepscope::wire::layout::STATUS_OFFSET as usize;
        bytes.map(|bytes| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())).max().unwrap()
    };
    crate::support::eventually("the rings to stand still while the engine steps", || {
        let (before, at) = (heads(), begun());
        crate::support::eventually("a hundred iterations", || (begun() > at + 100).then_some(()));
        (heads() == before).then_some(())
    });
}

#[test]
fn what_others_told_outlives_the_sidecar_that_dies_and_they_are_no_ranks() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), TELLING);
    let sidecar = Sidecar::start(&place, &["--lease-ms", "1000"]);
    sidecar.attached(3);
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    sidecar.begun(300);
    sidecar.kill();
    let next = Sidecar::start(&place, &[]);
    let capture = next.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    // In the order of their files, which is no order of ranks.
    let mut ranks: Vec<u64> = capture["ranks"].as_array().unwrap().iter().map(|rank| number(&rank["rank"])).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, [0, 1], "{capture:#}");
    assert!(number(&capture["sources"][0]["records"]) > 0, "{capture:#}");
    assert!(number(&capture["request_moments"]) > 0, "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        let rows = next.ledger(&id).into_iter().filter(|row| row["rank"] == rank["rank"]).count() as u64;
        assert_eq!(rows, number(&rank["iterations"]), "{capture:#}");
    }
    assert!(events(&next, "").iter().any(|event| event["cat"] == "request"));
}

#[test]
fn the_example_in_c_tells_of_each_request_as_it_was() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = example_rank(&place.segments(), "example", 0, 1);
    sidecar.attached(1);
    sidecar.begun(50);
    let capture = captured(&sidecar, r#"{"max_iterations": 100}"#);
    assert_eq!(capture["complete"], true, "{capture:#}");
    let events = events(&sidecar, "");
    let count = |what: &dyn Fn(&Value) -> bool| events.iter().filter(|event| what(event)).count();
    // The first span may begin before the window, and the last one end behind it.
    assert!((99..=101).contains(&count(&|e| e["ph"] == "X" && e["name"] == "work")), "a span an iteration");
    assert!((99..=101).contains(&count(&|e| e["ph"] == "C" && e["name"] == "tokens left")), "a counter");
    // One request ends every ten iterations; the one that runs on when the window closes is not told of.
    let whole = |e: &Value| e["cat"] == "request" && e["name"] == "request" && e["args"]["outcome"] == "finished";
    assert!((9..=12).contains(&count(&|e| whole(e))), "{}", count(&|e| whole(e)));
    let report = sidecar.get("/stepscope/v1/captures/latest/report?format=json").ok();
    let requests = &report["requests"];
    assert_eq!((&requests["incomplete"], &requests["disordered"]), (&0.into(), &0.into()), "{requests:#}");
    let decode = requests["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "decode").unwrap();
    assert!(number(&decode["time_ns"]["min"]) > 0, "{requests:#}");
}
