//! Requests that two sides may read in two ways: refused, or passed on so that there is one way left.

use std::io::Write;

use super::support::{Engine, Front, ends};

/// Answers with the head, and what it took for the body.
fn strict() -> Engine {
    Engine::start(|connection| {
        while let Some(head) = connection.head() {
            let lower = head.to_ascii_lowercase();
            let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let mut body = Vec::new();
            if let Some(length) = length {
                body = connection.body(length.parse().unwrap());
            } else if lower.contains("transfer-encoding: chunked") {
                while !body.ends_with(b"0\r\n\r\n") {
                    body.extend(connection.body(1));
                }
            }
            connection.answer(&format!("{head}[{}]", String::from_utf8_lossy(&body)));
        }
    })
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_never_reaches_the_engine() {
    let engine = strict();
    let front = Front::of(engine.address);
    for (what, head) in [
        ("two lengths", "Host: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n"),
        ("a list of lengths", "Host: h\r\nContent-Length: 3, 4\r\n"),
        ("a signed length", "Host: h\r\nContent-Length: +3\r\n"),
        ("an unknown coding", "Host: h\r\nTransfer-Encoding: xchunked\r\n"),
        ("chunked before another coding", "Host: h\r\nTransfer-Encoding: chunked, gzip\r\n"),
        ("a coding before chunked", "Host: h\r\nTransfer-Encoding: gzip, chunked\r\n"),
        ("chunked twice", "Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("a coding with a stray character", "Host: h\r\nTransfer-Encoding: \x0bchunked\r\n"),
        ("a space before the colon", "Host: h\r\nContent-Length : 3\r\n"),
        ("a folded line", "Host: h\r\nX-A: 1\r\n 2\r\n"),
        ("a folded framing", "Host: h\r\nTransfer-Encoding:\r\n chunked\r\n"),
        ("a space before the name", "Host: h\r\n Content-Length: 3\r\n"),
        ("a bare CR", "Host: h\r\nX-A: 1\rContent-Length: 3\r\n"),
        ("a NUL", "Host: h\r\nX-A: a\0b\r\n"),
        ("no host", "X-A: 1\r\n"),
        ("two hosts", "Host: h\r\nHost: i\r\n"),
        ("a host with a path", "Host: h/start_profile\r\n"),
        ("a host with a name in front", "Host: me@h\r\n"),
        ("a host with a space", "Host: h i\r\n"),
    ] {
        let answer = front.exchange(format!("POST /x HTTP/1.1\r\n{head}Connection: close\r\n\r\nabc"));
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "501"].contains(&status), "{what}: {answer:?}");
    }
    let answer = front.exchange("POST /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert!(answer.contains(" 400 "), "{answer}");
    assert_eq!(engine.heads(), Vec::<String>::new());
}

#[test]
fn a_length_and_chunks_are_passed_on_as_chunks_alone_and_nothing_behind_them_is_a_request() {
    let engine = strict();
    let front = Front::of(engine.address);
    for (first, second) in
        [("Transfer-Encoding: chunked", "Content-Length: 30"), ("Content-Length: 30", "Transfer-Encoding: chunked")]
    {
        let answer = front.exchange(format!(
            "POST /x HTTP/1.1\r\nHost: h\r\n{first}\r\n{second}\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
        ));
        assert!(!answer.to_ascii_lowercase().contains("content-length: 30"), "{answer}");
        assert!(answer.contains("transfer-encoding: chunked") && answer.contains("[0\r\n\r\n]"), "{answer}");
    }
    assert!(engine.heads().iter().all(|head| !head.contains("/hidden")), "{:?}", engine.heads());
}

#[test]
fn lines_that_end_in_lf_alone_are_passed_on_with_crlf() {
    let engine = strict();
    let front = Front::of(engine.address);
    let answer = front.exchange("POST /x HTTP/1.1\nHost: h\nContent-Length: 3\nConnection: close\n\nabc");
    assert!(answer.contains("[abc]"), "{answer}");
    let head = &engine.heads()[0];
    assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
}

#[test]
fn chunks_with_a_wrong_size_break_the_request_off() {
    let engine = strict();
    let front = Front::of(engine.address);
    for chunk in ["fffffffffffffffff\r\nabc", "3x\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "-1\r\n\r\n"] {
        let mut stream = front.connect();
        write!(stream, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}").unwrap();
        let answer = String::from_utf8_lossy(&ends(&mut stream)).into_owned();
        assert!(!answer.contains(" 200 "), "{chunk:?}: {answer}");
    }
}

#[test]
fn a_head_that_is_too_long_is_431_and_a_long_one_passes() {
    let engine = strict();
    let front = Front::of(engine.address);
    let ask = |bytes: usize| {
        let long = "a".repeat(bytes);
        front.exchange(format!("GET /x HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\nConnection: close\r\n\r\n"))
    };
    assert!(ask(60_000).starts_with("HTTP/1.1 200 "));
    assert!(ask(200_000).starts_with("HTTP/1.1 431 "));
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let answer = front.exchange(format!("GET /x HTTP/1.1\r\nHost: h\r\n{many}Connection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}
