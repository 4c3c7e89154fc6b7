//! Hosts whose ranks step together begin at one iteration.

use serde_json::Value;

use super::support::Run;
use crate::support::{Engine, Place, Sidecar, eventually};

/// One engine of two ranks, on two hosts: each host has the segment of one rank, and a sidecar of its own. A segment is a
/// file that is mapped: where it lies is nothing to its engine.
fn hosts(step_us: &str) -> (Engine, [(Place, Sidecar); 2]) {
    let places = [Place::new(), Place::new()];
    let engine = Engine::start(&places[0].segments(), &["--iterations", "0", "--ranks", "2", "--step-us", step_us]);
    let probe = Sidecar::start(&places[0], &[]);
    let ranks = probe.attached(2);
    let second = ranks.iter().find(|rank| rank["rank"] == 1).unwrap()["segment"].as_str().unwrap().to_owned();
    probe.end();
    let name = std::path::Path::new(&second).file_name().unwrap().to_owned();
    std::fs::rename(&second, places[1].segments().join(name)).unwrap();
    let hosts = places.map(|place| {
        let sidecar = Sidecar::start(&place, &[]);
        sidecar.attached(1);
        (place, sidecar)
    });
    (engine, hosts)
}

#[test]
fn they_get_the_same_first_iteration_and_say_so() {
    let (_engine, hosts) = hosts("1000");
    let urls: Vec<String> = hosts.iter().map(|(_, sidecar)| format!("http://{}", sidecar.address())).collect();
    let run = Run::new();
    let went = run.finish(&urls, &["--delay-iterations", "10", "--max-iterations", "30"], "sleep 1.5");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    let captures = record["phases"][0]["captures"].as_array().unwrap();
    let windows: Vec<(&Value, &Value)> =
        captures.iter().map(|c| (&c["ranks"][0]["first_iteration"], &c["ranks"][0]["last_iteration"])).collect();
    assert_eq!(windows.len(), 2, "{record:#}");
    assert_eq!(windows[0], windows[1]);
    assert_eq!(captures[0]["ranks"][0]["iterations"], 30);
    let start = |target: usize| &record["starts"][target]["body"]["start_iteration"];
    assert_eq!((start(0), start(1)), (windows[0].0, windows[0].0));
    assert!(captures[0]["warnings"].to_string().contains("ranks [1] at"), "{captures:#?}");
    assert!(captures[0]["warnings"].to_string().contains("all began at one iteration"), "{captures:#?}");
}

#[test]
fn one_that_is_past_it_is_missed_and_the_others_go_on() {
    let (_engine, hosts) = hosts("1000");
    // The first iteration of all is past already for both: nobody opens, and both say why.
    let urls: Vec<String> = hosts.iter().map(|(_, sidecar)| format!("http://{}", sidecar.address())).collect();
    hosts.iter().for_each(|(_, sidecar)| sidecar.begun(50));
    let run = Run::new();
    let went = run.finish(&urls, &["--start-iteration", "3"], "exit 0");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    for start in record["starts"].as_array().unwrap() {
        assert_eq!(start["status"], 400, "{start:#}");
        assert!(start["error"].as_str().unwrap().starts_with("missed: "), "{start:#}");
        assert!(start["late"].as_str().unwrap().contains("was called off"), "{start:#}");
    }
    for (_, sidecar) in &hosts {
        eventually("the held capture to be gone", || {
            sidecar.get("/stepscope/v1/status").ok()["running"].is_null().then_some(())
        });
    }
}
