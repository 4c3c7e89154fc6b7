//! Captures on disk: kept as long as the settings say, listed, fetched, removed, and there after a restart.

use crate::support::{Engine, Place, Sidecar, eventually};

fn capture_one(sidecar: &Sidecar) -> String {
    let started = sidecar.start_profile(r#"{"max_iterations": 3, "profile_prefix": "nightly"}"#);
    let id = started["capture_id"].as_str().unwrap().to_owned();
    assert_eq!(sidecar.finished(&id)["complete"], true);
    id
}

fn ids(sidecar: &Sidecar) -> Vec<String> {
    let list = sidecar.get("/stepscope/v1/captures").ok();
    list["captures"].as_array().unwrap().iter().map(|c| c["capture_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_newest_captures_are_kept_and_survive_a_restart() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    let sidecar = Sidecar::start(&place, &["--retention-max-captures", "2"]);
    sidecar.attached(2);
    let made: Vec<String> = (0..4).map(|_| capture_one(&sidecar)).collect();
    // Newest first; ids sort by time.
    eventually("retention", || (ids(&sidecar) == [made[3].clone(), made[2].clone()]).then_some(()));
    assert!(made.is_sorted());
    assert_eq!(sidecar.capture("latest")["capture_id"], made[3].as_str());
    assert_eq!(sidecar.get(&format!("/stepscope/v1/captures/{}", made[0])).status, 404);
    assert_eq!(std::fs::read_dir(place.data().join("captures")).unwrap().count(), 2);
    assert!(sidecar.end().success());
    let next = Sidecar::start(&place, &[]);
    assert_eq!(ids(&next), [made[3].clone(), made[2].clone()]);
    assert_eq!(next.ledger(&made[2]).len(), 6);
}

#[test]
fn a_capture_is_removed_only_when_it_is_over() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let delete = |id: &str| {
        crate::support::request(sidecar.address(), "DELETE", &format!("/stepscope/v1/captures/{id}"), "").status
    };
    let started = sidecar.start_profile("");
    let id = started["capture_id"].as_str().unwrap();
    assert_eq!(delete(id), 409);
    sidecar.in_state(id, "recording");
    sidecar.post("/stop_profile?wait=30", "").ok();
    assert_eq!(delete(id), 200);
    assert_eq!(delete(id), 404);
    assert!(ids(&sidecar).is_empty());
}

#[test]
fn a_trace_can_be_had_whole_and_by_rank_and_carries_its_window() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let id = capture_one(&sidecar);
    let trace = |query: &str| sidecar.get(&format!("/stepscope/v1/captures/{id}/trace?format=json{query}"));
    let whole = trace("").ok();
    let names: Vec<&str> = whole["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["name"] == "process_name")
        .map(|e| e["args"]["name"].as_str().unwrap())
        .collect();
    assert!(
        names.iter().any(|n| n.starts_with("rank 0")) && names.iter().any(|n| n.starts_with("rank 1")),
        "{names:?}"
    );
    assert!(whole.get("rank").is_none());
    let one = trace("&rank=1");
    assert!(one.body.contains("\"rank\": 1"), "HolisticTraceAnalysis looks for it with the space");
    let slices = |trace: &serde_json::Value| {
        trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["cat"] == "iteration").count()
    };
    assert_eq!((slices(&whole), slices(&one.ok())), (6, 3));
    assert_eq!(whole["metadata"]["capture_id"], id.as_str());
    assert_eq!(whole["metadata"]["complete"], true);
    let refused = trace("&rank=9");
    assert_eq!(refused.status, 404, "{}", refused.body);
    // The compressed one is the file that the export wrote, named as the caller wished.
    let artifact = sidecar.capture(&id)["artifacts"][0]["name"].as_str().unwrap().to_owned();
    assert!(artifact.starts_with("nightly-") && artifact.ends_with(".trace.json.gz"), "{artifact}");
    assert!(place.data().join("captures").join(&id).join(artifact).is_file());
}

#[test]
fn what_a_start_or_a_removal_left_half_done_is_cleared_away_and_nothing_else_is() {
    let place = Place::new();
    let captures = place.data().join("captures");
    let put = |folder: &str, file: &str, text: &str| {
        let path = captures.join(folder).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let [empty, torn, left] = [1, 2, 3].map(|n| format!("01a20000-0000-7000-8000-00000000000{n}"));
    std::fs::create_dir_all(captures.join(&empty)).unwrap();
    put(&torn, "manifest.json", "{\"schema\": 1, \"capt");
    put(&format!(".removed-{empty}"), "fragments/0.frag", "x");
    put(&left, "fragments/0000000000000001.frag", "records");
    put("mine", "notes.txt", "not of ours");
    let sidecar = Sidecar::start(&place, &[]);
    let mut there: Vec<String> =
        std::fs::read_dir(&captures).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, [left.as_str(), "mine"]);
    assert!(ids(&sidecar).is_empty());
    let log = eventually("the log", || Some(sidecar.log()).filter(|l| l.matches("left alone").count() == 2));
    assert!(log.contains(&left) && log.contains("mine"), "{log}");
}
