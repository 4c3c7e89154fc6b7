//! The engine's own profiler behind our contract: whatever the engine does, the caller is answered at once and told what came
//! of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::engine_http::{EngineHttp, Stop, trace};
use crate::support::{Engine, Place, Sidecar, eventually, number, stepscope};

fn engine(place: &Place) -> Engine {
    Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "1000"])
}

fn native(place: &Place, stop: Stop) -> EngineHttp {
    EngineHttp::start(&place.path().join("profiles"), true, stop)
}

fn sidecar(place: &Place, http: &EngineHttp, more: &[&str]) -> Sidecar {
    let flags = http.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let sidecar = Sidecar::start(place, &flags);
    sidecar.attached(2);
    sidecar.begun(20);
    sidecar
}

fn id(started: &Value) -> String {
    started["capture_id"].as_str().unwrap().to_owned()
}

fn missing(capture: &Value) -> String {
    capture["missing"].to_string()
}

/// The capture once its part about the engine's profiler says this.
fn native_is(sidecar: &Sidecar, id: &str, state: &str) -> Value {
    eventually(&format!("the engine's profiler to be {state}"), || {
        let capture = sidecar.capture(id);
        (capture["native"]["state"] == state).then_some(capture)
    })
}

/// The capture of a sidecar that was killed with its window open and the engine's profiler on.
fn killed_while_on(place: &Place, http: &EngineHttp) -> String {
    let sidecar = sidecar(place, http, &["--lease-ms", "1000"]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine"}"#));
    sidecar.in_state(&id, "recording");
    native_is(&sidecar, &id, "on");
    sidecar.kill();
    id
}

#[test]
fn the_engine_is_told_our_window_in_its_numbers_and_its_files_are_the_captures() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    std::fs::write(place.path().join("profiles/old.json"), "{}").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", place.path().join("profiles/link.json")).unwrap();
    http.writes(&[("_rank1.2.pt.trace.json", trace(&[])), ("_rank1.profiler_out.txt", b"a table".to_vec())]);
    let sidecar = sidecar(&place, &http, &[]);
    let started = sidecar.start_profile(
        r#"{"profiler": "engine", "delay_iterations": 3, "max_iterations": 5, "profile_prefix": "mine"}"#,
    );
    let id = id(&started);
    let capture = sidecar.finished(&id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    for rank in capture["ranks"].as_array().unwrap() {
        assert_eq!(rank["iterations"], 5, "{capture:#}");
    }
    let native = &capture["native"];
    assert_eq!((&native["kind"], &native["version"]), (&"vllm".into(), &"0.32.0".into()));
    assert_eq!(native["sent"]["max_iterations"], 5);
    assert_eq!(native["sent"]["profile_prefix"], format!("mine-{id}"));
    assert!((1..1000).contains(&number(&native["sent"]["delay_iterations"])), "{native:#}");
    assert_eq!(http.posts().len(), 2, "{:?}", http.posts());
    // Nothing in these files names an iteration.
    assert_eq!((&native["exact"], &capture["complete"]), (&"unknown".into(), &"unknown".into()), "{capture:#}");
    let files: Vec<&Value> = capture["artifacts"].as_array().unwrap().iter().filter(|a| a["kind"] != "trace").collect();
    assert_eq!(files.len(), 2, "{files:#?}");
    assert_eq!((&files[0]["kind"], &files[0]["rank"]), (&"engine_trace".into(), &1.into()));
    assert_eq!(files[1]["kind"], "engine_table");
    let path = |name: &str| format!("/stepscope/v1/captures/{id}/artifacts/{name}");
    assert_eq!(sidecar.get(&path(files[1]["name"].as_str().unwrap())).body, "a table");
    let trace = capture["artifacts"][0]["name"].as_str().unwrap();
    assert_eq!(sidecar.get(&path(trace)).status, 200, "our own trace is an artefact too");
    let unknown = sidecar.get(&path("manifest.json"));
    assert_eq!((unknown.status, unknown.json()["error"]["reason"].as_str()), (404, Some("unknown_artifact")));
    let folder = place.data().join("captures").join(&id);
    assert_eq!(std::fs::read_dir(folder.join("engine")).unwrap().count(), 2);
    assert_eq!(
        crate::support::request(sidecar.address(), "DELETE", &format!("/stepscope/v1/captures/{id}"), "").status,
        200
    );
    assert!(!folder.exists());
    assert!(
        place.path().join("profiles").join(format!("mine-{id}_rank1.profiler_out.txt")).exists(),
        "the engine's own stay"
    );
}

#[test]
fn while_the_engine_writes_a_stop_is_answered_and_other_starts_wait() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Waits));
    let sidecar = sidecar(&place, &http, &[]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine"}"#));
    sidecar.in_state(&id, "recording");
    sidecar.stop_profile();
    let capture = native_is(&sidecar, &id, "stopping");
    assert_eq!(capture["state"], "draining", "{capture:#}");
    let again = sidecar.stop_profile();
    assert_eq!((&again["state"], &again["native"]["state"]), (&"draining".into(), &"stopping".into()), "{again:#}");
    let refused = sidecar.post("/start_profile", "");
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.message().contains(&id));
    http.release();
    let capture = sidecar.finished(&id);
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["artifacts"].as_array().unwrap().len(), 2, "{capture:#}");
    sidecar.start_profile(r#"{"max_iterations": 1}"#);
}

#[test]
fn an_engine_whose_profiler_is_off_is_422_with_the_line_that_mends_it_and_nothing_is_started() {
    let place = Place::new();
    let _engine = engine(&place);
    let http = EngineHttp::start(&place.path().join("profiles"), false, Stop::Writes);
    let sidecar = sidecar(&place, &http, &[]);
    // The first question may take longer than a start waits for it.
    eventually("the engine's answer", || {
        let capabilities = sidecar.get("/stepscope/v1/capabilities").ok();
        (capabilities["profilers"]["engine"]["available"] == false).then_some(())
    });
    let refused = sidecar.post("/start_profile", r#"{"profiler": "engine"}"#);
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.message().contains("vllm serve --profiler-config"), "{}", refused.message());
    assert_eq!(http.posts(), [""; 0]);
    assert_eq!(sidecar.get("/stepscope/v1/captures").ok()["total"], 0);
}

#[test]
fn without_an_engine_or_with_one_that_is_not_there_it_is_422_too() {
    let place = Place::new();
    let _engine = engine(&place);
    let alone = Sidecar::start(&place, &[]);
    alone.attached(2);
    let refused = alone.post("/start_profile", r#"{"profiler": "engine"}"#);
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.message().contains("--engine-url"), "{}", refused.message());
    drop(alone);
    let gone = Sidecar::start(&place, &["--engine-url", "http://127.0.0.1:1"]);
    gone.attached(2);
    let refused = gone.post("/start_profile", r#"{"profiler": "engine"}"#);
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.message().contains("can't reach it"), "{}", refused.message());
}

#[test]
fn a_session_that_is_still_set_is_stopped_and_the_start_is_sent_once_more() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    http.starts_answer(&[409]);
    let sidecar = sidecar(&place, &http, &[]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine", "delay_iterations": 50, "max_iterations": 400}"#));
    let capture = sidecar.finished(&id);
    let posts: Vec<String> = http.posts().iter().map(|post| post.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(posts, ["start", "stop", "start", "stop"]);
    assert!(capture["warnings"].to_string().contains("still had a session"), "{capture:#}");
    assert_eq!(capture["native"]["start"]["status"], 200, "{capture:#}");
    assert_eq!(capture["artifacts"].as_array().unwrap().len(), 2, "{capture:#}");
}

#[test]
fn a_start_that_the_engine_refuses_is_named_and_our_window_is_there() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    http.starts_answer(&[500]);
    let sidecar = sidecar(&place, &http, &[]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine", "max_iterations": 5}"#));
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    assert!(missing(&capture).contains("start_profile: HTTP 500: the engine says no"), "{capture:#}");
    assert_eq!(capture["ranks"][0]["iterations"], 5);
    assert_eq!(http.posts().last().unwrap(), "stop", "nobody leaves a profiler on");
}

#[test]
fn an_engine_that_dies_that_writes_nothing_or_that_hangs_is_told_of() {
    for (stop, words) in [
        (Stop::Dies, "stop_profile: the connection ended before it answered"),
        (Stop::WritesNothing, "the engine wrote no file into"),
        (Stop::Hangs, "stop_profile: no answer within 1 s"),
    ] {
        let place = Place::new();
        let (_engine, http) = (engine(&place), native(&place, stop));
        let sidecar = sidecar(&place, &http, &["--engine-patience-ms", "1000"]);
        let id = id(&sidecar.start_profile(r#"{"profiler": "engine", "max_iterations": 5}"#));
        let capture = sidecar.finished(&id);
        assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{stop:?} {capture:#}");
        assert!(missing(&capture).contains(words), "{stop:?} {capture:#}");
        // The engine has let go, as far as anybody can tell: others may start.
        sidecar.start_profile(r#"{"max_iterations": 1}"#);
    }
}

#[test]
fn a_window_that_is_cancelled_far_from_its_opening_never_asks_the_engine() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    let sidecar = sidecar(&place, &http, &[]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine", "delay_iterations": 10000000}"#));
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    assert_eq!(
        (&capture["state"], &capture["native"]["state"]),
        (&"cancelled".into(), &"unused".into()),
        "{capture:#}"
    );
    assert_eq!(http.posts(), [""; 0]);
}

#[test]
fn a_window_that_passed_while_the_sidecar_stood_still_says_that_the_engine_was_not_asked() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    let sidecar = sidecar(&place, &http, &[]);
    let started = sidecar.start_profile(r#"{"profiler": "engine", "delay_iterations": 1500, "max_iterations": 5}"#);
    sidecar.signal("STOP");
    std::thread::sleep(Duration::from_secs(4));
    sidecar.signal("CONT");
    let capture = sidecar.finished(&id(&started));
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    assert_eq!(capture["ranks"][0]["iterations"], 5, "{capture:#}");
    assert_eq!(capture["native"]["state"], "unused", "{capture:#}");
    assert!(missing(&capture).contains("had passed before the sidecar came to it"), "{capture:#}");
    assert_eq!(http.posts(), [""; 0]);
}

#[test]
fn a_sidecar_that_is_killed_leaves_the_stop_and_the_files_to_the_next_one() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    let id = killed_while_on(&place, &http);
    assert_eq!(http.posts().len(), 1, "{:?}", http.posts());
    let next = sidecar(&place, &http, &[]);
    let capture = next.finished(&id);
    assert_eq!((&capture["state"], &capture["closed_by"]), (&"done".into(), &"sidecar_died".into()), "{capture:#}");
    assert_eq!(http.posts().last().unwrap(), "stop");
    assert_eq!(capture["native"]["stop"]["status"], 200, "{capture:#}");
    assert_eq!(capture["artifacts"].as_array().unwrap().len(), 2, "{capture:#}");
}

#[test]
fn what_is_larger_than_a_capture_may_be_stays_where_the_engine_put_it() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    http.writes(&[("_rank0.1.pt.trace.json", trace(&[])), ("_rank1.1.pt.trace.json.gz", vec![0; 2 << 20])]);
    let sidecar = sidecar(&place, &http, &[]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine", "max_iterations": 3, "max_bytes": 1000000}"#));
    let capture = sidecar.finished(&id);
    assert_eq!(capture["complete"], false);
    assert!(missing(&capture).contains("stays where the engine put it"), "{capture:#}");
    assert_eq!(capture["artifacts"].as_array().unwrap().len(), 2, "{capture:#}");
}

#[test]
fn iterations_that_its_trace_has_beside_the_window_are_counted() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Waits));
    let sidecar = sidecar(&place, &http, &[]);
    let id = id(&sidecar.start_profile(r#"{"profiler": "engine", "max_iterations": 4}"#));
    let capture = native_is(&sidecar, &id, "stopping");
    // What vLLM would have annotated had it begun and ended too early.
    let opened_ns = number(&capture["ranks"][0]["opened_at_ns"]);
    http.writes(&[("_rank0.1.pt.trace.json", trace(&[opened_ns - 2_000_000, opened_ns - 1_000_000]))]);
    http.release();
    let capture = sidecar.finished(&id);
    let found = &capture["native"]["found"][0];
    assert_eq!((number(&found["before"]), number(&found["lacking"])), (2, 4), "{capture:#}");
    assert_eq!((&capture["native"]["exact"], &capture["complete"]), (&false.into(), &false.into()), "{capture:#}");
    assert!(missing(&capture).contains("has 0 of the window's 4 iterations"), "{capture:#}");
    let other = 1 - number(&found["rank"]);
    let lacks = missing(&capture).contains("no file of the engine's own profiler shows its iterations");
    assert!(lacks && missing(&capture).contains(&format!("rank {other} of")), "{capture:#}");
}

#[test]
fn a_held_capture_that_a_killed_sidecar_leaves_behind_stops_nobody() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    let first = sidecar(&place, &http, &["--lease-ms", "1000"]);
    let id = id(&first.start_profile(r#"{"profiler": "engine", "hold_ms": 60000}"#));
    first.kill();
    let next = sidecar(&place, &http, &[]);
    let capture = next.finished(&id);
    let (state, native) = (&capture["state"], &capture["native"]["state"]);
    assert_eq!((state, native), (&"cancelled".into(), &"unused".into()), "{capture:#}");
    assert_eq!(http.posts(), [""; 0]);
}

#[test]
fn a_sidecar_that_takes_over_sends_the_stop_even_to_an_engine_that_does_not_say_who_it_is() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    let id = killed_while_on(&place, &http);
    http.hides(true);
    let next = sidecar(&place, &http, &[]);
    let capture = next.finished(&id);
    assert_eq!(http.posts().last().unwrap(), "stop");
    assert!(missing(&capture).contains("does not say which engine it is"), "{capture:#}");
}

/// Another sidecar whose engine it is said to be finds out that it is none.
fn is_no_engine(sidecar: &Sidecar) {
    let place = Place::new();
    let asks = Sidecar::start(&place, &["--engine-url", &format!("http://{}", sidecar.address())]);
    eventually("the sidecar to be told apart", || {
        let engine = &asks.get("/stepscope/v1/capabilities").ok()["profilers"]["engine"];
        (engine["available"] == false && engine.to_string().contains("is a stepscope sidecar")).then_some(())
    });
}

#[test]
fn a_sidecar_that_asks_for_a_token_is_not_taken_for_an_engine() {
    let place = Place::new();
    let mut closed = Command::new(stepscope());
    closed.env("STEPSCOPE_TOKEN", "hush-hush");
    is_no_engine(&Sidecar::start_through(closed, &place.segments(), &place.data(), &[]));
}

#[test]
fn a_sidecar_in_front_of_an_engine_is_not_taken_for_it() {
    let place = Place::new();
    let (_engine, http) = (engine(&place), native(&place, Stop::Writes));
    let front = Sidecar::start(&place, &["--upstream", &http.flags()[1]]);
    front.attached(2);
    is_no_engine(&front);
    assert_eq!(front.get("/stepscope/v1/captures").ok()["total"], 0);
}

#[test]
fn an_engine_that_sends_callers_elsewhere_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let answer =
                "HTTP/1.1 308 X\r\nLocation: https://127.0.0.1:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &["--engine-url", &url]);
    eventually("the engine's profiler to be told apart", || {
        let engine = &sidecar.get("/stepscope/v1/capabilities").ok()["profilers"]["engine"];
        let said = engine.to_string();
        (engine["available"] == false && said.contains("elsewhere") && said.contains("308")).then_some(())
    });
}
