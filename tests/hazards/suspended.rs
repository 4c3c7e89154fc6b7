//! An engine's process stands still in the middle of a window, and goes on: as under a debugger, or a machine without memory.

use std::time::{Duration, Instant};

use super::support::{grows, numbers, promised, rank_of, tracks_in_order};
use crate::support::engine::signal;
use crate::support::{Engine, Place, Sidecar, eventually, number};

const STANDS_STILL: Duration = Duration::from_secs(1);

#[test]
fn what_stood_still_is_one_long_iteration_and_nothing_is_out_of_order() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let arguments = ["--requests", "--ranks", "2", "--iterations", "0", "--step-us", "1000"];
    let _engine = Engine::start(&place.segments(), &arguments);
    let attached = sidecar.attached(3);
    let rank = |of: &serde_json::Value| of["role"] == "rank" && of["rank"] == 0;
    let pid = number(&attached.iter().find(|of| rank(of)).unwrap()["pid"]) as u32;
    let id = sidecar.start_profile("{\"max_iterations\": 0}")["capture_id"].as_str().unwrap().to_owned();
    sidecar.in_state(&id, "recording");
    grows(&sidecar, &id);
    signal(pid, "STOP");
    let began = Instant::now();
    eventually("a second", || (began.elapsed() > STANDS_STILL).then_some(()));
    assert_eq!(sidecar.capture(&id)["state"], "recording", "the window stays open");
    signal(pid, "CONT");
    grows(&sidecar, &id);
    sidecar.stop_profile();

    let capture = sidecar.finished(&id);
    assert_eq!((&capture["state"], &capture["complete"]), (&"done".into(), &true.into()), "{capture:#}");
    assert_eq!((&capture["missing"], number(&capture["dropped"])), (&serde_json::json!([]), 0), "{capture:#}");
    let ledger = sidecar.ledger(&id);
    let mut long = Vec::new();
    for rank in [0, 1] {
        assert_eq!(numbers(&ledger, rank), promised(&rank_of(&capture, rank)));
        let rows: Vec<_> = ledger.iter().filter(|row| number(&row["rank"]) == rank).collect();
        for pair in rows.windows(2) {
            let end_ns = number(&pair[0]["start_ns"]) + number(&pair[0]["duration_ns"]);
            assert!(end_ns <= number(&pair[1]["start_ns"]), "{pair:#?}");
            if number(&pair[0]["interval_ns"]) >= STANDS_STILL.as_nanos() as u64 {
                long.push((rank, number(&pair[0]["iteration"])));
            }
        }
    }
    // It stood still in an iteration or behind one; the other rank waited for it there.
    let [(0, one), (1, other)] = long[..] else { panic!("{long:?}") };
    assert!(one.abs_diff(other) <= 1, "{long:?}");

    let trace = sidecar.get(&format!("/stepscope/v1/captures/{id}/trace?format=json")).ok();
    let tracks = tracks_in_order(&trace);
    assert!(tracks.iter().filter(|slices| slices.len() > 100).count() >= 4, "iterations and steps of both ranks");
    // All of that second lies within the window.
    let window = tracks.iter().flatten().find(|(.., name)| name == "capture").unwrap();
    assert!(window.1 - window.0 >= STANDS_STILL.as_nanos() as i64);
}
