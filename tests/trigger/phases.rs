//! The benchmark says where its measured phases are.

use serde_json::json;

use super::support::{Replica, Run, nobody};

#[test]
fn each_phase_is_a_capture_and_nothing_is_captured_outside() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let shell = r#"
        set -e
        $STEPSCOPE_PHASE_COMMAND start warm enough && sleep 0.1 && $STEPSCOPE_PHASE_COMMAND stop
        "$STEPSCOPE" phase start && sleep 0.1 && "$STEPSCOPE" phase stop --strict
        "$STEPSCOPE" phase stop 2>&1 | sed 's/^/said: /'
    "#;
    // A name is one word on the command line.
    let shell = shell.replace("warm enough", "'warm enough'");
    let went = run.finish(&[replica.url()], &["--phase"], &shell);
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    assert_eq!(went.stdout, "said: stepscope: no phase is open\n");
    let record = run.record();
    let phases = record["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|phase| (&phase["phase"], &phase["name"])).collect();
    assert_eq!(names, [(&json!(1), &json!("warm enough")), (&json!(2), &json!(null))]);
    let windows: Vec<(u64, u64)> = phases
        .iter()
        .map(|phase| {
            let rank = &phase["captures"][0]["ranks"][0];
            (rank["first_iteration"].as_u64().unwrap(), rank["last_iteration"].as_u64().unwrap())
        })
        .collect();
    assert!(windows[0].1 < windows[1].0, "{windows:?}");
    assert!(record["stops"].as_array().unwrap().iter().all(|stop| stop["stop_reason"] == "phase_end"));
    assert!(run.files().iter().any(|name| name.starts_with("phase2-0-")), "{:?}", run.files());
    replica.quiet();
}

#[test]
fn the_descriptor_answers_once_the_window_is_armed() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let shell = r#"exec bash -c '
        say() { echo "$1" >&$STEPSCOPE_PHASE_FD; read -r -u $STEPSCOPE_PHASE_FD answer; echo "$answer"; }
        say start
        "$STEPSCOPE" status --url "$URL" --json | grep -c "\"state\":\"idle\""
        say nonsense
        say stop'"#;
    let child = run.command(&[replica.url()], &["--phase"], shell).env("URL", replica.url()).spawn().unwrap();
    let went = super::support::went(child);
    let said =
        "ok 1 of 1 targets are armed\n0\nerror expected start, start NAME, or stop\nok 1 of 1 targets were stopped\n";
    assert_eq!((went.code, went.stdout.as_str()), (Some(0), said), "{}", went.stderr);
}

#[test]
fn a_phase_that_is_left_open_is_stopped_at_the_end() {
    let replica = Replica::start(&[]);
    let run = Run::new();
    let went = run.finish(&[replica.url()], &["--phase"], "\"$STEPSCOPE\" phase start; sleep 0.3");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    assert_eq!(record["stops"][0]["stop_reason"], "phase_end");
    assert_eq!(record["phases"][0]["captures"][0]["state"], "done", "{record:#}");
    replica.quiet();
}

#[test]
fn a_script_runs_with_and_without_a_profiler() {
    let run = Run::new();
    let shell = "set -e; \"$STEPSCOPE\" phase start; \"$STEPSCOPE\" phase stop; echo done";
    let went = run.finish(&[nobody()], &["--phase"], shell);
    assert_eq!((went.code, went.stdout.as_str()), (Some(0), "done\n"), "{}", went.stderr);
    assert!(went.stderr.contains("no target started"), "{}", went.stderr);
    let alone = |strict: &[&str]| {
        let mut command = std::process::Command::new(crate::support::stepscope());
        command.args(["phase", "start"]).args(strict).env_clear().output().unwrap()
    };
    assert_eq!(alone(&[]).status.code(), Some(0));
    let strict = alone(&["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&strict.stderr).contains("STEPSCOPE_PHASE_SOCKET is not set"));
}
