//! Start, stop and status over HTTP while eight ranks step every millisecond: how long the answers take.
//!
//! `cargo bench --bench http`. Real processes: the simulated engine, the sidecar, 64 connections that are kept open.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
const CALLS_EACH: usize = 150;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    println!(
        "{CONNECTIONS} connections beside 8 ranks stepping each millisecond, {} cores\n",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    // What a sidecar takes unless it is told otherwise; and as many captures as there is room for.
    measure("the default of 10 starts a second", &[]);
    measure("starts without bound", &["--start-rate-per-second", "0"]);
}

/// One engine, one sidecar, one load, one table.
fn measure(load: &str, settings: &[&str]) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    // Captures lie on a disk in real life.
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let stepscope = env!("CARGO_BIN_EXE_stepscope");
    let segments = folder.path().join("segments");
    let _engine = Killed(
        Command::new(stepscope)
            .args(["engine", "--ranks", "8", "--iterations", "0", "--step-us", "1000"])
            .env("STEPSCOPE_DIR", &segments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut sidecar = Command::new(stepscope)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(settings)
        .arg("--data")
        .arg(data.path())
        .arg("--dir")
        .arg(&segments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(sidecar.stderr.take().unwrap());
    let _sidecar = Killed(sidecar);
    let (said, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on http://") {
                said.send(rest.trim().to_owned()).unwrap();
            }
        }
    });
    let address = address.recv_timeout(Duration::from_secs(30)).unwrap();
    let mut probe = TcpStream::connect(&address).unwrap();
    while call(&mut probe, "GET", "/stepscope/v1/ranks", "").1.matches("\"rank\":").count() < 8 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (elapsed, taken) = calls(&address);
    println!("{load}: {} calls in {:.1} s\n", taken.len(), elapsed.as_secs_f64());
    println!(
        "| call | answers | a second | p50 ms | p90 ms | p99 ms | max ms |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for (name, status) in [("start", 200), ("start", 409), ("start", 429), ("stop", 200), ("status", 200)] {
        let mut times: Vec<f64> =
            taken.iter().filter(|t| (t.0, t.1) == (name, status)).map(|t| t.2.as_secs_f64() * 1e3).collect();
        if times.is_empty() {
            continue;
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() as f64 - 1.0) * share) as usize];
        println!(
            "| {name} → {status} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            times.len(),
            times.len() as f64 / elapsed.as_secs_f64(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    println!();
    let odd = taken.iter().filter(|t| ![200, 409, 429].contains(&t.1)).count();
    assert_eq!(odd, 0, "answers other than 200, 409 and 429");
}

/// What was called, the answer's status, and how long it took.
type Taken = (&'static str, u16, Duration);

/// All clients at once.
fn calls(address: &str) -> (Duration, Vec<Taken>) {
    let taken: Mutex<Vec<Taken>> = Mutex::new(Vec::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CONNECTIONS {
            let taken = &taken;
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                // Clients of their own minds: alike, they would soon call all at the same moment.
                let mut pause = Duration::from_micros(20_000 + 313 * client as u64);
                for turn in 0..CALLS_EACH {
                    let (name, method, path, body) = match (client + turn) % 3 {
                        0 => ("start", "POST", "/start_profile", r#"{"max_iterations": 4}"#),
                        1 => ("stop", "POST", "/stop_profile", ""),
                        _ => ("status", "GET", "/stepscope/v1/status", ""),
                    };
                    let began = Instant::now();
                    let (status, _) = call(&mut stream, method, path, body);
                    taken.lock().unwrap().push((name, status, began.elapsed()));
                    // Two cores cannot feed 64 clients that never rest: 64 connections at about 2,000 calls a second.
                    std::thread::sleep(pause);
                    pause = Duration::from_micros((pause.as_micros() as u64 * 7 + 1_013) % 20_000 + 20_000);
                }
            });
        }
    });
    (began.elapsed(), taken.into_inner().unwrap())
}

fn call(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> (u16, String) {
    // In one write, as clients do: a body that comes later is not waited for by an answer that needs none of it.
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}
