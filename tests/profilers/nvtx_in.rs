//! An engine's own NVTX ranges as iterations: no line of it changed, no other hook.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::hazards::support::agent_library;
use crate::support::fakes::{calls, library, program};
use crate::support::{Place, Sidecar, eventually, number};

/// A running emitter; ended when dropped.
struct Emitter {
    process: Child,
    place: Place,
    log: PathBuf,
}

impl Emitter {
    fn start(arguments: &[&str], pattern: &str, tool: bool, more: &[(&str, &str)]) -> Self {
        let place = Place::new();
        let log = place.path().join("calls");
        let mut command = Command::new(program("nvtx_emitter"));
        command
            .args(arguments)
            .env("STEPSCOPE_DIR", place.segments())
            .env("NVTX_INJECTION64_PATH", agent_library())
            .env("STEPSCOPE_NVTX_STEP", pattern)
            .env("STEPSCOPE_TEST_CALLS", &log)
            .envs(more.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if tool {
            command.env("STEPSCOPE_NVTX_NEXT", library("nvtx_tool", "libnvtx_tool.so", &[]));
        }
        Self { process: command.spawn().unwrap(), place, log }
    }

    /// Steps that it says it made.
    fn made(&mut self) -> u64 {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(self.process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn every_kind_of_range_is_counted_once_from_whichever_instance() {
    for (kind, pattern) in [
        ("text", "step"),
        ("attributes", "st*"),
        ("domain", "step@engine"),
        ("registered", "step@engine"),
        ("registered", "ste*"),
        ("range", "step"),
    ] {
        for instance in ["0", "1"] {
            for tool in [false, true] {
                let mut emitter = Emitter::start(&[kind, "300", "100", instance], pattern, tool, &[]);
                let sidecar = Sidecar::start(&emitter.place, &[]);
                sidecar.attached(1);
                sidecar.begun(300);
                eventually("the emitter to be done", || (emitter.made() == 300).then_some(()));
                let rank = &sidecar.attached(1)[0];
                let counted = (number(&rank["begun"]), number(&rank["ended"]));
                assert_eq!(counted, (300, 300), "{kind} {pattern} {instance} {tool}");
            }
        }
    }
}

#[test]
fn a_window_is_exact_by_nvtx_alone_and_the_tool_behind_sees_every_call() {
    let text = "execute_context_2(512)_generation_30(31)";
    for kind in ["text", "registered"] {
        let emitter = Emitter::start(&[kind, "0", "300"], "execute_*", true, &[("EMITTED_TEXT", text)]);
        let sidecar = Sidecar::start(&emitter.place, &[]);
        sidecar.attached(1);
        sidecar.begun(10);
        let started = sidecar.start_profile(r#"{"delay_iterations": 7, "max_iterations": 5}"#);
        let capture = sidecar.finished(started["capture_id"].as_str().unwrap());
        assert_eq!(
            (&capture["complete"], &capture["ranks"][0]["iterations"]),
            (&true.into(), &5.into()),
            "{capture:#}"
        );
        for row in sidecar.ledger(capture["capture_id"].as_str().unwrap()) {
            assert_eq!((&row["context_requests"], &row["context_tokens"]), (&2.into(), &512.into()));
            assert_eq!((&row["generation_requests"], &row["generation_tokens"]), (&30.into(), &31.into()));
        }
        // Per step the tool is told of the step, what is inside, and of the ends; our own ranges come on top, once.
        let log = calls(&emitter.log);
        let of = |name: &str, domain: &str| {
            log.iter().filter(|c| c.name == name && c.detail.contains(&format!("@{domain}"))).count()
        };
        assert_eq!((of("push", "stepscope"), of("pop", "stepscope")), (5, 5));
        let domain = if kind == "text" { "default" } else { "engine" };
        let steps = log.iter().filter(|c| c.name == "push" && c.detail.starts_with(text) && c.detail.contains(domain));
        let inner = log.iter().filter(|c| c.name == "push" && c.detail.starts_with("inner@")).count();
        let steps = steps.count();
        assert!(inner > 20 && steps >= 2 * inner - 2, "{steps} steps and {inner} in them");
        assert_eq!(log.iter().filter(|c| c.name == "initialise").count(), 3, "two instances, and our own emitter");
    }
}

#[test]
fn other_ranges_than_the_patterns_make_no_rank() {
    for pattern in ["stepping", "step@other", "", "*"] {
        let mut emitter = Emitter::start(&["domain", "50", "100"], pattern, false, &[]);
        eventually("the emitter to be done", || (emitter.made() == 50).then_some(()));
        assert_eq!(std::fs::read_dir(emitter.place.segments()).unwrap().count(), 0, "{pattern:?}");
    }
}

#[test]
fn a_tool_that_takes_the_injections_place_is_put_behind_us() {
    let agent = agent_library().to_str().unwrap().to_owned();
    let tool = library("nvtx_tool", "libnvtx_tool.so", &[]).display().to_string();
    // As nsys leaves it: its own library in the variable, whatever was there before.
    let more = [("NVTX_INJECTION64_PATH", &*tool), ("STEPSCOPE_LIBRARY", &*agent), ("LD_PRELOAD", &*agent)];
    let mut emitter = Emitter::start(&["text", "40", "100"], "step", false, &more);
    let sidecar = Sidecar::start(&emitter.place, &[]);
    sidecar.attached(1);
    eventually("the emitter to be done", || (emitter.made() == 40).then_some(()));
    sidecar.begun(40);
    assert_eq!(number(&sidecar.attached(1)[0]["ended"]), 40);
    let log = calls(&emitter.log);
    assert_eq!(log.iter().filter(|c| c.name == "push" && c.detail == "inner@default 0").count(), 40);
    assert_eq!(log.iter().filter(|c| c.name == "push" && c.detail == "step@default 0").count(), 80);

    // Without a word to say so, a library that is merely loaded changes nothing.
    let more = [("NVTX_INJECTION64_PATH", &*tool), ("LD_PRELOAD", &*agent)];
    let mut emitter = Emitter::start(&["text", "40", "100"], "step", false, &more);
    eventually("the emitter to be done", || (emitter.made() == 40).then_some(()));
    assert_eq!(std::fs::read_dir(emitter.place.segments()).unwrap().count(), 0);
    assert_eq!(calls(&emitter.log).iter().filter(|c| c.name == "push").count(), 120);
}
