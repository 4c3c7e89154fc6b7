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
const CALLS_EACH: usize = 100;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
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
        .args(["serve", "--listen", "127.0.0.1:0", "--start-rate-per-second", "0", "--data"])
        .arg(folder.path().join("data"))
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
    let taken: Mutex<Vec<(&str, u16, Duration)>> = Mutex::new(Vec::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CONNECTIONS {
            let (address, taken) = (&address, &taken);
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
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
                    std::thread::sleep(Duration::from_millis(30));
                }
            });
        }
    });
    let (elapsed, taken) = (began.elapsed(), taken.into_inner().unwrap());
    println!(
        "{} calls over {CONNECTIONS} connections in {:.1} s, beside 8 ranks stepping each millisecond, {} cores\n",
        taken.len(),
        elapsed.as_secs_f64(),
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    println!("| call | answers | p50 ms | p90 ms | p99 ms | max ms |\n| --- | --- | --- | --- | --- | --- |");
    for (name, status) in [("start", 200), ("start", 409), ("stop", 200), ("status", 200)] {
        let mut times: Vec<f64> =
            taken.iter().filter(|t| (t.0, t.1) == (name, status)).map(|t| t.2.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get(((times.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(f64::NAN);
        println!(
            "| {name} → {status} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            times.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    let odd = taken.iter().filter(|t| t.1 != 200 && t.1 != 409).count();
    assert_eq!(odd, 0, "answers other than 200 and 409");
}

fn call(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> (u16, String) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
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
