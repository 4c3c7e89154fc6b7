//! The client's own structs read what the sidecar really writes, and survive what it never did.

use stepscope::capture::manifest::{
    CaptureId, ClosedBy, Complete as Known, GpuReport, GroupReport, Manifest, RankReport, State, Window,
};
use stepscope::client::types::{Capture, CaptureList, Complete, Status};

fn manifest() -> Manifest {
    Manifest {
        schema: 1,
        stepscope_version: "0.1.0".into(),
        capture_id: CaptureId("id-1".into()),
        state: State::Done,
        complete: Known::No,
        missing: vec!["something".into()],
        closed_by: Some(ClosedBy::MaxDuration),
        reason: None,
        warnings: vec!["output_dir is ignored".into()],
        accepted_at: "2026-11-21T10:00:00Z".into(),
        accepted_at_ns: 5,
        wall_clock_stepped_ns: 0,
        held: false,
        agreed_at_ns: Some(0),
        finished_at: None,
        profile_prefix: None,
        profiler: "steps".into(),
        window: Window {
            delay_iterations: 7,
            max_iterations: 4,
            start_iteration: None,
            max_duration_ms: 1,
            max_events: 2,
            max_bytes: 3,
        },
        groups: vec![GroupReport {
            job: "j".into(),
            group: "g".into(),
            accepted_iteration: 1,
            first_iteration: 8,
            last_iteration: None,
            world_size: 2,
            ranks: vec![0],
            missing_ranks: vec![1],
            withdrawn: 0,
        }],
        ranks: vec![RankReport {
            job: "j".into(),
            group: "g".into(),
            rank: 1,
            label: "tp1".into(),
            engine: "e".into(),
            pid: 9,
            state: "closed".into(),
            accepted_iteration: 1,
            first_iteration: Some(8),
            last_iteration: Some(11),
            iterations: 4,
            records: 5,
            dropped: 6,
            lost: 0,
            closed_by: Some(ClosedBy::MaxIterations),
            opened_at_ns: None,
            closed_at_ns: None,
            mid_iteration: false,
            overlapped: false,
            overrun_iterations: 0,
            pace_before: None,
            pace_after: None,
            profiler: None,
        }],
        sources: Vec::new(),
        sampling: Vec::new(),
        request_moments: 0,
        records: 5,
        dropped: 6,
        gpus: GpuReport::default(),
        fragment_bytes: 10,
        artifacts: vec![],
        native: None,
    }
}

#[test]
fn a_real_manifest_is_read_field_by_field() {
    let read: Capture = serde_json::from_str(&serde_json::to_string(&manifest()).unwrap()).unwrap();
    assert_eq!((read.capture_id.as_str(), read.state.as_str(), read.complete), ("id-1", "done", Complete::No));
    assert_eq!((read.missing, read.warnings), (vec!["something".into()], vec!["output_dir is ignored".into()]));
    assert_eq!(read.closed_by.as_deref(), Some("max_duration"));
    assert_eq!((read.window.delay_iterations, read.window.max_iterations), (7, 4));
    assert_eq!((read.groups[0].first_iteration, read.groups[0].last_iteration), (Some(8), None));
    let rank = &read.ranks[0];
    assert_eq!((rank.rank, rank.first_iteration, rank.last_iteration, rank.iterations), (1, Some(8), Some(11), 4));
    assert_eq!(
        (rank.dropped, rank.closed_by.as_deref(), read.dropped, read.records),
        (6, Some("max_iterations"), 6, 5)
    );
}

#[test]
fn every_final_state_of_the_sidecar_is_final_here() {
    use State::{Armed, Cancelled, Delaying, Done, Draining, Exporting, Failed, Recording};
    for state in [Armed, Delaying, Recording, Draining, Exporting, Done, Cancelled, Failed] {
        let read = Capture { state: state.as_str().into(), ..Capture::default() };
        assert_eq!(read.is_final(), state.is_final(), "{state:?}");
    }
}

#[test]
fn answers_of_other_versions_are_read_too() {
    for body in ["{}", r#"{"state":null,"ranks":null,"window":null,"complete":null}"#, r#"{"ranks":[0,1],"new":[{}]}"#]
    {
        let read: Capture = serde_json::from_str(body).unwrap();
        assert_eq!((read.complete, read.ranks.len()), (Complete::Unknown, 0), "{body}");
    }
    let _: Status = serde_json::from_str(r#"{"ranks":[{"rank":null}],"refused":[1]}"#).unwrap();
    for body in ["[{}]", r#"{"captures":[{}],"total":1}"#] {
        assert_eq!(serde_json::from_str::<CaptureList>(body).unwrap().captures().len(), 1);
    }
}
