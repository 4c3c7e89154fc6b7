//! A start that is held: accepted, and opened when it is told to.

use crate::support::{Engine, Place, Sidecar, eventually};

fn setting() -> (Place, Engine, Sidecar) {
    let place = Place::new();
    let engine = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "2"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    sidecar.begun(5);
    (place, engine, sidecar)
}

fn gates(sidecar: &Sidecar) -> Vec<String> {
    let ranks = sidecar.get("/stepscope/v1/ranks").ok()["ranks"].as_array().unwrap().clone();
    ranks.iter().map(|rank| rank["gate"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn nothing_is_asked_of_the_engine_until_it_is_opened() {
    let (_place, _engine, sidecar) = setting();
    let held = sidecar.start_profile(r#"{"hold_ms": 60000, "delay_iterations": 5, "max_iterations": 20}"#);
    let id = held["capture_id"].as_str().unwrap();
    assert_eq!((&held["state"], &held["held"]), (&"armed".into(), &true.into()));
    assert!(held["agreed_at_ns"].is_null() && held["ranks"].as_array().unwrap().is_empty(), "{held:#}");
    assert_eq!(gates(&sidecar), ["idle", "idle"]);
    let second = sidecar.post("/start_profile", "");
    assert_eq!(second.status, 409);
    assert!(second.message().contains(id), "{}", second.body);
    let opened = sidecar.post(&format!("/stepscope/v1/captures/{id}/open"), "").ok();
    assert_eq!((&opened["capture_id"], &opened["held"]), (&held["capture_id"], &false.into()));
    assert!(opened["agreed_at_ns"].is_u64(), "{opened:#}");
    let capture = sidecar.finished(id);
    assert_eq!((&capture["complete"], &capture["held"]), (&true.into(), &false.into()), "{capture:#}");
    assert!(capture["ranks"].as_array().unwrap().iter().all(|rank| rank["iterations"] == 20));
    let again = sidecar.post(&format!("/stepscope/v1/captures/{id}/open"), "");
    assert_eq!((again.status, again.message().contains("not held")), (409, true), "{}", again.body);
    assert_eq!(sidecar.post("/stepscope/v1/captures/nobody/open", "").status, 404);
}

#[test]
fn it_opens_at_the_iteration_that_is_named_and_a_past_one_leaves_it_held() {
    let (_place, _engine, sidecar) = setting();
    let held = sidecar.start_profile(r#"{"hold_ms": 60000, "max_iterations": 10}"#);
    let id = held["capture_id"].as_str().unwrap();
    let open = |first: u64| sidecar.post(&format!("/stepscope/v1/captures/{id}/open?start_iteration={first}"), "");
    let past = open(1);
    assert_eq!((past.status, &past.json()["error"]["reason"]), (400, &"iteration_is_past".into()));
    assert_eq!(sidecar.capture(id)["held"], true);
    let begun = sidecar.get("/stepscope/v1/ranks").ok()["ranks"][0]["begun"].as_u64().unwrap();
    assert_eq!(open(begun + 500).ok()["groups"][0]["first_iteration"], begun + 500);
    let capture = sidecar.finished(id);
    assert!(capture["ranks"].as_array().unwrap().iter().all(|rank| rank["first_iteration"] == begun + 500));
}

#[test]
fn a_stop_calls_it_off_and_so_does_the_time_and_the_sidecars_death() {
    let (place, _engine, sidecar) = setting();
    let hold = |ms: u64| {
        let held = sidecar.start_profile(&format!("{{\"hold_ms\": {ms}}}"));
        held["capture_id"].as_str().unwrap().to_owned()
    };
    let id = hold(60_000);
    let stopped = sidecar.stop_profile();
    assert_eq!((&stopped["state"], &stopped["closed_by"]), (&"cancelled".into(), &"stop".into()), "{stopped:#}");
    assert_eq!(sidecar.post(&format!("/stepscope/v1/captures/{id}/open"), "").status, 409);
    let lapsed = hold(50);
    let capture = sidecar.in_state(&lapsed, "cancelled");
    assert_eq!(capture["closed_by"], "max_wait");
    assert!(capture["reason"].as_str().unwrap().contains("nobody opened it"), "{capture:#}");
    let orphan = eventually("a new start to be possible", || {
        let reply = sidecar.post("/start_profile", r#"{"hold_ms": 60000}"#);
        (reply.status == 200).then(|| reply.json()["capture_id"].as_str().unwrap().to_owned())
    });
    sidecar.kill();
    let next = Sidecar::start(&place, &[]);
    next.in_state(&orphan, "cancelled");
    assert_eq!(next.attached(2).len(), 2);
    assert_eq!(gates(&next), ["idle", "idle"]);
    for id in [&id, &lapsed] {
        assert_eq!(next.capture(id)["state"], "cancelled", "what was called off is on the disk");
    }
}
