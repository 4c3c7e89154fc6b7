//! The sidecar as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::http::{Reply, request};
use super::{PATIENCE, Place, eventually, number, rows, stepscope};

/// A running sidecar; killed when dropped.
pub struct Sidecar {
    process: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Sidecar {
    /// Starts it on a place's folders; it answers when this returns.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::start_on(&place.segments(), &place.data(), arguments)
    }

    /// Starts it on any folders.
    pub fn start_on(segments: &Path, data: &Path, arguments: &[&str]) -> Self {
        Self::start_through(Command::new(stepscope()), segments, data, arguments)
    }

    /// Starts it through a command that ends in this program's path: as another user, in namespaces of its own.
    pub fn start_through(mut command: Command, segments: &Path, data: &Path, arguments: &[&str]) -> Self {
        let mut process = command
            .args(["serve", "--listen", "127.0.0.1:0", "--start-rate-per-second", "0"])
            .arg("--dir")
            .arg(segments)
            .arg("--data")
            .arg(data)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, lines) = (log.clone(), BufReader::new(process.stderr.take().unwrap()).lines());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = eventually("the sidecar to listen", || {
            let log = log.lock().unwrap();
            assert!(!log.contains("error: "), "{log}");
            let (_, rest) = log.split_once("listening on http")?;
            Some(rest.trim_start_matches('s').strip_prefix("://")?.split_whitespace().next()?.to_owned())
        });
        Self { process, address, log }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn get(&self, path: &str) -> Reply {
        request(&self.address, "GET", path, "")
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        request(&self.address, "POST", path, body)
    }

    pub fn start_profile(&self, body: &str) -> Value {
        self.post("/start_profile", body).ok()
    }

    pub fn stop_profile(&self) -> Value {
        self.post("/stop_profile", "").ok()
    }

    pub fn capture(&self, id: &str) -> Value {
        self.get(&format!("/stepscope/v1/captures/{id}")).ok()
    }

    /// The capture once nothing about it changes any more.
    pub fn finished(&self, id: &str) -> Value {
        eventually("the capture to end", || {
            let capture = self.capture(id);
            ["done", "cancelled", "failed"].contains(&capture["state"].as_str().unwrap()).then_some(capture)
        })
    }

    /// The capture once it is in this state.
    pub fn in_state(&self, id: &str, state: &str) -> Value {
        eventually(&format!("the capture to be {state}"), || {
            let capture = self.capture(id);
            (capture["state"] == state).then_some(capture)
        })
    }

    /// Waits until this many ranks are attached; returns them.
    pub fn attached(&self, ranks: usize) -> Vec<Value> {
        eventually(&format!("{ranks} attached ranks"), || {
            let status = self.get("/stepscope/v1/status").ok();
            let found = status["ranks"].as_array().unwrap().clone();
            (found.len() == ranks).then_some(found)
        })
    }

    /// Waits until every attached rank has begun at least this many iterations.
    pub fn begun(&self, iterations: u64) {
        eventually(&format!("{iterations} iterations"), || {
            let status = self.get("/stepscope/v1/status").ok();
            let ranks = status["ranks"].as_array().unwrap();
            let mut ranks = ranks.iter().filter(|r| r["role"] == "rank");
            ranks.all(|r| number(&r["ended"]) >= iterations).then_some(())
        });
    }

    pub fn ledger(&self, id: &str) -> Vec<Value> {
        let reply = self.get(&format!("/stepscope/v1/captures/{id}/iterations"));
        assert_eq!(reply.status, 200, "{}", reply.body);
        rows(&reply.body)
    }

    pub fn signal(&self, name: &str) {
        super::engine::signal(self.pid(), name);
    }

    /// Ends it with SIGTERM, in order.
    pub fn end(mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "the sidecar did not end: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the sidecar's log\n{}", self.log());
        }
    }
}
