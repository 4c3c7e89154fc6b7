//! 101: from then on bytes, both ways.

use std::io::Write;

use super::support::{Engine, Front, ends, read_until};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn an_upgrade_passes_and_then_bytes_pass_both_ways_until_one_side_ends() {
    let engine = Engine::start(|connection| {
        let head = connection.head().unwrap();
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
        connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
        loop {
            let piece = connection.body(4);
            connection.write(&piece);
            if piece == b"last" {
                return;
            }
        }
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    stream.write_all(ASK.as_bytes()).unwrap();
    stream.write_all(b"\0\xff\r\n").unwrap(); // at once behind the head
    let head = read_until(&mut stream, "\r\n\r\n").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert_eq!(read_until(&mut stream, "hello"), "hello");
    let mut back = [0; 4];
    std::io::Read::read_exact(&mut stream, &mut back).unwrap();
    assert_eq!(&back, b"\0\xff\r\n");
    for n in 0..100 {
        write!(stream, "{n:04}").unwrap();
        assert_eq!(read_until(&mut stream, &format!("{n:04}")), format!("{n:04}"));
    }
    front.counts("stepscope_proxy_requests_in_flight", 1);
    stream.write_all(b"last").unwrap();
    assert_eq!(ends(&mut stream), b"last");
    drop(stream);
    front.counts("stepscope_proxy_requests_in_flight", 0);
    front.counts("stepscope_proxy_tunnels_total", 1);
    front.counts("stepscope_proxy_requests_total{class=\"1xx\"}", 1);
}

#[test]
fn an_upgrade_that_the_engine_refuses_is_an_answer_like_any_other() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    stream.write_all(ASK.as_bytes()).unwrap();
    let answer = read_until(&mut stream, "via: 1.1 stepscope\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn an_engine_that_switches_unasked_is_502() {
    let engine = Engine::start(|connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        connection.closed();
    });
    let front = Front::of(engine.address);
    assert!(front.get("/x").starts_with("HTTP/1.1 502 "));
}

#[test]
fn a_shutdown_ends_tunnels() {
    let engine = Engine::start(|connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        connection.closed();
    });
    let front = Front::with(engine.address, &["--shutdown-patience-ms", "100"]);
    let mut stream = front.connect();
    stream.write_all(ASK.as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n");
    front.sidecar.signal("TERM");
    assert_eq!(ends(&mut stream), b"");
}
