//! Many clients at once, while eight ranks step every millisecond.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{Engine, Place, Sidecar, number, request};

#[test]
fn two_thousand_calls_over_64_connections_are_answered_and_no_iteration_is_lost() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--ranks", "8", "--step-us", "1000"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(8);
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..64 {
            let (sidecar, accepted, refused) = (&sidecar, &accepted, &refused);
            scope.spawn(move || {
                for call in 0..32 {
                    let address = sidecar.address();
                    match (client + call) % 4 {
                        0 => {
                            let reply = request(address, "POST", "/start_profile", r#"{"max_iterations": 4}"#);
                            match reply.status {
                                200 => accepted.fetch_add(1, Ordering::Relaxed),
                                409 => refused.fetch_add(1, Ordering::Relaxed),
                                other => panic!("start answered {other}: {}", reply.body),
                            };
                        }
                        1 => assert_eq!(request(address, "POST", "/stop_profile", "").status, 200),
                        _ => assert_eq!(request(address, "GET", "/stepscope/v1/status", "").status, 200),
                    }
                }
            });
        }
    });
    assert!(accepted.load(Ordering::Relaxed) > 0 && refused.load(Ordering::Relaxed) > 0);
    sidecar.post("/stop_profile?wait=60", "").ok();
    let captures = sidecar.get("/stepscope/v1/captures?limit=1000").ok();
    let captures = captures["captures"].as_array().unwrap();
    assert_eq!(captures.len() as u64, accepted.load(Ordering::Relaxed));
    for capture in captures {
        let capture = sidecar.finished(capture["capture_id"].as_str().unwrap());
        assert!(["done", "cancelled"].contains(&capture["state"].as_str().unwrap()), "{capture:#}");
        if capture["state"] == "done" {
            assert_eq!(capture["complete"], true, "{capture:#}");
            assert!(number(&capture["ranks"][0]["iterations"]) <= 4);
        }
    }
}
