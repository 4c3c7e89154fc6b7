//! HTTP/2 with prior knowledge at the front, HTTP/1.1 behind it.

use axum::body::Body;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::support::{Engine, Front};

async fn connect(front: &Front) -> http2::SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(front.sidecar.address()).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_pass_side_by_side_with_one_cookie_and_their_own_host() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let sender = connect(&front).await;
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let request = Request::get(format!("http://public:1/{n}?q"))
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(Body::empty())
                .unwrap();
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let answer = sender.send_request(request).await.unwrap();
                let body = axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await.unwrap();
                String::from_utf8(body.to_vec()).unwrap()
            })
        })
        .collect();
    for (n, asked) in asked.into_iter().enumerate() {
        let seen = asked.await.unwrap();
        assert!(seen.starts_with(&format!("GET /{n}?q HTTP/1.1\r\n")), "{seen}");
        for line in ["host: public:1\r\n", "cookie: a=1; b=2\r\n", "via: 2.0 stepscope\r\n"] {
            assert!(seen.contains(line), "{line}: {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_takes_the_engines_connection_along_and_ours_are_answered_too() {
    let (gone, mut seen) = tokio::sync::mpsc::channel(1);
    let engine = Engine::start(move |connection| {
        connection.head().unwrap();
        connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n");
        gone.blocking_send(connection.closed()).unwrap();
    });
    let front = Front::of(engine.address);
    let mut sender = connect(&front).await;
    let request = Request::post("http://localhost/x").body(Body::from("abc")).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert!(engine.heads()[0].contains("content-length: 3\r\n"));
    drop(answer);
    assert!(seen.recv().await.unwrap());
    let ours = Request::get("http://localhost/stepscope/v1/healthz").body(Body::empty()).unwrap();
    assert_eq!(sender.send_request(ours).await.unwrap().status(), 200);
}
