//! Requests that are made to confuse: over raw sockets, as hyper and our routes take them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use stepscope::config::Settings;
use stepscope::service::connections::{Bounds, answer};
use stepscope::service::router::{ROUTES, router};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::support::{ask, get, impatient, request, state};

/// What came back, until the other side closes or says nothing more.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let _ = stream.write_all(bytes); // it may be cut off before all is sent
    let _ = stream.shutdown(std::net::Shutdown::Write);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn with_service<T: Send + 'static>(ask: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
    let state = state(Settings { start_rate_per_second: 0.0, ..Settings::default() }, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = router(state.clone());
    let task = tokio::spawn(async move {
        answer(listener, router, Bounds::default(), async move { drop(stopped.await) }, Duration::from_secs(20)).await;
    });
    let answer = tokio::task::spawn_blocking(move || ask(address)).await.unwrap();
    stop.send(()).unwrap();
    task.await.unwrap();
    answer
}

const STOP: &str = "POST /stop_profile HTTP/1.1\r\nHost: 127.0.0.1\r\n";
const GET: &str = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn where_a_request_ends_is_never_a_matter_of_taste() {
    // What a proxy before us might see as the body of the first request is never answered as a second one.
    let smuggled = format!("0\r\n\r\n{GET}\r\n");
    let both = [
        format!("{STOP}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}", smuggled.len()),
        format!("{STOP}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n{smuggled}"),
    ];
    let refused = [
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        "Content-Length: 2, 2\r\n\r\n{}",
        "Content-Length: +2\r\n\r\n{}",
        "Content-Length : 2\r\n\r\n{}",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "X-Folded: a\r\n b\r\n\r\n",
        "X-Nul: a\0b\r\n\r\n",
        "X-Cr: a\rb\r\n\r\n",
    ];
    let (both, refused) = with_service(move |address| {
        let both = both.map(|text| exchange(address, text.as_bytes()));
        (both, refused.map(|text| (text, exchange(address, format!("{STOP}{text}").as_bytes()))))
    })
    .await;
    for answer in both {
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer, and the connection is closed: {answer}");
    }
    for (text, answer) in refused {
        assert!(answer.starts_with("HTTP/1.1 400 "), "{text:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{text:?}: {answer}");
    }
    let old = "POST /stop_profile HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let broken = "POST /start_profile HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n";
    for text in [old, broken] {
        let answer = with_service(move |address| exchange(address, text.as_bytes())).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{text:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_431_and_a_target_that_is_414() {
    let many: String = (0..101).map(|n| format!("X-{n}: a\r\n")).collect();
    let cases = [
        (format!("{GET}{many}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "a".repeat(70_000)), 414),
    ];
    for (text, status) in cases {
        let answer = with_service(move |address| exchange(address, text.as_bytes())).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}", &answer[..answer.len().min(200)]);
    }
    // Of one that is still being sent when it is refused, the kernel may take the answer back.
    let long = format!("{GET}X-Long: {}\r\n\r\n", "a".repeat(500_000));
    let answer = with_service(move |address| exchange(address, long.as_bytes())).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{}", &answer[..answer.len().min(200)]);
}

#[tokio::test]
async fn no_path_leads_out_of_the_data_folder() {
    let state = state(Settings::default(), None);
    let long = "a".repeat(60_000);
    let ids = [
        "..",
        "%2e%2e",
        "%2E%2E%2F%2E%2E",
        "..%2f..%2fetc%2fpasswd",
        "%252e%252e",
        ".",
        "%00",
        "latest%00",
        "latest%2f..",
        "%5c..",
        "latest%20",
        "..%c0%af",
        &long,
    ];
    for id in ids {
        for rest in ["", "/trace", "/iterations", "/report", "/trace?rank=0"] {
            let path = format!("/stepscope/v1/captures/{id}{rest}");
            for method in ["GET", "DELETE"] {
                let reply = ask(&state, request(method, &path, &[], b"")).await;
                assert!(matches!(reply.status.as_u16(), 404 | 405), "{method} {path:.90}: {}", reply.status);
                assert!(reply.body.len() < 1000, "what was asked for is not given back at length");
            }
        }
    }
    for target in
        ["/stepscope/v1/captures/../../../etc/passwd", "//etc/passwd", "/stepscope/v1/captures/a/trace/../../b"]
    {
        assert_eq!(get(&state, target, &[]).await.status, 404, "{target}");
    }
}

#[tokio::test]
async fn no_answer_says_where_things_lie_but_those_that_are_to() {
    let state = state(Settings { start_rate_per_second: 0.0, ..Settings::default() }, None);
    let (data, segments) = (state.folder.path().join("data"), state.folder.path().join("segments"));
    let tells = ["/stepscope/v1/status", "/stepscope/v1/ranks"];
    for route in ROUTES {
        let path = route.path.replace("{id}", "latest");
        for (method, _) in route.operations {
            let reply = ask(&state, request(&method.to_uppercase(), &path, &[], b"")).await;
            assert!(!reply.body.contains(data.to_str().unwrap()), "{method} {path}: {}", reply.body);
            // A start without an engine says what `status` says.
            let may = tells.contains(&route.path) || reply.body.contains("no_engine");
            assert!(may || !reply.body.contains(segments.to_str().unwrap()), "{method} {path}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let state = impatient();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let reply = ask(&state, Request::post("/start_profile").body(never).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (408, "body_too_slow"));
}
