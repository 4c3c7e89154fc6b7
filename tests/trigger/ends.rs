//! However the command ends: its exit code or signal is ours, what it started is stopped, and the record is written.

use std::io::Write;
use std::process::{Command, Stdio};

use super::support::{Does, Replica, Run, Target, of_target, went};
use crate::support::engine::signal;
use crate::support::{Sidecar, eventually, stepscope};

const TERM: i32 = 15;

#[test]
fn the_exit_code_is_the_commands_and_its_output_untouched() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let mut command =
        run.command(&[replica.url()], &["--quiet", "--max-iterations", "5"], "cat; echo err >&2; sleep 0.3; exit 3");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in\0put").unwrap();
    let went = went(child);
    assert_eq!((went.code, went.stdout.as_str(), went.stderr.as_str()), (Some(3), "in\0put", "err\n"));
    let record = run.record();
    assert_eq!(record["command"]["exit_code"], 3);
    assert_eq!(record["stops"][0]["stop_reason"], "abort");
    assert_eq!(run.files(), [&trace(&replica), "profiling.json", "profiling.txt"]);
    replica.quiet();
}

fn trace(replica: &Replica) -> String {
    format!("0-{}.json.gz", replica.sidecar.address().replace(['.', ':'], "-"))
}

#[test]
fn a_command_that_a_signal_ends_makes_us_end_by_it() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let went = run.finish(&[replica.url()], &[], "sleep 0.2; kill -TERM $$");
    assert_eq!(went.signal, Some(TERM), "{}", went.stderr);
    let record = run.record();
    assert_eq!(record["command"]["signal"], TERM);
    assert_eq!(record["phases"][0]["captures"][0]["state"], "done");
    replica.quiet();
}

#[test]
fn a_signal_that_only_we_got_is_passed_on_once() {
    let replica = Replica::start(&[]);
    for (name, number) in [("TERM", TERM), ("INT", 2)] {
        let run = Run::new();
        let shell = format!("trap 'echo got >> got; exit 7' {name}; : > ready; while :; do sleep 0.05; done");
        let child = run.start(&[replica.url()], &[], &shell);
        capturing(&replica);
        ready(&run);
        signal(child.id(), name);
        let went = went(child);
        assert_eq!(went.code, Some(7), "{number}: {}", went.stderr);
        assert_eq!(std::fs::read_to_string(run.path().join("got")).unwrap(), "got\n");
        let record = run.record();
        assert_eq!(record["stops"][0]["stop_reason"], "abort");
        assert_eq!(record["phases"][0]["captures"][0]["state"], "done", "{record:#}");
        replica.quiet();
    }
}

/// The command has set its trap.
fn ready(run: &Run) {
    eventually("the command to be ready", || run.path().join("ready").exists().then_some(()));
}

fn capturing(replica: &Replica) {
    eventually("a window to open", || {
        let running = replica.sidecar.get("/stepscope/v1/status").ok()["running"].clone();
        (running["state"] == "recording").then_some(())
    });
}

#[test]
fn ctrl_c_twice_reaches_the_command_twice_and_loses_no_stop() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let script =
        "n=0; trap 'n=$((n+1)); echo $n >> got; [ $n = 2 ] && exit 9' INT; : > ready; while :; do sleep 0.05; done";
    // A terminal of its own: what is typed there goes to the whole foreground group.
    let command = format!(
        "exec {} run --out {} --target {} -- sh -c \"$SCRIPT\"",
        stepscope().display(),
        run.out().display(),
        replica.url()
    );
    let mut terminal = Command::new("env")
        .args(["--default-signal=INT", "script", "-qec", &command, "/dev/null"])
        .env("SCRIPT", script)
        .env("SHELL", "/bin/sh")
        .current_dir(run.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    capturing(&replica);
    let mut keys = terminal.stdin.take().unwrap();
    let got = || std::fs::read_to_string(run.path().join("got")).unwrap_or_default();
    ready(&run);
    for times in ["1\n", "1\n2\n"] {
        keys.write_all(b"\x03").unwrap();
        keys.flush().unwrap();
        eventually("the Ctrl-C to arrive", || (got() == times).then_some(()));
    }
    let went = went(terminal);
    assert_eq!(got(), "1\n2\n", "each Ctrl-C arrived once");
    assert_eq!(went.code, Some(9), "{}", went.stdout);
    let record = run.record();
    assert_eq!(record["command"]["exit_code"], 9);
    assert_eq!((&record["stops"][0]["status"], &record["stops"][0]["stop_reason"]), (&200.into(), &"abort".into()));
    replica.quiet();
}

#[test]
fn a_command_that_is_not_there_is_127_and_nothing_stays_armed() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let mut command = Command::new(stepscope());
    command.args(["run", "--target", &replica.url(), "--out"]).arg(run.out()).args(["--", "/no/such/benchmark"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(run.record()["command"]["exit_code"], 127);
    replica.quiet();
}

#[test]
fn interrupted_before_the_command_began_it_is_not_run_and_nothing_stays_armed() {
    let replica = Replica::start(&[]);
    let address = replica.sidecar.address().to_owned();
    let slow = Target::start(move |line| {
        let after_ms = if line.starts_with("POST /start_profile") { 2000 } else { 0 };
        Does::Asks(address.clone(), after_ms)
    });
    let run = Run::new();
    let child = run.start(&[slow.url()], &["--timeout", "60"], "echo run");
    eventually("the start to be sent", || (slow.count("POST /start_profile") > 0).then_some(()));
    signal(child.id(), "TERM");
    let went = went(child);
    assert_eq!((went.signal, went.stdout.as_str()), (Some(TERM), ""), "{}", went.stderr);
    let start = of_target(&run.record()["starts"], 0);
    assert_eq!(start["error"], "interrupted before it answered");
    assert!(start["late"].as_str().unwrap().contains("was called off"), "{start:#}");
    replica.quiet();
}

#[test]
fn a_sidecar_that_dies_in_the_middle_is_on_record_and_leaves_nothing_on() {
    let replica = Replica::start(&["--lease-ms", "1000"]);
    let run = Run::new();
    let child = run.start(&[replica.url()], &[], "sleep 1; exit 4");
    capturing(&replica);
    let Replica { sidecar, engine, place } = replica;
    sidecar.kill();
    let went = went(child);
    assert_eq!(went.code, Some(4), "{}", went.stderr);
    let record = run.record();
    assert!(record["stops"][0]["error"].as_str().unwrap().contains("refused"), "{record:#}");
    let capture = &record["phases"][0]["captures"][0];
    assert!(capture["warnings"].to_string().contains("does not say how it went"), "{capture:#}");
    // The engine closed by itself when the lease ran out; the next sidecar finishes the capture.
    let next = Sidecar::start(&place, &[]);
    let ended = next.finished(capture["capture_id"].as_str().unwrap());
    assert!(matches!(ended["ranks"][0]["state"].as_str(), Some("closed")), "{ended:#}");
    drop(engine);
}
