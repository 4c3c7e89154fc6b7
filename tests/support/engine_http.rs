//! An engine's own HTTP as vLLM speaks it: the routes of its profiler, a session that stays set until it is stopped, files that
//! are written when it stops. What it is to do wrong, a test says.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a stop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Writes its files and answers.
    Writes,
    /// The same, once the test has let it.
    Waits,
    /// Answers, and has written nothing.
    WritesNothing,
    /// The connection ends without an answer.
    Dies,
    /// Never answers.
    Hangs,
}

#[derive(Debug)]
struct State {
    /// Statuses of the next starts; then as the session is.
    starts: VecDeque<u16>,
    stop: Stop,
    released: bool,
    hides: bool,
    session: Option<String>,
    sessions: u32,
    log: Vec<String>,
    /// File name behind the prefix, and what is in it.
    files: Vec<(String, Vec<u8>)>,
}

/// A server on loopback for as long as the test runs.
pub struct EngineHttp {
    address: String,
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

impl EngineHttp {
    /// `profiles`: its profiler is enabled.
    pub fn start(folder: &Path, profiles: bool, stop: Stop) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let file = ("_dp0_pp0_tp0_rank0.1.pt.trace.json".to_owned(), trace(&[]));
        let state = Arc::new(Mutex::new(State {
            starts: VecDeque::new(),
            stop,
            released: false,
            hides: false,
            session: None,
            sessions: 0,
            log: Vec::new(),
            files: vec![file],
        }));
        let (known, place) = (state.clone(), folder.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (known, place) = (known.clone(), place.clone());
                std::thread::spawn(move || drop(answer(stream, &known, &place, profiles)));
            }
        });
        Self { address, folder: folder.to_owned(), state }
    }

    /// Flags for a sidecar that is to ask it.
    pub fn flags(&self) -> Vec<String> {
        let folder = self.folder.display().to_string();
        ["--engine-url", &format!("http://{}", self.address), "--engine-profile-dir", &folder]
            .map(str::to_owned)
            .to_vec()
    }

    /// Statuses that the next starts answer, whatever the session is.
    pub fn starts_answer(&self, statuses: &[u16]) {
        self.state.lock().unwrap().starts.extend(statuses);
    }

    /// Files that a stop writes.
    pub fn writes(&self, files: &[(&str, Vec<u8>)]) {
        self.state.lock().unwrap().files = files.iter().map(|(n, bytes)| ((*n).to_owned(), bytes.clone())).collect();
    }

    /// Lets a stop that waits go on.
    pub fn release(&self) {
        self.state.lock().unwrap().released = true;
    }

    /// From now on it does not say who it is.
    pub fn hides(&self, hides: bool) {
        self.state.lock().unwrap().hides = hides;
    }

    /// What was posted to it: `start BODY` or `stop`.
    pub fn posts(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

/// A file as PyTorch's profiler writes it, with an annotation at each of these times, nanoseconds since the epoch.
pub fn trace(begins_ns: &[u64]) -> Vec<u8> {
    let base_ns = begins_ns.first().copied().unwrap_or(1_795_780_000_000_000_000);
    let event = |ns: &u64| {
        format!(
            r#",{{"ph":"X","cat":"user_annotation","name":"execute_context_0(0)_generation_1(1)","pid":1,"tid":1,"ts":{:.3},"dur":10}}"#,
            (ns - base_ns) as f64 / 1e3
        )
    };
    let events: String = begins_ns.iter().map(event).collect();
    format!(
        r#"{{"schemaVersion":1,"traceEvents":[{{"ph":"X","cat":"cpu_op","name":"aten::add","pid":1,"tid":1,"ts":1.0,"dur":1}}{events}],"baseTimeNanoseconds":{base_ns}}}"#
    )
    .into_bytes()
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, folder: &Path, profiles: bool) -> std::io::Result<()> {
    loop {
        let mut reader = BufReader::new(&mut stream);
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).unwrap();
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        let (status, text) = match words[..] {
            ["GET", "/version"] if !state.lock().unwrap().hides => (200, r#"{"version":"0.32.0"}"#.to_owned()),
            [_, "/start_profile" | "/stop_profile"] if !profiles => (404, r#"{"detail":"Not Found"}"#.into()),
            ["GET", "/start_profile"] => (405, r#"{"detail":"Method Not Allowed"}"#.into()),
            ["POST", "/start_profile"] => start(state, &body),
            ["POST", "/stop_profile"] => match stop(state, folder) {
                Some(answer) => answer,
                None => return Ok(()),
            },
            _ => (404, r#"{"detail":"Not Found"}"#.into()),
        };
        // In one piece, as servers do: the kernel waits with a second one.
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes())?;
    }
}

fn start(state: &Mutex<State>, body: &str) -> (u16, String) {
    let mut state = state.lock().unwrap();
    state.log.push(format!("start {body}"));
    let said = |message: &str| format!(r#"{{"error":{{"message":"{message}"}}}}"#);
    match state.starts.pop_front() {
        None | Some(200) => {}
        Some(409) => {
            state.session.get_or_insert_default();
        }
        Some(other) => return (other, said("the engine says no")),
    }
    if state.session.is_some() {
        return (409, said("profiler already active: call /stop_profile first"));
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    state.session = Some(body["profile_prefix"].as_str().unwrap_or_default().to_owned());
    state.sessions += 1;
    (200, String::new())
}

fn stop(state: &Mutex<State>, folder: &Path) -> Option<(u16, String)> {
    state.lock().unwrap().log.push("stop".into());
    loop {
        let mut state = state.lock().unwrap();
        match state.stop {
            Stop::Dies => return None,
            Stop::Waits if state.released => {}
            Stop::Waits | Stop::Hangs => {
                drop(state);
                std::thread::sleep(std::time::Duration::from_millis(5));
                continue;
            }
            Stop::Writes | Stop::WritesNothing => {}
        }
        let session = state.session.take();
        if let Some(prefix) = session.filter(|_| state.stop != Stop::WritesNothing) {
            for (name, bytes) in &state.files {
                std::fs::write(folder.join(format!("{prefix}{name}")), bytes).unwrap();
            }
        }
        return Some((200, String::new()));
    }
}
