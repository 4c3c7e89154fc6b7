//! Either side goes: before, between and in the middle of what it was doing.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;

use crate::support::eventually;

use super::support::{Engine, Front, ends, hang_up, read_until};

#[test]
fn a_client_that_leaves_its_stream_takes_the_engines_connection_along() {
    let (gone, seen) = mpsc::channel();
    let engine = Engine::start(move |connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n");
        gone.send(connection.closed()).unwrap(); // silent from here on, as in a long prefill
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    write!(stream, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_until(&mut stream, "token\r\n");
    hang_up(stream);
    assert!(seen.recv().unwrap());
    front.counts("stepscope_proxy_client_aborts_total", 1);
    front.counts("stepscope_proxy_requests_in_flight", 0);
}

#[test]
fn a_client_that_leaves_before_the_first_byte_of_its_answer_does_too() {
    let (arrived, there) = mpsc::channel();
    let (gone, seen) = mpsc::channel();
    let engine = Engine::start(move |connection| {
        connection.head().unwrap();
        connection.body(3);
        arrived.send(()).unwrap();
        gone.send(connection.closed()).unwrap();
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    write!(stream, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").unwrap();
    there.recv().unwrap();
    hang_up(stream);
    assert!(seen.recv().unwrap());
    front.counts("stepscope_proxy_client_aborts_total", 1);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_upload_leaves_the_engine_no_whole_request() {
    let (gone, seen) = mpsc::channel();
    let engine = Engine::start(move |connection| {
        connection.head().unwrap();
        connection.body(3);
        gone.send(connection.closed()).unwrap();
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    write!(stream, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nabc").unwrap();
    hang_up(stream);
    assert!(seen.recv().unwrap());
}

#[test]
fn an_engine_that_dies_in_the_middle_cuts_the_stream_and_does_not_end_it() {
    for framing in ["Transfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n", "Content-Length: 50\r\n\r\ntoken"] {
        let engine = Engine::start(move |connection| {
            connection.head().unwrap();
            connection.write(format!("HTTP/1.1 200 OK\r\n{framing}"));
        });
        let front = Front::of(engine.address);
        let mut stream = front.connect();
        write!(stream, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let answer = String::from_utf8(ends(&mut stream)).unwrap();
        assert!(answer.contains("token") && !answer.contains("0\r\n\r\n"), "{answer}");
        front.counts("stepscope_proxy_upstream_errors_total", 1);
    }
}

#[test]
fn an_engine_that_closes_without_an_answer_is_502_and_a_post_is_not_sent_twice() {
    let engine = Engine::start(|connection| {
        let head = connection.head().unwrap();
        if head.starts_with("GET") {
            connection.answer("first");
            // The second one on this connection is read, and not answered.
            connection.head();
        }
    });
    let front = Front::of(engine.address);
    assert!(front.get("/x").contains("first"));
    let ask = |method: &str| {
        front.exchange(format!("{method} /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    };
    let answer = ask("POST");
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("engine_broke_off"), "{answer}");
    assert_eq!(engine.heads().iter().filter(|head| head.starts_with("POST")).count(), 1);
    // A GET without a body is sent once more, on a new connection.
    assert!(front.get("/x").contains("first"));
    assert!(front.get("/x").contains("first"));
    front.counts("stepscope_proxy_retries_total", 1);
}

#[test]
fn a_connection_that_the_engine_closed_while_it_waited_is_not_used() {
    let (closed, wait) = mpsc::channel();
    let engine = Engine::start(move |connection| {
        connection.head().unwrap();
        connection.answer("once");
        connection.reader.get_mut().shutdown(std::net::Shutdown::Both).unwrap();
        closed.send(()).unwrap();
    });
    let front = Front::of(engine.address);
    for _ in 0..20 {
        let answer = front.exchange("POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert!(answer.ends_with("once"), "{answer}");
        wait.recv().unwrap();
    }
}

#[test]
fn an_engine_that_is_not_there_is_502_in_our_words_and_may_come_later() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let front = Front::of(address);
    let answer = front.get("/v1/models");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains(&format!("engine at http://{address} is not there: ")), "{answer}");
    assert!(answer.contains("\"reason\":\"engine_absent\""), "{answer}");
    assert!(front.get("/v1/models").starts_with("HTTP/1.1 502 "));
    let log = eventually("the log", || Some(front.sidecar.log()).filter(|log| log.contains("is not there")));
    assert_eq!(log.matches("is not there").count(), 1, "said once: {log}");
    let engine = Engine::on(TcpListener::bind(address).unwrap(), |connection| {
        while connection.head().is_some() {
            connection.answer("here");
        }
    });
    assert!(front.get("/v1/models").ends_with("here"));
    assert_eq!(engine.heads().len(), 1);
}

#[test]
fn what_is_no_engines_url_or_is_the_sidecar_itself_is_refused_at_start() {
    for (arguments, words) in [
        (["--listen", "127.0.0.1:0", "--upstream", "https://h:1"], "plain HTTP"),
        (["--listen", "127.0.0.1:0", "--upstream", "h:1"], "no engine's URL"),
        (["--listen", "127.0.0.1:0", "--upstream", "http://h:1/v1"], "there is a path"),
        (["--listen", "127.0.0.1:47123", "--upstream", "http://localhost:47123"], "this sidecar itself"),
    ] {
        let place = crate::support::Place::new();
        let output = std::process::Command::new(crate::support::stepscope())
            .arg("serve")
            .args(arguments)
            .arg("--dir")
            .arg(place.segments())
            .arg("--data")
            .arg(place.data())
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && log.contains(words), "{arguments:?}: {log}");
    }
}
