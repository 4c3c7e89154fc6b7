//! The document says what is served, no more and no less.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stepscope::capture::beside::counters::{GpuIdentity, Metric};
use stepscope::capture::handle::{RankStatus, Refused};
use stepscope::capture::manifest::*;
use stepscope::capture::profiling::RankCapabilities;
use stepscope::service::body::{FIELDS, IGNORED};
use stepscope::service::document::document;
use stepscope::service::router::ROUTES;
use stepscope::service::routes::profile::{started, stopped};
use stepscope::telemetry::nvml::GpuStatus;
use stepscope::telemetry::nvml::status::{GpuReadings, Reading};

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn manifest() -> Manifest {
    let window = Window {
        delay_iterations: 1,
        max_iterations: 2,
        start_iteration: Some(3),
        max_duration_ms: 4,
        max_events: 5,
        max_bytes: 6,
    };
    let group = json!({"job": "j", "group": "g", "accepted_iteration": 1, "first_iteration": 2, "last_iteration": 3,
        "world_size": 1, "ranks": [0], "missing_ranks": [], "withdrawn": 0});
    let rank = json!({"job": "j", "group": "g", "rank": 0, "label": "l", "engine": "e", "pid": 1, "state": "closed",
        "accepted_iteration": 1, "first_iteration": 2, "last_iteration": 3, "iterations": 2, "records": 2, "dropped": 0, "lost": 0,
        "closed_by": "stop", "opened_at_ns": 1, "closed_at_ns": 2, "mid_iteration": false, "overlapped": false,
        "overrun_iterations": 0, "pace_before": {"iterations": 9, "mean_ns": 8, "uncertainty_ns": 7}, "pace_after": null,
        "profiler": {"leader": true, "session": null, "start_iteration": 4,
        "start": {"code": 0, "name": null, "duration_ns": 1}, "stop": null, "synchronize_open": null,
        "synchronize_close": null, "capture_range": true, "iteration_ranges": true, "stopped_by": null,
        "no_context": false, "device_times_missed": 0}});
    Manifest {
        schema: 1,
        stepscope_version: "0".into(),
        capture_id: CaptureId("id".into()),
        state: State::Done,
        complete: Complete::Yes,
        missing: vec![],
        closed_by: Some(ClosedBy::Stop),
        reason: None,
        warnings: vec![],
        accepted_at: String::new(),
        accepted_at_ns: 0,
        wall_clock_stepped_ns: 0,
        held: false,
        agreed_at_ns: Some(0),
        finished_at: None,
        profile_prefix: None,
        profiler: "steps".into(),
        window,
        groups: vec![serde_json::from_value(group).unwrap()],
        ranks: vec![serde_json::from_value(rank).unwrap()],
        sources: Vec::new(),
        sampling: Vec::new(),
        request_moments: 0,
        records: 0,
        dropped: 0,
        gpus: GpuReport { gpus: vec![GpuIdentity::default()], values: 1, dropped: 0, absent: None },
        fragment_bytes: 0,
        artifacts: vec![Artifact {
            name: "n".into(),
            kind: "trace".into(),
            bytes: 1,
            events: 1,
            rank: None,
            written_at: None,
        }],
        native: Some(NativeReport {
            start: Some(NativeCall::default()),
            files: vec![NativeFile::default()],
            found: vec![NativeFound::default()],
            ..NativeReport::default()
        }),
    }
}

#[test]
fn the_document_is_what_was_reviewed() {
    insta::assert_json_snapshot!(document(true));
}

#[test]
fn every_schema_has_exactly_the_fields_that_are_sent() {
    let document = document(true);
    let schemas = &document["components"]["schemas"];
    let rank = RankStatus {
        job: String::new(),
        group: String::new(),
        rank: 0,
        world_size: 0,
        role: "rank",
        label: String::new(),
        engine: String::new(),
        agent: String::new(),
        pid: 0,
        begun: 0,
        ended: 0,
        iterations_per_second: 0.0,
        gate: "idle",
        dropped_total: 0,
        records_total: 0,
        segment: "s".into(),
        capabilities: RankCapabilities::default(),
        pid_here: None,
    };
    let refused = Refused { segment: "s".into(), reason: String::new() };
    let manifest = manifest();
    let mut readings = GpuReadings::default();
    readings.latest.insert((Metric::ProcessSmUtilization, 7), Reading { value: 1.0, at_ns: 0 });
    let sent = serde_json::to_value(&manifest).unwrap();
    let cases = [
        ("Manifest", sent.clone()),
        ("Window", sent["window"].clone()),
        ("Group", sent["groups"][0].clone()),
        ("RankReport", sent["ranks"][0].clone()),
        ("Pace", sent["ranks"][0]["pace_before"].clone()),
        ("GpuReport", sent["gpus"].clone()),
        ("Gpu", sent["gpus"]["gpus"][0].clone()),
        ("GpuStatus", serde_json::to_value(GpuStatus::from(&readings)).unwrap()),
        ("GpuProcess", serde_json::to_value(&GpuStatus::from(&readings).processes[0]).unwrap()),
        ("NativeReport", sent["native"].clone()),
        ("NativeCall", sent["native"]["start"].clone()),
        ("NativeFile", sent["native"]["files"][0].clone()),
        ("NativeFound", sent["native"]["found"][0].clone()),
        ("Artifact", sent["artifacts"][0].clone()),
        ("RankStatus", serde_json::to_value(&rank).unwrap()),
        ("RankCapabilities", serde_json::to_value(&rank.capabilities).unwrap()),
        ("ProfilerReport", sent["ranks"][0]["profiler"].clone()),
        ("CallReport", sent["ranks"][0]["profiler"]["start"].clone()),
        ("Refused", serde_json::to_value(refused).unwrap()),
        ("Started", started(&manifest)),
        ("Stopped", stopped(&manifest)),
        ("Links", started(&manifest)["links"].clone()),
    ];
    for (name, sent) in cases {
        assert_eq!(keys(&schemas[name]["properties"]), keys(&sent), "{name}");
    }
    let known = FIELDS.iter().copied().chain(IGNORED.iter().map(|(field, _)| *field));
    let body: BTreeSet<String> = known.map(ToString::to_string).collect();
    assert_eq!(keys(&schemas["StartBody"]["properties"]), body);
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document(true);
    let text = document.to_string();
    let used: BTreeSet<String> =
        text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(used, keys(&document["components"]["schemas"]));
}

#[test]
fn a_report_has_exactly_the_fields_that_are_documented() {
    let document = document(true);
    let schemas = &document["components"]["schemas"];
    let mut report = crate::report::sample::report();
    report.kernels = Some(stepscope::report::model::Kernels::default());
    report.requests = crate::report::page::with_requests().requests;
    let mut checked = BTreeSet::new();
    follow(&serde_json::to_value(&report).unwrap(), "Report", schemas, &mut checked);
    let documented: BTreeSet<String> = keys(schemas).into_iter().filter(|name| is_of_a_report(name)).collect();
    assert_eq!(checked, documented, "schemas that nothing was held against");
}

/// The manifest's `RankReport` and its like are others.
fn is_of_a_report(name: &str) -> bool {
    name.starts_with("Report")
}

/// Holds a value against a schema, and everything below it that has a schema of its own.
fn follow(sent: &Value, name: &str, schemas: &Value, checked: &mut BTreeSet<String>) {
    let properties = &schemas[name]["properties"];
    assert_eq!(keys(properties), keys(sent), "{name}");
    checked.insert(name.to_owned());
    for (field, schema) in properties.as_object().unwrap() {
        let reference = |schema: &Value| Some(schema["$ref"].as_str()?.rsplit('/').next()?.to_owned());
        let below =
            reference(schema).or_else(|| reference(&schema["anyOf"][0])).or_else(|| reference(&schema["items"]));
        let Some(below) = below else { continue };
        let values = sent[field].as_array().cloned().unwrap_or_else(|| vec![sent[field].clone()]);
        for value in values.iter().filter(|value| !value.is_null()) {
            follow(value, &below, schemas, checked);
        }
    }
}

#[test]
fn every_operation_says_what_it_takes_and_shows_each_error_it_can_answer() {
    let document = document(true);
    let (mut ids, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for route in ROUTES {
        for (method, _) in route.operations {
            let operation = &document["paths"][route.path][*method];
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let schema = &parameter["schema"];
                assert!(schema["type"].is_string(), "{method} {}: {parameter}", route.path);
                assert!(parameter["description"].is_string());
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status == "200" || status == "431" {
                    continue;
                }
                let examples = response["content"]["application/json"]["examples"].as_object().unwrap();
                assert!(!examples.is_empty(), "{method} {} {status} has no example", route.path);
                for (reason, example) in examples {
                    assert_eq!(example["$ref"], format!("#/components/examples/{reason}"));
                    let error = &document["components"]["examples"][reason]["value"]["error"];
                    assert_eq!(
                        (error["reason"].as_str(), error["code"].to_string()),
                        (Some(&**reason), status.clone())
                    );
                    shown.insert(reason.clone());
                }
            }
            let needs_nothing = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(needs_nothing, route.needs == stepscope::service::caller::Needs::Nothing);
        }
    }
    assert_eq!(shown, keys(&document["components"]["examples"]), "an error that no operation answers");
    let start: BTreeSet<&str> = document["paths"]["/start_profile"]["get"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(start, FIELDS.iter().copied().collect(), "every field of the body is taken from the query too");
}

#[test]
fn a_service_without_tokens_says_that_it_asks_for_none() {
    let document = document(false);
    assert_eq!(document["paths"]["/stop_profile"]["post"]["security"], json!([{}]));
}
