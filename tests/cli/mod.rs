//! The command as its user meets it: real processes, against a real HTTP server on loopback that says what it is told.

mod contract;
mod demo;
mod doctor;
mod errors;
mod get;
mod guarded;
mod help;
mod launch;
mod merge;
mod report;
mod start_stop;
mod table;

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use tokio::sync::oneshot;

/// Runs `stepscope` with nothing of this process's environment.
fn stepscope(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepscope"));
    command.args(arguments).env_clear();
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    authorization: Option<String>,
    body: String,
}

/// A server on loopback, gone when dropped.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// `answer` gets the request line, `GET /path?query`.
    fn new(answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let log = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let (head, body) = request.into_parts();
                let line = format!("{} {}", head.method, head.uri);
                let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let authorization = head.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
                let body = String::from_utf8(body.to_vec()).unwrap();
                log.lock().unwrap().push(Seen { line: line.clone(), authorization, body });
                answer(&line)
            }
        });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { url, seen, stop: Some(stop), thread: Some(thread) }
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// An answer with a JSON body.
fn json(status: u16, body: impl Into<String>) -> Response {
    Response::builder().status(status).header("content-type", "application/json").body(body.into().into()).unwrap()
}

/// A capture of two ranks, in the given state.
fn capture(state: &str, complete: &str) -> String {
    let ended = state == "done";
    let rank = |rank: u32| {
        serde_json::json!({
            "job": "j", "group": "0", "rank": rank, "label": format!("tp{rank}"), "engine": "vllm 0.32.0", "pid": 100 + rank,
            "state": if ended { "closed" } else { "waiting" }, "accepted_iteration": 4711,
            "first_iteration": if ended { Some(4721) } else { None }, "last_iteration": if ended { Some(4724) } else { None },
            "iterations": if ended { 4 } else { 0 }, "dropped": 0, "closed_by": if ended { Some("max_iterations") } else { None },
        })
    };
    serde_json::json!({
        "capture_id": "01928000-0000-7000-8000-000000000001", "state": state,
        "complete": serde_json::from_str::<serde_json::Value>(complete).unwrap(),
        "missing": if complete == "false" { vec!["rank 1 of group 0: killed after iteration 4722"] } else { vec![] },
        "closed_by": if ended { Some("max_iterations") } else { None },
        "reason": if state == "failed" { Some("no space left in /data") } else { None },
        "accepted_at": "2026-11-21T10:00:00.5Z",
        "window": {"delay_iterations": 10, "max_iterations": 4},
        "groups": [{"job": "j", "group": "0", "accepted_iteration": 4711, "first_iteration": 4721, "last_iteration": 4724}],
        "ranks": [rank(1), rank(0)],
        "a_field_of_a_later_version": {"x": 1},
    })
    .to_string()
}
