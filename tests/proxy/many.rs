//! A thousand streams at once: every byte the same as without the proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Router, response::Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

use super::support::Front;

const STREAMS: usize = 1000;
const TOKENS: u64 = 40;

/// So many tiny tokens, not before all streams are there.
async fn tokens(State(all): State<Arc<Barrier>>, Path(seed): Path<u64>, body: Bytes) -> Response {
    all.wait().await;
    let tokens = futures_util::stream::unfold(0, move |n| {
        let body = body.clone();
        async move {
            if n == TOKENS {
                return None;
            }
            tokio::task::yield_now().await;
            let text = format!("data: {seed}-{n}-{}\n\n", body.len());
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), n + 1))
        }
    });
    Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(tokens)).unwrap()
}

/// All of an answer, with what was left of its chunks taken out.
async fn ask(address: SocketAddr, seed: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = "x".repeat(seed % 700);
    let request = format!(
        "POST /v1/{seed} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, mut chunks) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let mut whole = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, "\r\n", "ended in order");
            return whole;
        }
        whole.push_str(&rest[..size]);
        chunks = &rest[size + 2..];
    }
}

async fn all(address: SocketAddr) -> Vec<String> {
    let asked: Vec<_> = (0..STREAMS).map(|seed| tokio::spawn(ask(address, seed))).collect();
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_at_once_are_the_same_to_the_byte_as_without_a_proxy() {
    // Both ends of each, through the proxy or not, are in this process.
    stepscope::proxy::descriptors::room_for(4 * STREAMS);
    let engine = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = engine.local_addr().unwrap();
    let router = Router::new().route("/v1/{seed}", post(tokens)).with_state(Arc::new(Barrier::new(STREAMS)));
    tokio::spawn(async move { axum::serve(engine, router).await.unwrap() });
    let front = tokio::task::spawn_blocking(move || Front::of(address)).await.unwrap();
    let plain = all(address).await;
    let passed = all(front.sidecar.address().parse().unwrap()).await;
    assert!(plain == passed, "some stream is another");
    assert!(passed[7].starts_with("data: 7-0-7\n\n") && passed[7].ends_with("data: 7-39-7\n\n"));
    tokio::task::spawn_blocking(move || front.counts("stepscope_proxy_requests_total{class=\"2xx\"}", STREAMS as u64))
        .await
        .unwrap();
}
