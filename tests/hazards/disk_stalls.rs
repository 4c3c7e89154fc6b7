//! The disk of the captures stands still for longer than the lease, or stderr does: whoever waits for it, the windows stay
//! open, and what is recorded meanwhile is kept, or counted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{Ended, captures_whole, doctor, in_bounds, numbers, promised};
use crate::support::{Engine, Place, Sidecar, eventually, number, request, stepscope};

const LEASE: Duration = Duration::from_secs(2);

#[test]
fn a_window_outlives_a_stall_and_its_records_wait_in_the_rings() {
    let place = Place::new();
    let mut engine = Engine::start(&place.segments(), &["--paced", "--iterations", "0"]);
    let sidecar = Sidecar::start(&place, &["--lease-ms", &LEASE.as_millis().to_string()]);
    sidecar.attached(2);
    let id = sidecar.start_profile(r#"{"delay_iterations": 5}"#)["capture_id"].as_str().unwrap().to_owned();
    // Where the next manifest is written first: opening a pipe that nobody reads blocks, as a write to a disk does.
    let pipe = place.data().join("captures").join(&id).join("manifest.json.part");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    engine.make(3);
    let task = format!("/proc/{}/task", sidecar.pid());
    eventually("the thread that writes to stand still", || {
        let threads = std::fs::read_dir(&task).unwrap().flatten().map(|t| t.path());
        let mut writers =
            threads.filter(|t| std::fs::read_to_string(t.join("comm")).is_ok_and(|n| n == "stepscope-files\n"));
        // What it waits in, by number: openat on x86-64, on aarch64.
        let call = std::fs::read_to_string(writers.next()?.join("syscall")).ok()?;
        (call.starts_with("257 ") || call.starts_with("56 ")).then_some(())
    });

    engine.make(20);
    eventually("the window", || doctor(&place.segments()).contains("gate open").then_some(()));
    let began = Instant::now();
    let mut looks = 0;
    while began.elapsed() < 2 * LEASE {
        engine.make(1);
        looks += 1;
        assert!(!doctor(&place.segments()).contains("gate closed"), "after {:?}", began.elapsed());
    }
    // All others are answered, and see what is.
    sidecar.begun(20 + looks);
    in_bounds("a start", || assert_eq!(sidecar.post("/start_profile", "").status, 409));
    let stopped = in_bounds("a stop", || sidecar.stop_profile());
    assert_eq!(stopped["capture_id"], id.as_str());
    eventually("both windows to be closed", || {
        (doctor(&place.segments()).matches("gate closed").count() == 2).then_some(())
    });
    assert_eq!(sidecar.in_state(&id, "draining")["closed_by"], "stop");

    // A start waits for what is drained, and not for ever; two at once is one too many.
    let refused = in_bounds("two starts behind it", || {
        std::thread::scope(|scope| {
            let starts = [(); 2].map(|()| scope.spawn(|| sidecar.post("/start_profile", "")));
            starts.map(|start| start.join().unwrap())
        })
    });
    for reply in refused {
        assert!(reply.status == 409 && reply.message().contains(&id), "{}", reply.body);
    }
    // One that waits and whose caller goes is none: the next one waits in its place.
    let mut gone = std::net::TcpStream::connect(sidecar.address()).unwrap();
    gone.write_all(b"POST /start_profile HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(gone);
    std::thread::sleep(Duration::from_millis(50));
    // The disk goes on, and so does who waited for it. Nothing was lost meanwhile.
    let next = std::thread::scope(|scope| {
        let start = scope.spawn(|| sidecar.post("/start_profile", ""));
        std::thread::sleep(Duration::from_millis(50));
        std::fs::read(&pipe).unwrap();
        start.join().unwrap()
    });
    assert_eq!(next.status, 200, "{}", next.body);
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
    let ledger = sidecar.ledger(&id);
    for report in capture["ranks"].as_array().unwrap() {
        assert_eq!(report["closed_by"], "stop");
        assert!(number(&report["iterations"]) >= looks, "{capture:#}");
        assert_eq!(numbers(&ledger, number(&report["rank"])), promised(report));
    }
}

/// Rings of 1,024 records, which the engine fills in a fraction of what the disk stands still.
const SMALL: [(&str, &str); 1] = [("STEPSCOPE_SEGMENT_BYTES", "1048576")];
const FAST: [&str; 6] = ["--ranks", "2", "--iterations", "0", "--step-us", "300"];
const ITERATIONS: u64 = 5_000;

/// Starts a capture whose writer stands still from its window's opening on: where it writes the manifest that says so there
/// is a pipe that nobody reads. Returns when many times what a ring holds was recorded, and seconds have passed.
fn stalled(sidecar: &Sidecar, place: &Place) -> (String, std::path::PathBuf) {
    sidecar.begun(50);
    let body = r#"{"delay_iterations": 1000}"#;
    let id = sidecar.start_profile(body)["capture_id"].as_str().unwrap().to_owned();
    let folder = place.data().join("captures").join(&id);
    eventually("the delay to be written down", || {
        let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        manifest.contains("\"state\": \"delaying\"").then_some(())
    });
    let pipe = folder.join("manifest.json.part");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    sidecar.in_state(&id, "recording");
    let begun = number(&sidecar.attached(2)[0]["begun"]);
    let began = Instant::now();
    sidecar.begun(begun + ITERATIONS);
    eventually("three seconds", || (began.elapsed() >= Duration::from_secs(3)).then_some(()));
    (id, pipe)
}

/// Iterations while the window was open: those that an engine begins before it sees the stop are beyond the window, and
/// recorded.
fn stepped(report: &serde_json::Value) -> u64 {
    number(&report["iterations"]) + number(&report["overrun_iterations"])
}

#[test]
fn what_a_stalled_disk_does_not_take_waits_in_memory_and_nothing_is_lost() {
    let place = Place::new();
    let _engine = Engine::start_with(&place.segments(), &FAST, &SMALL);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let (id, pipe) = stalled(&sidecar, &place);
    let buffered = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("stepscope_buffered_bytes")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(buffered(&sidecar.get("/metrics").body) > ITERATIONS * 64, "the rings are small");
    std::fs::read(&pipe).unwrap();
    sidecar.stop_profile();

    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
    assert_eq!((number(&capture["dropped"]), &capture["missing"]), (0, &serde_json::json!([])), "{capture:#}");
    assert!(capture["warnings"].to_string().contains("bytes of records waited in memory"), "{capture:#}");
    let ledger = sidecar.ledger(&id);
    for report in capture["ranks"].as_array().unwrap() {
        assert!(number(&report["iterations"]) > ITERATIONS, "{capture:#}");
        assert_eq!(numbers(&ledger, number(&report["rank"])), promised(report));
        // A thread's name is a record too.
        assert_eq!(number(&report["records"]), stepped(report) + 1, "nothing came twice");
    }
    assert_eq!(buffered(&sidecar.get("/metrics").body), 0);
    captures_whole(&sidecar, 50);
}

#[test]
fn what_was_in_memory_alone_when_the_sidecar_died_is_counted_by_the_next_one() {
    let place = Place::new();
    let _engine = Engine::start_with(&place.segments(), &FAST, &SMALL);
    let first = Sidecar::start(&place, &[]);
    first.attached(2);
    let (id, pipe) = stalled(&first, &place);
    first.kill();
    std::fs::remove_file(&pipe).unwrap();

    let second = Sidecar::start(&place, &[]);
    let capture = second.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    let (ledger, missing) = (second.ledger(&id), capture["missing"].to_string());
    for report in capture["ranks"].as_array().unwrap() {
        let [lost, records] = ["lost", "records"].map(|field| number(&report[field]));
        let iterations = stepped(report);
        assert!(lost > ITERATIONS / 2, "{capture:#}");
        // To the last one: each iteration is a record, and the name of its thread one more.
        assert_eq!(records + lost + number(&report["dropped"]), iterations + 1, "{capture:#}");
        let found = numbers(&ledger, number(&report["rank"]));
        assert!(found.is_sorted_by(|a, b| a < b), "nothing came twice, nothing is out of order");
        // The ledger ends with the window.
        let unrecorded = number(&report["iterations"]) - found.len() as u64;
        assert!(missing.contains(&format!("{lost} records died with the sidecar")), "{missing}");
        assert!(missing.contains(&format!("{unrecorded} iterations have no record")), "{missing}");
    }
    // It is said once: the next capture has lost nothing.
    let next = captures_whole(&second, 50);
    assert!(next["ranks"].as_array().unwrap().iter().all(|report| report["lost"] == 0), "{next:#}");
}

#[test]
fn with_little_memory_a_stalled_disk_costs_records_and_they_are_counted() {
    let place = Place::new();
    let _engine = Engine::start_with(&place.segments(), &FAST, &SMALL);
    let sidecar = Sidecar::start(&place, &["--buffer-bytes", "65536"]);
    sidecar.attached(2);
    let (id, pipe) = stalled(&sidecar, &place);
    std::fs::read(&pipe).unwrap();
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &false.into()), "{capture:#}");
    for report in capture["ranks"].as_array().unwrap() {
        let [dropped, records] = ["dropped", "records"].map(|field| number(&report[field]));
        assert!(dropped > ITERATIONS / 2, "{capture:#}");
        assert_eq!(records + dropped, stepped(report) + 1, "{capture:#}");
    }
}

#[test]
fn a_sidecar_whose_stderr_nobody_reads_answers_as_ever() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--ranks", "2", "--iterations", "0", "--step-us", "1000"]);
    let log = place.path().join("log");
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    // Both ends are held open, so that neither side meets an end of file; nothing is read but what says the address.
    let pipe = std::fs::File::options().read(true).write(true).open(&log).unwrap();
    let mut command = Command::new(stepscope());
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "trace", "--dir"]).arg(place.segments());
    command.arg("--data").arg(place.data()).stdin(Stdio::null()).stderr(pipe.try_clone().unwrap());
    let _sidecar = Ended(command.spawn().unwrap());
    let mut lines = BufReader::new(pipe).lines().map(Result::unwrap);
    let said = lines.find_map(|l| Some(l.split_once("listening on http://")?.1.trim().to_owned())).unwrap();
    // A pipe holds 64 KiB; each of these is told of in more than a hundred bytes.
    in_bounds("a thousand calls", || {
        for _ in 0..1000 {
            assert_eq!(request(&said, "GET", "/stepscope/v1/status", "").status, 200);
        }
    });
}
