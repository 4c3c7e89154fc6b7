//! The disk of the captures stands still for longer than the lease, or stderr does: whoever waits for it, the windows stay
//! open.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{Ended, doctor, in_bounds, numbers, promised};
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

    // The disk goes on. Nothing was lost meanwhile.
    std::fs::read(&pipe).unwrap();
    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
    let ledger = sidecar.ledger(&id);
    for report in capture["ranks"].as_array().unwrap() {
        assert_eq!(report["closed_by"], "stop");
        assert!(number(&report["iterations"]) >= looks, "{capture:#}");
        assert_eq!(numbers(&ledger, number(&report["rank"])), promised(report));
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
