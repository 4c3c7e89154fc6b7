//! An engine's other NVTX ranges as spans of the trace: every one of the window once, nested, on its thread's track.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::hazards::support::agent_library;
use crate::support::fakes::{calls, library, program};
use crate::support::{Place, Sidecar, eventually, number};
use crate::trace::sample::{checked, of_category};

/// As the emitters here are started.
const WORKERS: u64 = 3;
const LONG: &str = "a name that is much too long to stand in one record, so that it has to be told in parts";

/// `tests/fakes/nvtx_spans.c`; ended when dropped.
struct Emitter {
    process: Child,
    place: Place,
}

impl Emitter {
    fn start(arguments: &[&str], more: &[(&str, String)]) -> Self {
        let place = Place::new();
        let process = Command::new(program("nvtx_spans"))
            .args(arguments)
            .env("STEPSCOPE_DIR", place.segments())
            .env("NVTX_INJECTION64_PATH", agent_library())
            .env("STEPSCOPE_NVTX_STEP", "step")
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, place }
    }

    /// A paced one makes so many steps, `all` with those before; nobody but the agent is asked when they are over.
    fn make(&mut self, steps: u64, all: u64) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{steps}").unwrap();
        let segments = self.place.segments();
        eventually("the steps to be made", || {
            let mut files = std::fs::read_dir(&segments).unwrap().map(|entry| entry.unwrap().path());
            let bytes = std::fs::read(files.find(|path| path.extension().is_some_and(|e| e == "seg"))?).ok()?;
            let at = stepscope::wire::layout::STATUS_OFFSET as usize + 64;
            (u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().unwrap()) == all).then_some(())
        });
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn trace(sidecar: &Sidecar, id: &str, more: &str) -> (Vec<Value>, Value) {
    let reply = sidecar.get(&format!("/stepscope/v1/captures/{id}/trace?format=json{more}"));
    assert_eq!(reply.status, 200, "{}", reply.body);
    (checked(&reply.body), serde_json::from_str::<Value>(&reply.body).unwrap()["metadata"].clone())
}

/// How often each name is there, numbers of steps taken off, and the numbers of those that have one.
fn tally<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<u64>> {
    let mut tally: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for name in names {
        let (kind, number) = name.rsplit_once(' ').and_then(|(k, n)| Some((k, n.parse().ok()?))).unwrap_or((name, 0));
        tally.entry(kind.to_owned()).or_default().push(number);
    }
    tally.values_mut().for_each(|numbers| numbers.sort_unstable());
    tally
}

#[test]
fn every_range_of_the_window_is_there_once_on_its_threads_track_and_the_tool_behind_sees_all() {
    for tool in [false, true] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut more = Vec::new();
        if tool {
            more.push(("STEPSCOPE_TEST_CALLS", log.path().display().to_string()));
            more.push(("STEPSCOPE_NVTX_NEXT", library("nvtx_tool", "libnvtx_tool.so", &[]).display().to_string()));
        }
        let emitter = Emitter::start(&["300", "3"], &more);
        let sidecar = Sidecar::start(&emitter.place, &[]);
        sidecar.attached(1);
        sidecar.begun(3);
        let started = sidecar.start_profile(r#"{"delay_iterations": 4, "max_iterations": 47}"#);
        let id = started["capture_id"].as_str().unwrap();
        let capture = sidecar.finished(id);
        assert_eq!(capture["complete"], true, "{capture:#}");
        let report = &capture["ranks"][0];
        let (first, last) = (number(&report["first_iteration"]), number(&report["last_iteration"]));
        let window: Vec<u64> = (first..=last).collect();
        assert_eq!(window.len(), 47);

        let (events, metadata) = trace(&sidecar, id, "");
        let spans = of_category(&events, "nvtx");
        let whole: Vec<&Value> = spans.iter().copied().filter(|e| e["ph"] == "X").collect();
        let names = tally(whole.iter().map(|e| e["name"].as_str().unwrap()));
        // What began before the window or ended behind it is not there.
        let groups = (first + 1..last).filter(|n| n % 10 == 1 && n + 9 < last);
        let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::from([("group".into(), groups.collect())]);
        for kind in ["outer", "inner", LONG, "größe"].map(String::from).into_iter().chain(workers("worker")) {
            expected.insert(kind, window.clone());
        }
        expected.insert("step".into(), vec![0; 47]);
        for kind in ["job", "leaf"] {
            expected.insert(kind.into(), vec![0; 47 * WORKERS as usize]);
        }
        assert_eq!(names, expected);

        for phase in ["b", "e"] {
            let flights = spans.iter().filter(|e| e["ph"] == phase).map(|e| e["name"].as_str().unwrap());
            assert_eq!(tally(flights), BTreeMap::from([("flight".into(), window.clone())]));
        }
        let counted = &metadata["ranks"][0];
        assert_eq!(number(&counted["spans"]), whole.len() as u64 + 47, "{counted}");
        assert_eq!((&counted["spans_clamped"], &counted["dropped"]), (&0.into(), &0.into()));
        // Iterations, spans and whatever names them.
        assert!(number(&capture["records"]) >= 47 + number(&counted["spans"]), "{capture:#}");
        assert_tracks(&events, &whole);
        assert_nested_in_steps(&events, &whole);

        // One rank's file has the same.
        let (of_rank, _) = trace(&sidecar, id, "&rank=0");
        assert_eq!(of_category(&of_rank, "nvtx"), spans);
        if tool {
            let log = calls(log.path());
            let seen = |text: &str| log.iter().filter(|c| c.detail.starts_with(text)).count() as u64;
            assert!(seen("outer ") >= last && seen("flight ") >= last, "the tool saw those outside the window too");
        }
    }
}

fn workers(what: &str) -> impl Iterator<Item = String> {
    (0..WORKERS).map(move |w| format!("{what} {w}"))
}

/// A track per thread, and one per thread and domain; told apart by name.
fn assert_tracks(events: &[Value], spans: &[&Value]) {
    let names: BTreeMap<(u64, u64), &str> = events
        .iter()
        .filter(|e| e["name"] == "thread_name")
        .map(|e| ((number(&e["pid"]), number(&e["tid"])), e["args"]["name"].as_str().unwrap()))
        .collect();
    let mut seen = BTreeMap::new();
    for span in spans {
        let track = names[&(number(&span["pid"]), number(&span["tid"]))];
        let name = span["name"].as_str().unwrap();
        let in_domain = name == "job" || name.starts_with(LONG);
        assert_eq!(span["args"]["domain"].as_str(), in_domain.then_some("engine"), "{span}");
        assert_eq!(track.ends_with(", engine"), in_domain, "{track}: {span}");
        if let Some(worker) = name.strip_prefix("worker ") {
            assert!(track.starts_with(&format!("worker-{} ", &worker[..1])), "{track}: {span}");
        }
        *seen.entry(track).or_insert(0) += 1;
    }
    assert_eq!(seen.len() as u64, 2 * (WORKERS + 1), "{seen:#?}");
}

/// What a step tells lies in that step's slice, and `inner` in `outer`.
fn assert_nested_in_steps(events: &[Value], spans: &[&Value]) {
    let slice = |e: &Value| (e["ts"].as_f64().unwrap(), e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap());
    let steps: BTreeMap<u64, (f64, f64)> =
        of_category(events, "iteration").iter().map(|e| (number(&e["args"]["iteration"]), slice(e))).collect();
    let numbered = |kind: &str| -> BTreeMap<u64, (f64, f64)> {
        let of = |e: &Value| Some((e["name"].as_str()?.strip_prefix(kind)?.trim().parse().ok()?, slice(e)));
        spans.iter().filter_map(|e| of(e)).collect()
    };
    let is_in = |inner: (f64, f64), outer: (f64, f64)| outer.0 <= inner.0 && inner.1 <= outer.1;
    let outer = numbered("outer ");
    for (n, inner) in numbered("inner ") {
        assert!(is_in(inner, outer[&n]) && is_in(outer[&n], steps[&n]), "{n}");
    }
    for (n, worker) in numbered("worker 0 ") {
        assert!(is_in(worker, steps[&n]), "{n}");
    }
}

#[test]
fn full_rings_are_left_to_iterations_and_every_range_that_is_missing_is_counted() {
    let small = [("STEPSCOPE_SEGMENT_BYTES", (128 << 10).to_string())];
    let mut emitter = Emitter::start(&["0", "3", "paced"], &small);
    let sidecar = Sidecar::start(&emitter.place, &["--lease-ms", "60000"]);
    emitter.make(3, 3);
    sidecar.attached(1);
    let id = sidecar.start_profile("")["capture_id"].as_str().unwrap().to_owned();
    emitter.make(7, 10);
    sidecar.in_state(&id, "recording");
    sidecar.signal("STOP");
    emitter.make(10, 20);
    sidecar.signal("CONT");
    sidecar.stop_profile();
    let capture = sidecar.finished(&id);
    let report = &capture["ranks"][0];
    assert_eq!((number(&report["first_iteration"]), number(&report["last_iteration"])), (4, 20), "{capture:#}");
    let numbers: Vec<u64> = sidecar.ledger(&id).iter().map(|row| number(&row["iteration"])).collect();
    assert_eq!(numbers, (4..=20).collect::<Vec<_>>(), "the spans of ten steps leave room for ten iterations");

    let (events, metadata) = trace(&sidecar, &id, "");
    let spans = of_category(&events, "nvtx").iter().filter(|e| e["ph"] != "e").count() as u64;
    assert_eq!(spans, number(&metadata["ranks"][0]["spans"]));
    // Per step six of the main thread's and three of each worker's; and the group of the steps 11 to 20 ends behind the
    // last step, while an idle engine's window is still open.
    let emitted = 17 * (6 + 3 * WORKERS) + 1;
    assert!(spans < emitted, "{capture:#}");
    assert_eq!(spans + number(&report["dropped"]), emitted, "{capture:#}");
}

#[test]
fn more_ranges_open_at_once_than_there_is_room_for_are_counted() {
    let mut emitter = Emitter::start(&["0", "0", "paced", "deep"], &[]);
    let sidecar = Sidecar::start(&emitter.place, &[]);
    emitter.make(1, 1);
    sidecar.attached(1);
    let id = sidecar.start_profile(r#"{"max_iterations": 3}"#)["capture_id"].as_str().unwrap().to_owned();
    emitter.make(3, 4);
    let capture = sidecar.finished(&id);
    let (events, _) = trace(&sidecar, &id, "");
    let spans = of_category(&events, "nvtx");
    let of = |phase: &str, name: &str| spans.iter().filter(|e| e["ph"] == phase && e["name"] == name).count() as u64;
    assert_eq!((of("X", "deep"), of("b", "open")), (3 * 32, 3 * 256), "{capture:#}");
    assert_eq!(number(&capture["dropped"]), 3 * (8 + 44), "{capture:#}");
}
