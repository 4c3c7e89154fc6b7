//! Slow and idle clients, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use stepscope::service::connections::{Bounds, answer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

async fn service(router: Router, bounds: Bounds) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let stopped = async move { drop(stopped.await) };
        answer(listener, router, bounds, stopped, Duration::from_secs(20)).await;
    });
    (address, stop, task)
}

/// Sends, and reads until the other side closes.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_finishes_its_head_is_cut_off_and_others_are_answered() {
    let bounds = Bounds { connections: 1, head: Duration::from_millis(200), ..Bounds::default() };
    let (address, stop, task) = service(Router::new().route("/", get(|| async { "here" })), bounds).await;
    // The one place is taken by a slow client; the next is answered once it is cut off.
    let slow = tokio::task::spawn_blocking(move || exchange(address, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "));
    let next = tokio::task::spawn_blocking(move || {
        exchange(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    });
    assert!(!slow.await.unwrap().contains("200 OK"));
    assert!(next.await.unwrap().ends_with("here"));
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_cut_off_and_others_are_answered() {
    let endless = get(|| async {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0u8; 1 << 16]));
        axum::body::Body::from_stream(chunks)
    });
    let router = Router::new().route("/", get(|| async { "here" })).route("/endless", endless);
    let bounds = Bounds { connections: 1, write: Duration::from_millis(200), ..Bounds::default() };
    let (address, stop, task) = service(router, bounds).await;
    let mut greedy = TcpStream::connect(address).unwrap();
    greedy.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let next = tokio::task::spawn_blocking(move || {
        exchange(address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    });
    assert!(next.await.unwrap().ends_with("here"));
    drop(greedy);
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_under_way_and_takes_nothing_new() {
    let (entered, mut inside) = tokio::sync::mpsc::channel::<()>(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let router = Router::new().route(
        "/",
        get(move || {
            let (entered, mut released) = (entered.clone(), released.clone());
            async move {
                entered.send(()).await.unwrap();
                released.wait_for(|released| *released).await.unwrap();
                "finished"
            }
        }),
    );
    let (address, stop, task) = service(router, Bounds::default()).await;
    let under_way = tokio::task::spawn_blocking(move || exchange(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    inside.recv().await.unwrap();
    stop.send(()).unwrap();
    // The listener is gone as soon as connecting is refused.
    let refused = tokio::task::spawn_blocking(move || {
        (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            TcpStream::connect(address).is_err()
        })
    });
    assert!(refused.await.unwrap());
    release.send(true).unwrap();
    assert!(under_way.await.unwrap().ends_with("finished"));
    task.await.unwrap();
}
