//! Bodies both ways: as they come, however long, in the framing they came in.

use std::io::{Read, Write};
use std::sync::mpsc;

use super::support::{Engine, Front, read_until};

#[test]
fn each_token_is_there_before_the_next_one_is_made() {
    let (next, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let engine = Engine::start(move |connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for token in 0..50 {
            let text = format!("data: {token}\n\n");
            connection.write(format!("{:x}\r\n{text}\r\n", text.len()));
            wait.lock().unwrap().recv().unwrap(); // not before the client has it
        }
        connection.write("0\r\n\r\n");
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    write!(stream, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    for token in 0..50 {
        read_until(&mut stream, &format!("data: {token}\n\n\r\n"));
        next.send(()).unwrap();
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\r\n\r\n");
}

#[test]
fn an_upload_goes_on_while_its_answer_comes_back_piece_by_piece() {
    let engine = Engine::start(|connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..20 {
            let piece = connection.body(3 + 5 + 2); // size, piece, end
            connection.write(piece);
        }
        connection.write("0\r\n\r\n");
        connection.closed();
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    write!(stream, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    read_until(&mut stream, "\r\n\r\n");
    for n in 0..20 {
        stream.write_all(format!("5\r\np-{n:03}\r\n").as_bytes()).unwrap();
        read_until(&mut stream, &format!("p-{n:03}\r\n"));
    }
}

#[test]
fn sixty_four_megabytes_pass_both_ways_with_their_length_and_the_connection_is_kept() {
    const BYTES: usize = 64 << 20;
    let engine = Engine::start(|connection| {
        while connection.head().is_some() {
            connection.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"));
            for _ in 0..BYTES >> 20 {
                let piece = connection.body(1 << 20);
                connection.write(piece);
            }
        }
    });
    let front = Front::of(engine.address);
    let mut stream = front.connect();
    let piece: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for _ in 0..2 {
        let mut writer = stream.try_clone().unwrap();
        let sent = piece.clone();
        let upload = std::thread::spawn(move || {
            write!(writer, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {BYTES}\r\n\r\n").unwrap();
            (0..BYTES >> 20).for_each(|_| writer.write_all(&sent).unwrap());
        });
        let head = read_until(&mut stream, "\r\n\r\n");
        assert!(head.contains(&format!("content-length: {BYTES}\r\n")), "{head}");
        let mut back = vec![0; 1 << 20];
        for _ in 0..BYTES >> 20 {
            stream.read_exact(&mut back).unwrap();
            assert!(back == piece, "a megabyte came back as another");
        }
        upload.join().unwrap();
    }
    assert_eq!(engine.heads().len(), 2);
    front.counts("stepscope_proxy_body_bytes_total{direction=\"to_engine\"}", 2 * BYTES as u64);
    front.counts("stepscope_proxy_body_bytes_total{direction=\"to_client\"}", 2 * BYTES as u64);
    front.counts("stepscope_proxy_upstream_connections_total", 1);
}

#[test]
fn chunks_stay_chunks_and_trailers_that_were_announced_follow_them() {
    let engine = Engine::start(|connection| {
        while let Some(head) = connection.head() {
            assert!(head.contains("transfer-encoding: chunked\r\n") && head.contains("trailer: X-Sum\r\n"), "{head}");
            assert!(head.contains("te: trailers\r\n"), "{head}");
            let mut body = Vec::new();
            while !body.ends_with(b"\r\n\r\n") {
                body.extend(connection.body(1));
            }
            assert_eq!(String::from_utf8(body).unwrap(), "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
            connection.write(
                "HTTP/1.1 200 OK\r\nTrailer: X-Back\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Back: 8\r\n\r\n",
            );
        }
    });
    let front = Front::of(engine.address);
    let answer = front.exchange(
        "POST /x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: te, close\r\nTrailer: X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    assert!(answer.ends_with("2\r\nok\r\n0\r\nx-back: 8\r\n\r\n"), "{answer}");
}

#[test]
fn a_client_that_waits_for_100_gets_it_when_the_engine_says_so_and_a_refusal_without_it() {
    let engine = Engine::start(|connection| {
        while let Some(head) = connection.head() {
            assert!(head.contains("expect: 100-continue\r\n"), "{head}");
            if head.contains("/refused") {
                connection.write("HTTP/1.1 413 Too Long\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            connection.write("HTTP/1.1 100 Continue\r\n\r\n");
            let body = connection.body(3);
            connection.answer(&String::from_utf8(body).unwrap());
        }
    });
    let front = Front::of(engine.address);
    let ask = |path: &str| {
        let mut stream = front.connect();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").unwrap();
        stream
    };
    let mut stream = ask("/taken");
    assert_eq!(read_until(&mut stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").unwrap();
    assert!(read_until(&mut stream, "\r\n\r\nabc").starts_with("HTTP/1.1 200 "));
    let mut stream = ask("/refused");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 413 Too Long\r\n"));
}

#[test]
fn requests_on_one_connection_are_answered_in_order_even_when_they_come_together() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let many: String = (0..30).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    let answer = front.exchange(format!("{many}GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    let seen: Vec<_> = answer.split("GET /").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect();
    let wanted: Vec<_> = (0..30).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(seen, wanted);
    front.counts("stepscope_proxy_upstream_connections_total", 1);
}

#[test]
fn an_answer_that_ends_with_its_connection_ends_in_order() {
    let engine = Engine::start(|connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.0 200 OK\r\n\r\nall of it");
    });
    let front = Front::of(engine.address);
    let answer = front.get("/x");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("all of it"), "{answer}");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}
