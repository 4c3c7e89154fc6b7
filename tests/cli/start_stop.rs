//! `start` and `stop`: what is sent, what is waited for, which code comes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Server, capture, json, stderr, stdout, stepscope};

#[test]
fn a_start_sends_what_was_given_and_nothing_else() {
    let server = Server::new(|_| json(200, capture("armed", "\"unknown\"")));
    for (flags, body) in [
        (&[][..], "{}"),
        (&["--delay-iterations", "10", "--max-iterations", "4"], r#"{"delay_iterations":10,"max_iterations":4}"#),
        (
            &[
                "--start-iteration",
                "7",
                "--profiler",
                "steps",
                "--job",
                "j",
                "--ranks",
                "0,1",
                "--max-duration-ms",
                "5",
                "--max-events",
                "6",
                "--max-bytes",
                "8",
                "--profile-prefix",
                "p",
            ],
            r#"{"start_iteration":7,"profiler":"steps","job":"j","ranks":[0,1],"max_duration_ms":5,"max_events":6,"max_bytes":8,"profile_prefix":"p"}"#,
        ),
    ] {
        let output = stepscope(&[&["start", "--url", &server.url][..], flags].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let seen = server.seen.lock().unwrap().pop().unwrap();
        assert_eq!((seen.line.as_str(), seen.body.as_str()), ("POST /start_profile", body));
    }
}

#[test]
fn a_start_shows_what_the_ranks_agreed_on() {
    let server = Server::new(|_| json(200, capture("armed", "\"unknown\"")));
    let said = stdout(&stepscope(&["start", "--url", &server.url]));
    assert!(said.contains("4721") && said.contains("4724") && said.contains("stepscope get 01928000-"), "{said}");
}

/// Answers a start or stop at once and is over at the third look.
fn slow(state: &'static str, complete: &'static str) -> Server {
    let looks = Arc::new(AtomicU32::new(0));
    Server::new(move |line| {
        let over = line.starts_with("GET") && looks.fetch_add(1, Ordering::Relaxed) >= 2;
        json(200, if over { capture(state, complete) } else { capture("exporting", "\"unknown\"") })
    })
}

#[test]
fn waiting_gives_the_captures_fate_as_exit_code() {
    for command in ["start", "stop"] {
        for (state, complete, code) in [
            ("done", "true", 0),
            ("done", "\"unknown\"", 0),
            ("done", "false", 5),
            ("failed", "false", 1),
            ("cancelled", "true", 0),
        ] {
            let server = slow(state, complete);
            let output = stepscope(&[command, "--wait", "60", "--url", &server.url]);
            assert_eq!(output.status.code(), Some(code), "{command} {state} {complete}: {}", stderr(&output));
            assert!(stdout(&output).contains(state), "{}", stdout(&output));
        }
    }
}

#[test]
fn a_wait_that_is_too_short_is_1_and_says_so() {
    let server = slow("done", "true");
    let output = stepscope(&["stop", "--wait", "0", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is still exporting after 0 s"), "{}", stderr(&output));
}

#[test]
fn stopping_nothing_succeeds() {
    let server = Server::new(|_| json(200, r#"{"state":"idle","capture_id":null}"#));
    for flags in [&[][..], &["--wait"]] {
        let output = stepscope(&[&["stop", "--url", &server.url][..], flags].concat());
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "nothing was running\n"));
    }
    let output = stepscope(&["stop", "--json", "--url", &server.url]);
    assert_eq!(stdout(&output), "{\"state\":\"idle\",\"capture_id\":null}\n");
}
