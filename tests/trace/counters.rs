//! Counters of GPUs in a trace: processes and tracks of their own, and a file that a stranger wrote.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepscope::trace::counter::{Counter, GpuIdentity, Metric};
use stepscope::trace::event::{Anchor, Event};
use stepscope::trace::fragment::{COUNTERS, FragmentIdentity, FragmentWriter};
use stepscope::trace::ledger::write_ledger;
use stepscope::trace::meta::Selection;
use stepscope::trace::output::LedgerFormat;

use super::sample::*;

pub(crate) fn gpus() -> Vec<GpuIdentity> {
    let gpu = |index, mig| GpuIdentity { index, mig, uuid: format!("GPU-{index}"), name: "X\u{1}\"100\"".into() };
    vec![gpu(0, None), gpu(0, Some(1)), gpu(7, None)]
}

pub(crate) fn value(gpu: u32, metric: Metric, at_ns: u64, value: f64) -> Event {
    Event::Counter(Counter { at_ns, gpu, metric, pid: if metric.is_of_a_process() { 42 } else { 0 }, value })
}

/// The sidecar's own fragment; its clock is as far from the epoch as the ranks'.
pub(crate) fn counters(dir: &Path, gpus: Vec<GpuIdentity>, events: &[Event]) -> PathBuf {
    let path = dir.join("gpus.counters");
    let identity = FragmentIdentity {
        role: COUNTERS.into(),
        gpus,
        ticks_per_second: 1_000_000_000,
        ..FragmentIdentity::default()
    };
    let mut writer = FragmentWriter::create(&path, &identity).unwrap();
    let at = |ns| Anchor { ticks: ns, monotonic_ns: ns, realtime_ns: EPOCH_NS + ns };
    writer.write_block(0, 0, events, at(9_000_000), 3).unwrap();
    path
}

fn parsed(files: &[PathBuf], selection: &Selection) -> Value {
    let meta = meta(vec![window("0", 0, 5, 7), window("0", 1, 5, 7)]);
    let (text, _) = text(files, &meta, selection);
    checked(&text);
    serde_json::from_str(&text).unwrap()
}

fn of_gpus(trace: &Value) -> Vec<String> {
    let gpus = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["pid"].as_u64() > Some(3));
    gpus.map(|e| format!("{} {} {} {} {}", e["ph"], e["name"], e["pid"], e["ts"], e["args"])).collect()
}

#[test]
fn gpus_have_processes_and_tracks_of_their_own_in_the_trace_of_all_ranks_alone() {
    let dir = tempfile::tempdir().unwrap();
    let events = [
        value(0, Metric::Power, 5_000_001, 312.125),
        value(2, Metric::MemoryUsed, 5_000_002, 85_899_345_920.0),
        value(1, Metric::ProcessSmUtilization, 5_100_000, 33.0),
        value(0, Metric::Power, 6_000_000, -0.5),
    ];
    let mut files: Vec<PathBuf> =
        [0, 1].map(|rank| fragment(dir.path(), &identity("0", rank), &iterations(rank, 1, 9))).into();
    let without = parsed(&files, &Selection::default());
    files.push(counters(dir.path(), gpus(), &events));
    let trace = parsed(&files, &Selection::default());
    assert_eq!(trace["baseTimeNanoseconds"], EPOCH_NS + 4_000_000, "the opening, cut to a millisecond");
    insta::assert_snapshot!(of_gpus(&trace).join("\n"));
    assert_eq!(trace["metadata"]["gpus"][0]["values"], 4);
    assert_eq!(trace["metadata"]["gpus"][0]["dropped"], 3);
    // What is no GPU's is as it was without them.
    let mut others = trace.clone();
    others["traceEvents"].as_array_mut().unwrap().retain(|e| e["pid"].as_u64() <= Some(3));
    others["metadata"]["gpus"] = json!([]);
    assert_eq!(others, without);
    let one = parsed(&files, &Selection::rank(1))["traceEvents"].to_string();
    assert!(one.contains("\"stepscope\"") && !one.contains("GPU ") && !one.contains("power"), "{one}");
    let ledger = |files: &[PathBuf]| {
        let mut text = Vec::new();
        write_ledger(files, &meta(vec![]), &Selection::default(), LedgerFormat::JsonLines, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    assert_eq!(ledger(&files), ledger(&files[..2]));
}

#[test]
fn a_strangers_counters_run_forward_and_belong_to_a_gpu_or_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let events = [
        value(0, Metric::Power, 3_999_999, 1.0), // before the trace begins
        value(0, Metric::Power, 6_000_000, 2.0),
        value(0, Metric::Power, 5_500_000, 3.0), // backwards
        value(0, Metric::SmClock, 5_500_000, 4.0),
        value(3, Metric::Power, 6_500_000, 5.0), // no such GPU
        value(0, Metric::Power, 7_000_000, f64::NAN),
        Event::Skipped,
        value(0, Metric::Power, u64::MAX, 6.0),
    ];
    let rank = fragment(dir.path(), &identity("0", 0), &iterations(0, 1, 9));
    let path = counters(dir.path(), gpus(), &events);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend([7; 100]);
    std::fs::write(&path, bytes).unwrap();
    let trace = parsed(&[rank, path], &Selection::default());
    let values: Vec<_> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["args"]["value"].clone())
        .filter(Value::is_number)
        .collect();
    assert_eq!(values, [json!(2), json!(4), json!(6)]);
    let about = &trace["metadata"]["gpus"][0];
    assert_eq!((&about["values"], &about["left_out"], &about["cut_bytes"]), (&json!(3), &json!(5), &json!(100)));
}

#[test]
fn a_capture_of_which_only_counters_are_left_is_still_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let path = counters(dir.path(), gpus(), &[value(0, Metric::Temperature, 5_500_000, 61.0)]);
    let trace = parsed(&[path], &Selection::default());
    assert_eq!(trace["metadata"]["gpus"][0]["values"], 1);
}
