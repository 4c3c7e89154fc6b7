//! A replica with its sidecar, a target that behaves as it is told, and `stepscope run` around a command.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Engine, PATIENCE, Place, Sidecar, eventually, stepscope};

/// An engine of one rank that steps all the time, and its sidecar.
pub struct Replica {
    pub sidecar: Sidecar,
    pub engine: Engine,
    pub place: Place,
}

impl Replica {
    pub fn start(arguments: &[&str]) -> Self {
        let place = Place::new();
        let engine = ["--iterations", "0", "--ranks", "1", "--step-us", "2000"];
        let engine = Engine::start(&place.segments(), &engine);
        let sidecar = Sidecar::start(&place, arguments);
        sidecar.attached(1);
        sidecar.begun(3);
        Self { sidecar, engine, place }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.sidecar.address())
    }

    /// Waits until nothing is on: what a sidecar says of itself is a tenth of a second old at the most.
    pub fn quiet(&self) {
        eventually("nothing to be on any more", || self.is_quiet().then_some(()));
    }

    /// No capture runs, and no window is armed or open in any rank.
    fn is_quiet(&self) -> bool {
        let status = self.sidecar.get("/stepscope/v1/status").ok();
        let gates = status["ranks"].as_array().unwrap().iter().map(|rank| rank["gate"].as_str().unwrap().to_owned());
        gates.into_iter().all(|gate| matches!(gate.as_str(), "idle" | "closed")) && status["running"].is_null()
    }
}

/// What a target does with a request.
pub enum Does {
    /// Answers itself.
    Says(u16, &'static str),
    /// Answers, and does not come to an end.
    TalksOn(u16),
    /// Asks this address, so many milliseconds later.
    Asks(String, u64),
}

/// A server on loopback that does as it is told.
pub struct Target {
    address: String,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Target {
    /// `does` gets the request line without its version, `POST /path?query`.
    pub fn start(does: impl Fn(&str) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, does) = (seen.clone(), Arc::new(does));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, does) = (kept.clone(), does.clone());
                std::thread::spawn(move || serve(stream, &kept, &*does));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, each with its body.
    pub fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self, line: &str) -> usize {
        self.seen().iter().filter(|(seen, _)| seen.starts_with(line)).count()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<(String, String)>>, does: &dyn Fn(&str) -> Does) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let line = first.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    seen.lock().unwrap().push((line.clone(), body.clone()));
    let mut stream = stream;
    match does(&line) {
        Does::Says(status, answer) => {
            let length = answer.len();
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}").ok()
        }
        Does::TalksOn(status) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n").ok()?;
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
            None
        }
        Does::Asks(address, after_ms) => {
            std::thread::sleep(std::time::Duration::from_millis(after_ms));
            let mut there = TcpStream::connect(&address).ok()?;
            let length = body.len();
            let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}");
            write!(there, "{head}\r\n\r\n{body}").ok()?;
            std::io::copy(&mut there, &mut stream).ok().map(drop)
        }
    }
}

/// An address where nobody is.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// `stepscope run`, and what it leaves.
pub struct Run {
    folder: tempfile::TempDir,
}

/// How it went.
pub struct Went {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command line, not started: options first, the shell command last.
    pub fn command(&self, urls: &[String], options: &[&str], shell: &str) -> Command {
        // Whoever runs tests in the background has SIGINT ignored, and so would the command have.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(stepscope()).args(["run", "--out"]).arg(self.out());
        for url in urls {
            command.args(["--target", url]);
        }
        command.args(options).args(["--", "sh", "-c", shell]);
        command.env("STEPSCOPE", stepscope()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, urls: &[String], options: &[&str], shell: &str) -> Child {
        self.command(urls, options, shell).spawn().unwrap()
    }

    pub fn finish(&self, urls: &[String], options: &[&str], shell: &str) -> Went {
        went(self.start(urls, options, shell))
    }

    pub fn record(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.out().join("profiling.json")).unwrap()).unwrap()
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(self.out().join("profiling.txt")).unwrap()
    }

    /// Names of what was left.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.out())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub fn went(child: Child) -> Went {
    use std::os::unix::process::ExitStatusExt;
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE).expect("it ends by itself").unwrap();
    Went {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The one element that is of this target.
pub fn of_target(list: &Value, target: usize) -> Value {
    let mut found = list.as_array().unwrap().iter().filter(|element| element["target"] == target);
    let first = found.next().unwrap_or_else(|| panic!("nothing of target {target} in {list:#}"));
    assert!(found.next().is_none(), "{list:#}");
    first.clone()
}
