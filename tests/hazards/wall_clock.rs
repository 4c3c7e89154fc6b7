//! Somebody sets the wall clock in the middle of a window.

use std::os::unix::fs::FileExt;
use std::process::Command;

use serde_json::json;
use stepscope::wire::clock::realtime_ns;

use super::support::{grows, numbers, promised, rank_of, tracks_in_order};
use crate::support::{Engine, Place, Sidecar, fakes, number, stepscope};

const HOUR_NS: i64 = 3_600_000_000_000;
/// Far above what two readings of the clocks differ by, on a machine that does other things too.
const NEARLY_NS: i64 = 50_000_000;

#[test]
fn iterations_keep_their_order_and_length_and_everybody_says_how_far_it_was_set() {
    for stepped_ns in [HOUR_NS, -HOUR_NS] {
        let place = Place::new();
        let path = place.path().join("clock");
        std::fs::write(&path, [0; 8]).unwrap();
        let clock = std::fs::File::options().write(true).open(&path).unwrap();
        let library = fakes::library("wall_clock", "libwall_clock.so", &["-ldl"]);
        let fake = [("LD_PRELOAD", library.to_str().unwrap()), ("FAKE_WALL_CLOCK", path.to_str().unwrap())];
        let arguments = ["--requests", "--ranks", "2", "--iterations", "0", "--step-us", "1000"];
        let _engine = Engine::start_with(&place.segments(), &arguments, &fake);
        let mut command = Command::new(stepscope());
        command.envs(fake);
        let sidecar = Sidecar::start_through(command, &place.segments(), &place.data(), &[]);
        sidecar.attached(3);
        sidecar.begun(50);
        let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
        sidecar.in_state(&id, "recording");
        grows(&sidecar, &id);
        clock.write_all_at(&stepped_ns.to_ne_bytes(), 0).unwrap();
        grows(&sidecar, &id);
        sidecar.stop_profile();
        let capture = sidecar.finished(&id);

        // Nothing of it can be seen in the iterations.
        assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
        let ledger = sidecar.ledger(&id);
        for rank in [0, 1] {
            assert_eq!(numbers(&ledger, rank), promised(&rank_of(&capture, rank)));
            let rows: Vec<_> = ledger.iter().filter(|row| number(&row["rank"]) == rank).collect();
            for pair in rows.windows(2) {
                let [begin_ns, next_ns] = [&pair[0], &pair[1]].map(|row| number(&row["start_ns"]));
                assert!(begin_ns + number(&pair[0]["duration_ns"]) <= next_ns, "{pair:#?}");
                assert!(next_ns - begin_ns < HOUR_NS as u64 / 60, "{pair:#?}");
            }
        }

        // And it is said, by the same number everywhere.
        let said_ns = capture["wall_clock_stepped_ns"].as_i64().unwrap();
        assert!((said_ns - stepped_ns).abs() < NEARLY_NS, "{said_ns}");
        assert!(capture["warnings"].to_string().contains("the wall clock was set"), "{capture:#}");
        let trace = sidecar.get(&format!("/stepscope/v1/captures/{id}/trace?format=json")).ok();
        let metadata = &trace["metadata"]["clock"];
        assert_eq!(metadata["wall_clock_stepped_ns"], said_ns);
        assert_eq!(metadata["epoch"], "CLOCK_REALTIME of the newest anchor");
        let report = sidecar.get(&format!("/stepscope/v1/captures/{id}/report?format=json")).ok();
        assert_eq!(report["window"]["wall_clock_stepped_ns"], said_ns);

        // Times are by the clock as it is now, those of the windows too.
        let now_ns = realtime_ns() as i64 + stepped_ns;
        let [first_ns, last_ns] = [ledger.first(), ledger.last()].map(|row| number(&row.unwrap()["start_ns"]) as i64);
        assert!(first_ns < now_ns && now_ns - first_ns < HOUR_NS / 2, "{first_ns} {now_ns}");
        for rank in capture["ranks"].as_array().unwrap() {
            let [opened_ns, closed_ns] = [&rank["opened_at_ns"], &rank["closed_at_ns"]].map(|at| number(at) as i64);
            assert!(opened_ns <= first_ns + NEARLY_NS, "{opened_ns} {first_ns}");
            assert!(closed_ns + NEARLY_NS >= last_ns, "{closed_ns} {last_ns}");
            assert!(closed_ns - opened_ns < HOUR_NS / 2);
        }
        let tracks = tracks_in_order(&trace);
        let ends = tracks.iter().flatten().map(|(_, end_ns, _)| *end_ns);
        assert!(ends.max().unwrap() < HOUR_NS / 2, "nothing lies an hour away");
        let told = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["cat"] == "scheduler");
        assert!(told.count() > 50, "what was told besides lies in the window too");

        // Whoever else recorded meanwhile may lie that far off.
        let ours = place.path().join("ours.json");
        std::fs::write(&ours, trace.to_string()).unwrap();
        let theirs = place.path().join("theirs.json");
        let event = json!({"ph": "X", "pid": 7, "tid": 1, "ts": 0, "dur": 1, "name": "theirs"});
        std::fs::write(&theirs, json!({"baseTimeNanoseconds": first_ns, "traceEvents": [event]}).to_string()).unwrap();
        let merged = Command::new(stepscope())
            .args(["merge", "-o", place.path().join("out.json").to_str().unwrap()])
            .args([&ours, &theirs])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&merged.stderr);
        assert!(!merged.status.success() && said.contains("ours may lie 3600.00 s off"), "{said}");
        assert!(said.contains("meanwhile, and counts as it was at the end"), "{said}");
    }
}
