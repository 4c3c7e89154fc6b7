//! A sidecar that samples stand-ins of GPUs, an engine beside it, and a trace taken apart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::fakes::{calls, library};
use crate::support::{Engine, Place, Sidecar, eventually, number, stepscope};

/// Engine, sidecar, and the GPUs' stand-in.
pub struct Bench {
    pub sidecar: Sidecar,
    pub place: Place,
    pub engine: Engine,
}

/// One answer of the stand-in.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub tid: u32,
    pub call: String,
    /// `0`; `0m` for a MIG instance of GPU 0.
    pub device: String,
    pub code: i32,
    pub value: f64,
    pub at_ns: u64,
}

/// The stand-in's library.
pub fn nvml() -> PathBuf {
    library("nvml", "libnvidia-ml.so.1", &[])
}

impl Bench {
    /// `says` is what the stand-in reads, in its words. An iteration takes 2 ms.
    pub fn new(says: &str, arguments: &[&str]) -> Self {
        let place = Place::new();
        std::fs::write(place.path().join("nvml"), says).unwrap();
        let engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "2000"]);
        let sidecar = sidecar(&place, arguments);
        sidecar.attached(2);
        Self { sidecar, place, engine }
    }

    /// From now on the stand-in reads this.
    pub fn say(&self, says: &str) {
        let (file, fresh) = (self.place.path().join("nvml"), self.place.path().join("nvml.fresh"));
        std::fs::write(&fresh, says).unwrap();
        std::fs::rename(fresh, file).unwrap();
    }

    /// All that the stand-in answered.
    pub fn answers(&self) -> Vec<Answer> {
        let answer = |call: crate::support::fakes::Call| {
            let mut words = call.detail.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap();
            Answer {
                tid: call.tid,
                call: call.name,
                device: word(),
                code: word().parse().unwrap(),
                value: word().parse().unwrap(),
                at_ns: word().parse().unwrap(),
            }
        };
        calls(&self.place.path().join("calls")).into_iter().map(answer).collect()
    }

    /// How often this was called.
    pub fn count(&self, call: &str) -> usize {
        self.answers().iter().filter(|answer| answer.call == call).count()
    }

    pub fn gpus(&self) -> Vec<Value> {
        self.sidecar.get("/stepscope/v1/status").ok()["gpus"].as_array().unwrap().clone()
    }

    /// The GPUs, once `fine` finds them so.
    pub fn gpus_when(&self, what: &str, fine: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually(what, || Some(self.gpus()).filter(|gpus| fine(gpus)))
    }

    /// Starts a capture without an end; its window is open.
    pub fn record(&self) -> String {
        let id = self.sidecar.start_profile("")["capture_id"].as_str().unwrap().to_owned();
        self.sidecar.in_state(&id, "recording");
        id
    }

    /// Waits until this many values more are in the running capture.
    pub fn values(&self, id: &str, more: u64) {
        let values = || number(&self.sidecar.capture(id)["gpus"]["values"]);
        let before = values();
        eventually("values of the GPUs", || (values() >= before + more).then_some(()));
    }

    /// Stops it; gives manifest and trace.
    pub fn finish(&self, id: &str) -> (Value, Value) {
        self.sidecar.stop_profile();
        let manifest = self.sidecar.finished(id);
        (manifest, trace(&self.sidecar, id, ""))
    }
}

/// A sidecar on a place whose file `nvml` the stand-in reads.
pub fn sidecar(place: &Place, arguments: &[&str]) -> Sidecar {
    let mut command = std::process::Command::new(stepscope());
    command.env("STEPSCOPE_TEST_NVML", place.path().join("nvml"));
    command.env("STEPSCOPE_TEST_CALLS", place.path().join("calls"));
    command.env("STEPSCOPE_NVML_LIBRARY", nvml());
    Sidecar::start_through(command, &place.segments(), &place.data(), arguments)
}

/// A trace as it is downloaded.
pub fn trace(sidecar: &Sidecar, id: &str, query: &str) -> Value {
    sidecar.get(&format!("/stepscope/v1/captures/{id}/trace?format=json{query}")).ok()
}

/// One counter track: times in nanoseconds from the trace's base, and values.
pub type Points = Vec<(u64, f64)>;

/// Counter tracks by name of the process and name; each runs forward in time.
pub fn tracks(trace: &Value) -> BTreeMap<(String, String), Points> {
    let events = trace["traceEvents"].as_array().unwrap();
    let names: BTreeMap<u64, String> = events
        .iter()
        .filter(|e| e["name"] == "process_name")
        .map(|e| (number(&e["pid"]), e["args"]["name"].as_str().unwrap().to_owned()))
        .collect();
    let mut tracks: BTreeMap<(String, String), Points> = BTreeMap::new();
    for event in events.iter().filter(|e| e["ph"] == "C" && e["args"]["value"].is_number()) {
        let key = (names[&number(&event["pid"])].clone(), event["name"].as_str().unwrap().to_owned());
        let at_ns = (event["ts"].as_f64().unwrap() * 1000.0).round() as u64;
        let points = tracks.entry(key).or_default();
        assert!(points.last().is_none_or(|last| last.0 <= at_ns), "{event}: backwards");
        points.push((at_ns, event["args"]["value"].as_f64().unwrap()));
    }
    tracks
}

/// Names of the GPUs' processes in a trace.
pub fn gpu_processes(trace: &Value) -> Vec<String> {
    let events = trace["traceEvents"].as_array().unwrap().iter();
    let names = events.filter(|e| e["name"] == "process_name").map(|e| e["args"]["name"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("GPU ")).collect()
}
