//! How far apart 16 captures begin: `stepscope run` beside a client that calls one server after the other.
//!
//! `cargo bench --bench trigger`. Real processes: 16 simulated engines that step every 2 ms, each with its sidecar, all on
//! one clock. Both ways take turns in one run. The other client is what a benchmark's own does: a new connection and an
//! empty POST for each server, the next one when the one before has answered.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const TARGETS: usize = 16;
const ROUNDS: usize = 20;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An engine and its sidecar.
struct Replica {
    _engine: Killed,
    _sidecar: Killed,
    _folder: tempfile::TempDir,
    address: String,
}

/// Spreads in nanoseconds: calls sent, windows agreed on, windows opened; and until the last call was answered.
type Skew = [u64; 4];

fn main() {
    let replicas: Vec<Replica> = (0..TARGETS).map(|_| replica()).collect();
    let addresses: Vec<&str> = replicas.iter().map(|replica| replica.address.as_str()).collect();
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(together(&addresses, &folder.path().join(round.to_string())));
        theirs.push(one_after_the_other(&addresses));
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{TARGETS} targets, {ROUNDS} rounds each in turns, {cores} cores; milliseconds, median and most\n");
    println!("| apart by | `stepscope run` | most | one after the other | most |\n| --- | ---: | ---: | ---: | ---: |");
    let what = ["calls sent", "windows agreed on", "windows opened", "(all of it, first call to last answer)"];
    for (at, what) in what.into_iter().enumerate() {
        let [(ours, most), (theirs, most_of_theirs)] = [&ours, &theirs].map(|skews| middle_and_most(skews, at));
        println!("| {what} | {ours:.2} | {most:.2} | {theirs:.2} | {most_of_theirs:.2} |");
    }
}

fn middle_and_most(skews: &[Skew], at: usize) -> (f64, f64) {
    let mut times: Vec<f64> = skews.iter().map(|skew| skew[at] as f64 / 1e6).collect();
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() - 1])
}

/// Our way.
fn together(addresses: &[&str], out: &Path) -> Skew {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepscope"));
    command.args(["run", "--quiet", "--no-merge", "--max-iterations", "20", "--timeout", "10", "--out"]).arg(out);
    addresses.iter().for_each(|address| {
        command.args(["--target", &format!("http://{address}")]);
    });
    assert!(command.args(["--", "sleep", "0.3"]).status().unwrap().success());
    let record: Value = serde_json::from_slice(&std::fs::read(out.join("profiling.json")).unwrap()).unwrap();
    let phase = &record["phases"][0];
    let started = phase["captures"].as_array().unwrap().iter().filter(|c| c["complete"] == true).count();
    assert_eq!(started, addresses.len(), "{phase:#}");
    let skew = |name: &str| phase["skew"][name].as_u64().unwrap();
    [skew("calls_ns"), skew("agreed_ns"), skew("opened_ns"), phase["start_duration_ns"].as_u64().unwrap()]
}

/// The other way: sixteen starts, sixteen stops.
fn one_after_the_other(addresses: &[&str]) -> Skew {
    let began = Instant::now();
    let mut sent = Vec::new();
    for address in addresses {
        sent.push(began.elapsed().as_nanos() as u64);
        call(address, "POST", "/start_profile");
    }
    let all = began.elapsed().as_nanos() as u64;
    std::thread::sleep(Duration::from_millis(300));
    addresses.iter().for_each(|address| drop(call(address, "POST", "/stop_profile")));
    let captures: Vec<Value> =
        addresses.iter().map(|address| call(address, "GET", "/stepscope/v1/captures/latest?wait=10")).collect();
    assert!(captures.iter().all(|capture| capture["complete"] == true));
    let agreed = captures.iter().map(|capture| capture["agreed_at_ns"].as_u64().unwrap());
    let opened = captures.iter().map(|capture| capture["ranks"][0]["opened_at_ns"].as_u64().unwrap());
    [spread(sent.into_iter()), spread(agreed), spread(opened), all]
}

fn spread(times: impl Iterator<Item = u64> + Clone) -> u64 {
    times.clone().max().unwrap() - times.min().unwrap()
}

fn replica() -> Replica {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (segments, data) = (folder.path().join("segments"), folder.path().join("data"));
    let stepscope = env!("CARGO_BIN_EXE_stepscope");
    let mut engine = Command::new(stepscope);
    engine.args(["engine", "--ranks", "1", "--iterations", "0", "--step-us", "2000"]);
    let engine = engine.env("STEPSCOPE_DIR", &segments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut sidecar = Command::new(stepscope);
    sidecar.args(["serve", "--listen", "127.0.0.1:0", "--default-max-iterations", "20"]);
    sidecar.args(["--start-rate-per-second", "0", "--dir"]).arg(&segments).arg("--data").arg(&data);
    let mut sidecar = sidecar.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(sidecar.stderr.take().unwrap()).lines();
    let (engine, sidecar) = (Killed(engine), Killed(sidecar));
    let address = loop {
        let line = log.next().unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("listening on http://") {
            break rest.split_whitespace().next().unwrap().to_owned();
        }
    };
    std::thread::spawn(move || log.for_each(drop));
    while call(&address, "GET", "/stepscope/v1/ranks")["ranks"][0]["ended"].as_u64().unwrap_or(0) < 10 {
        std::thread::sleep(Duration::from_millis(20));
    }
    Replica { _engine: engine, _sidecar: sidecar, _folder: folder, address }
}

/// One connection, one call, as a benchmark's own client makes it.
fn call(address: &str, method: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
    serde_json::from_str(body).unwrap()
}
