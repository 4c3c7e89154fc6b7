//! Several targets, some of them dead, slow or unwilling: the run goes on, and nothing stays switched on.

use serde_json::Value;

use super::support::{Does, Replica, Run, Target, nobody, of_target};

#[test]
fn of_nine_targets_two_are_dead_and_one_refuses_and_the_six_others_are_captured() {
    let replicas: Vec<Replica> = (0..6).map(|_| Replica::start(&[])).collect();
    let slow = replicas[5].sidecar.address().to_owned();
    let slow = Target::start(move |line| {
        let after_ms = if line.starts_with("POST /start_profile") { 5000 } else { 0 };
        Does::Asks(slow.clone(), after_ms)
    });
    let broken = Target::start(|_| Does::Says(500, "{\"detail\":\"out of order\"}"));
    let mut urls: Vec<String> = replicas[..5].iter().map(|replica| replica.url() + "/v1/").collect();
    urls.extend([slow.url(), nobody(), broken.url(), nobody()]);
    let run = Run::new();
    let options = ["--timeout", "20", "--max-iterations", "20", "--engine", "stepscope"];
    let went = run.finish(&urls, &options, "echo measured; sleep 0.5");
    assert_eq!((went.code, went.stdout.as_str()), (Some(0), "measured\n"), "{}", went.stderr);
    let record = run.record();
    let captures = record["phases"][0]["captures"].as_array().unwrap();
    assert_eq!(captures.len(), 6, "{record:#}");
    for capture in captures {
        assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
        assert_eq!(capture["ranks"][0]["iterations"], 20);
        assert!(run.out().join(capture["trace"]["file"].as_str().unwrap()).is_file());
    }
    let starts = &record["starts"];
    assert_eq!(starts.as_array().unwrap().len(), 9);
    for dead in [6, 8] {
        let start = of_target(starts, dead);
        assert!(start["status"].is_null() && start["error"].as_str().unwrap().contains("refused"), "{start:#}");
    }
    let refused = of_target(starts, 7);
    assert_eq!((&refused["status"], &refused["error"]), (&500.into(), &"HTTP 500: out of order".into()));
    let stopped: Vec<&Value> = record["stops"].as_array().unwrap().iter().map(|stop| &stop["target"]).collect();
    assert_eq!(stopped, [0, 1, 2, 3, 4, 5], "a stop goes to those that started, and to nobody else");
    assert!(record["stops"].as_array().unwrap().iter().all(|s| s["status"] == 200 && s["stop_reason"] == "phase_end"));
    assert_eq!(broken.count("POST /stop_profile"), 0);
    assert_eq!(slow.count("POST /stop_profile"), 1);
    // Windows of all, the slow one too, lie in the command's time: they were opened when it had answered.
    let opened = |capture: &Value| capture["ranks"][0]["opened_at_ns"].as_u64().unwrap();
    let accepted = captures.iter().map(opened).min().unwrap();
    assert_eq!(record["phases"][0]["skew"]["opened_ns"], captures.iter().map(opened).max().unwrap() - accepted);
    assert!(record["phases"][0]["merged"]["file"] == "merged.json.gz", "{record:#}");
    assert!(run.text().contains("6 of 9 targets started"), "{}", run.text());
    replicas.iter().for_each(Replica::quiet);
}

#[test]
fn of_an_answer_without_an_end_the_beginning_is_enough() {
    let endless = Target::start(|_| Does::TalksOn(500));
    let run = Run::new();
    // Much longer than it takes to read enough.
    let went = run.finish(&[endless.url()], &["--engine", "vllm", "--timeout", "60"], "exit 4");
    assert_eq!(went.code, Some(4), "{}", went.stderr);
    let record = run.record();
    let start = of_target(&record["starts"], 0);
    assert_eq!((&start["status"], &start["error"]), (&500.into(), &format!("HTTP 500: {}", "x".repeat(300)).into()));
    assert!(start["duration_ns"].as_u64().unwrap() < 30_000_000_000, "{start:#}");
}

#[test]
fn a_target_that_accepts_too_late_is_called_off_by_its_captures_id() {
    let replica = Replica::start(&[]);
    let other = Replica::start(&[]);
    let address = replica.sidecar.address().to_owned();
    let late = Target::start(move |line| {
        let after_ms = if line.starts_with("POST /start_profile") { 1500 } else { 0 };
        Does::Asks(address.clone(), after_ms)
    });
    let run = Run::new();
    let urls = [late.url(), other.url()];
    let went = run.finish(&urls, &["--timeout", "0.5", "--max-iterations", "5"], "sleep 2");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    let start = of_target(&record["starts"], 0);
    assert_eq!((&start["status"], &start["error"]), (&Value::Null, &"no answer within 0.5 s".into()));
    assert!(start["late"].as_str().unwrap().contains("was called off"), "{start:#}");
    let id = replica.sidecar.get("/stepscope/v1/captures/latest").ok()["capture_id"].as_str().unwrap().to_owned();
    assert_eq!(late.count(&format!("POST /stop_profile?capture_id={id}")), 1);
    assert_eq!(replica.sidecar.capture(&id)["state"], "cancelled");
    assert_eq!(record["stops"].as_array().unwrap().len(), 1);
    replica.quiet();
}

#[test]
fn a_target_whose_opening_is_not_answered_is_stopped_all_the_same() {
    let replica = Replica::start(&[]);
    let address = replica.sidecar.address().to_owned();
    // The sidecar opens, and nobody hears of it in time.
    let deaf = Target::start(move |line| match line.ends_with("/open") {
        true => {
            let (method, path) = line.split_once(' ').unwrap();
            crate::support::request(&address, method, path, "").ok();
            Does::Asks(address.clone(), 3000)
        }
        false => Does::Asks(address.clone(), 0),
    });
    let run = Run::new();
    let went = run.finish(&[deaf.url()], &["--timeout", "0.5"], "sleep 1");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    let start = of_target(&record["starts"], 0);
    assert!(start["late"].as_str().unwrap().contains("was called off"), "{start:#}");
    replica.quiet();
    assert_eq!(replica.sidecar.get("/stepscope/v1/captures/latest").ok()["closed_by"], "stop");
}

#[test]
fn a_stop_that_fails_is_sent_again_and_recorded() {
    let replica = Replica::start(&[]);
    let address = replica.sidecar.address().to_owned();
    let stubborn = Target::start(move |line| match line.starts_with("POST /stop_profile") {
        true => Does::Says(500, "no"),
        false => Does::Asks(address.clone(), 0),
    });
    let run = Run::new();
    let options = ["--max-iterations", "10", "--max-duration-ms", "2000"];
    let went = run.finish(&[stubborn.url()], &options, "sleep 0.3");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    assert_eq!(record["stops"][0]["error"], "HTTP 500: no");
    assert_eq!(stubborn.count("POST /stop_profile"), 3);
    // It ended by itself, and is here.
    assert_eq!(record["phases"][0]["captures"][0]["state"], "done");
    assert!(went.stderr.contains("the stop failed"), "{}", went.stderr);
}

#[test]
fn a_capture_of_somebody_else_is_left_alone() {
    let replica = Replica::start(&[]);
    let theirs = replica.sidecar.start_profile("");
    let run = Run::new();
    let went = run.finish(&[replica.url()], &[], "exit 0");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    let start = of_target(&record["starts"], 0);
    assert_eq!(start["status"], 409, "{start:#}");
    assert_eq!(record["stops"].as_array().unwrap().len(), 0);
    let id = theirs["capture_id"].as_str().unwrap();
    replica.sidecar.in_state(id, "recording");
    replica.sidecar.stop_profile();
}
