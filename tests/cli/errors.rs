//! What is said, and which exit code is left, when the sidecar is not there or says no.

use super::{Server, command, json, stderr, stdout, stepscope};

const NO: &str = r#"{"error":{"message":"MESSAGE","type":"t","param":"max_iterations","code":"stable_code"}}"#;

fn refusing(status: u16, message: &'static str) -> Server {
    Server::new(move |_| json(status, NO.replace("MESSAGE", message)))
}

#[test]
fn nobody_there_is_3_and_says_how_to_start_a_sidecar() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    for arguments in [&["status"][..], &["start"], &["stop"], &["captures"], &["get"], &["captures", "rm", "a"]] {
        let output = command(arguments).args(["--url", &url]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(&url) && said.contains("Connection refused"), "{said}");
        assert!(said.contains("is `stepscope serve` running there?"), "{said}");
    }
}

#[test]
fn a_missing_token_and_a_wrong_one_are_4_and_told_apart() {
    let server = refusing(401, "no token");
    let output = stepscope(&["status", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("no token\nthis sidecar wants a token: give it with --token or STEPSCOPE_TOKEN"));

    let output = command(&["status", "--url", &server.url]).env("STEPSCOPE_TOKEN", "abc").output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("is not the one that this sidecar was started with"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("abc"));

    let sent: Vec<_> = server.seen.lock().unwrap().iter().map(|seen| seen.authorization.clone()).collect();
    assert_eq!(sent, [None, Some("Bearer abc".into())]);
}

#[test]
fn a_refusal_keeps_the_sidecars_own_words() {
    for status in [400, 404, 409, 422, 429, 503] {
        let server = refusing(status, "capture 7 is running: stop it");
        let output = stepscope(&["start", "--url", &server.url]);
        assert_eq!(output.status.code(), Some(4), "{status}");
        assert_eq!(stderr(&output), "error: capture 7 is running: stop it\n", "{status}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_broken_sidecar_is_1() {
    let server = refusing(500, "out of luck");
    let output = stepscope(&["status", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the sidecar failed (HTTP 500): out of luck"), "{}", stderr(&output));
}

#[test]
fn another_server_on_that_port_is_3_and_named_as_such() {
    let not_found = Server::new(|_| json(404, r#"{"detail":"Not Found"}"#));
    let page = Server::new(|_| json(200, "<html>hello</html>"));
    for server in [not_found, page] {
        let output = stepscope(&["status", "--url", &server.url]);
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("is that the engine's own port?"), "{}", stderr(&output));
    }
}

#[test]
fn an_id_that_would_leave_its_path_is_never_sent() {
    let server = refusing(500, "reached");
    for id in ["../status", "a/b", "a?b", "a%2f", ""] {
        let output = stepscope(&["get", id, "--url", &server.url]);
        assert_eq!(output.status.code(), Some(4), "{id}: {}", stderr(&output));
    }
    assert_eq!(server.lines(), [] as [&str; 0]);
}
