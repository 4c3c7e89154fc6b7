//! What Prometheus reads.

use stepscope::capture::beside::counters::{GpuIdentity, Metric};
use stepscope::capture::handle::{RankStatus, Snapshot};
use stepscope::service::routes::metrics::readings;
use stepscope::telemetry::metrics::{Metrics, Readings};
use stepscope::telemetry::nvml::status::{GpuReadings, Reading};

fn rank(role: &'static str, rank: u32, records: u64) -> RankStatus {
    RankStatus {
        job: "job \"a\"".into(),
        group: "g".into(),
        rank,
        world_size: 2,
        role,
        label: String::new(),
        engine: String::new(),
        agent: String::new(),
        pid: 1,
        begun: 8,
        ended: 7,
        iterations_per_second: 0.0,
        gate: "idle",
        dropped_total: 3,
        records_total: records,
        segment: "s".into(),
        capabilities: stepscope::capture::profiling::RankCapabilities::default(),
        pid_here: None,
    }
}

#[test]
fn all_metrics_are_there_and_processes_of_one_name_are_added_up() {
    let snapshot = Snapshot {
        ranks: vec![rank("rank", 0, 10), rank("rank", 0, 5), rank("rank", 1, 20), rank("source", 0, 2)],
        finished_total: [4, 2, 1],
        departed_records_total: 100,
        departed_dropped_total: 9,
        store_bytes: 4096,
        buffered_bytes: 1024,
        ..Snapshot::default()
    };
    let metrics = Metrics::default();
    metrics.request_answered("/start_profile", 200);
    metrics.request_answered("/start_profile", 200);
    insta::assert_snapshot!(metrics.text(readings(&snapshot)).unwrap());
}

#[test]
fn gpus_have_gauges_in_base_units_and_a_lost_one_only_says_so() {
    let reading = |value| Reading { value, at_ns: 0 };
    let gpu = |index, mig| GpuIdentity { index, mig, uuid: format!("GPU-{index}"), name: "X".into() };
    let latest = Metric::all().map(|metric| ((metric, if metric.is_of_a_process() { 77 } else { 0 }), reading(50.0)));
    let gpus = vec![
        GpuReadings {
            identity: gpu(0, Some(1)),
            memory_total_bytes: Some(80),
            latest: latest.collect(),
            ..GpuReadings::default()
        },
        GpuReadings { identity: gpu(1, None), lost: Some("gone".into()), ..GpuReadings::default() },
    ];
    let text = Metrics::default().text(Readings { gpus, ..Readings::default() }).unwrap();
    let text: Vec<&str> = text.lines().filter(|line| line.contains("gpu")).collect();
    insta::assert_snapshot!(text.join("\n"));
}
