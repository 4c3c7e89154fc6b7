//! Files of the kinds that people merge, and what a strict reader makes of the output.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stepscope::merge::{MergeError, Report, Wanted, merge};
use stepscope::trace::fragment::FragmentWriter;
use stepscope::trace::meta::Selection;

use crate::trace::sample;

/// Where Kineto's times count from in these tests: the begin of a quarter, an hour before ours.
pub(super) const KINETO_BASE_NS: u64 = sample::EPOCH_NS - 3_600_000_000_000;

/// A folder of files.
pub(super) struct Files {
    dir: tempfile::TempDir,
    pub(super) wanted: Wanted,
}

impl Files {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted { output: dir.path().join("out.json"), nsys: "nsys".into(), ..Wanted::default() };
        Self { dir, wanted }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and makes it the next input.
    pub(super) fn input(&mut self, name: &str, bytes: impl AsRef<[u8]>) -> &mut Self {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        self.wanted.inputs.push(path);
        self
    }

    pub(super) fn merge(&self) -> Result<Report, MergeError> {
        merge(&self.wanted)
    }

    /// Merges, and what a strict reader sees.
    pub(super) fn merged(&self) -> (Report, Value) {
        let report = self.merge().unwrap();
        let trace = read(&self.wanted.output);
        assert_eq!(trace["metadata"]["merge"], serde_json::to_value(&report).unwrap());
        let events = events(&trace);
        assert_eq!(events.len() as u64, report.events);
        (report, trace)
    }

    /// What lies in the folder besides the inputs.
    pub(super) fn left_behind(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| !self.wanted.inputs.contains(path)).collect()
    }
}

pub(super) fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All but metadata.
pub(super) fn events(trace: &Value) -> Vec<&Value> {
    trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] != "M").collect()
}

/// The number of the process with this name.
pub(super) fn pid(trace: &Value, name: &str) -> u64 {
    let all = trace["traceEvents"].as_array().unwrap();
    let named = all.iter().find(|event| event["name"] == "process_name" && event["args"]["name"] == name);
    named.unwrap_or_else(|| panic!("no process {name} in {:?}", names(trace)))["pid"].as_u64().unwrap()
}

/// The names of all processes, by their place in the viewer.
pub(super) fn names(trace: &Value) -> Vec<String> {
    let all = trace["traceEvents"].as_array().unwrap();
    let of = |what: &str, key: &str| -> Vec<(u64, Value)> {
        let found = all.iter().filter(|event| event["name"] == what);
        found.map(|event| (event["pid"].as_u64().unwrap(), event["args"][key].clone())).collect()
    };
    let places = of("process_sort_index", "sort_index");
    let mut named: Vec<_> = of("process_name", "name")
        .into_iter()
        .map(|(pid, name)| {
            let place = places.iter().find(|(other, _)| *other == pid).unwrap().1.as_u64().unwrap();
            (place, name.as_str().unwrap().to_owned())
        })
        .collect();
    named.sort_unstable();
    named.into_iter().map(|(_, name)| name).collect()
}

/// A capture of these ranks: `count` iterations from `first` on, as our own exporter writes it. Their clocks are `skew_ns`
/// ahead.
pub(super) fn ours(ranks: &[u32], first: u64, count: u64, skew_ns: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut fragments = Vec::new();
    for &rank in ranks {
        let path = dir.path().join(format!("{rank}.frag"));
        let mut anchor = sample::anchor(0);
        anchor.realtime_ns += skew_ns;
        let mut writer = FragmentWriter::create(&path, &sample::identity("0", rank)).unwrap();
        writer.write_block(0, 0, &sample::iterations(rank, first, count), anchor, 0).unwrap();
        fragments.push(path);
    }
    let windows = ranks.iter().map(|&rank| sample::window("0", rank, first, first + count - 1)).collect();
    sample::text(&fragments, &sample::meta(windows), &Selection::default()).0
}

/// A trace as Kineto writes it, with these events between the process's names and the end.
pub(super) fn kineto(rank: u32, host: &str, events: &[Value]) -> String {
    let mut text = format!(
        "{{\n  \"schemaVersion\": 1,\n  \"deviceProperties\": [\n  ],\n  \"distributedInfo\": {{\"backend\": \"gloo\", \
         \"rank\": {rank}, \"world_size\": 2}},\n  \"host_name\": \"{host}\",\n  \"displayTimeUnit\": \"ms\",\n  \
         \"baseTimeNanoseconds\": {KINETO_BASE_NS},\n  \"traceEvents\": [\n"
    );
    let pid = 4000 + rank;
    let names =
        [("process_name", "name", serde_json::json!("VLLM::Worker")), ("process_labels", "labels", "CPU".into())];
    for (what, key, value) in names {
        let name = serde_json::json!({"ph": "M", "name": what, "pid": pid, "tid": 0, "ts": 0.0, "args": {key: value}});
        text.push_str(&format!("  {name},\n"));
    }
    let events: Vec<String> = events.iter().map(|event| format!("  {event}")).collect();
    text + &events.join(",\n") + "\n  ],\n  \"traceName\": \"/tmp/x.json\"\n}\n"
}

/// A `ts` of Kineto's, for nanoseconds since our epoch.
pub(super) fn kineto_ts(ns: u64) -> Value {
    let since_base = ns + sample::EPOCH_NS - KINETO_BASE_NS;
    // The digits, not a double's idea of them.
    let text = format!("{}.{:03}", since_base / 1000, since_base % 1000);
    serde_json::from_str(&text).unwrap()
}

/// vLLM's own annotations of the iterations that [`ours`] has of rank 0, beginning so much later.
pub(super) fn annotations(first: u64, count: u64, late_ns: impl Fn(u64) -> u64) -> Vec<Value> {
    let annotation = |number: u64| {
        let n = number as u32;
        let name = format!("execute_context_{}({})_generation_{n}({n})", n % 3, n % 3 * 256);
        let ts = kineto_ts(number * 1_000_000 + late_ns(number));
        serde_json::json!({
            "ph": "X", "cat": "user_annotation", "name": name, "pid": 4000, "tid": 1, "ts": ts, "dur": 700.5,
            "args": {"External id": number},
        })
    };
    (first..first + count).map(annotation).collect()
}

pub(super) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 3).unwrap()
}
