//! Counters in captures: right values at right times, in a trace of their own processes, whatever happens meanwhile.

use std::collections::BTreeMap;

use stepscope::trace::fragment::FragmentReader;

use super::support::*;
use crate::support::{Engine, Place, eventually, number};

/// What each call of the stand-in becomes.
const TITLES: &[(&str, &str)] = &[
    ("nvmlDeviceGetUtilizationRates", "GPU utilization (%)"),
    ("nvmlDeviceGetPowerUsage", "power (W)"),
    ("nvmlDeviceGetClockInfo.sm", "SM clock (MHz)"),
    ("nvmlDeviceGetClockInfo.memory", "memory clock (MHz)"),
    ("nvmlDeviceGetTemperature", "temperature (°C)"),
    ("nvmlDeviceGetCurrentClocksThrottleReasons", "throttle reasons (bits)"),
    ("nvmlDeviceGetMemoryInfo_v2", "memory used (bytes)"),
    ("nvmlDeviceGetPcieThroughput.transmitted", "PCIe transmitted (bytes/s)"),
    ("nvmlDeviceGetPcieThroughput.received", "PCIe received (bytes/s)"),
];

/// GPU 1 has GPM, and so no calls for PCIe.
const GPM_TITLES: &[(&str, &str)] = &[
    ("gpm.2", "SM busy (%)"),
    ("gpm.3", "SM occupancy (%)"),
    ("gpm.5", "tensor cores busy (%)"),
    ("gpm.10", "DRAM bandwidth (%)"),
    ("gpm.20", "PCIe transmitted (bytes/s)"),
    ("gpm.21", "PCIe received (bytes/s)"),
    ("gpm.60", "NVLink received (bytes/s)"),
    ("gpm.61", "NVLink transmitted (bytes/s)"),
];

/// How far the epoch is ahead of CLOCK_MONOTONIC in a trace: by the ranks' newest anchor.
fn epoch_offset_ns(bench: &Bench, id: &str) -> u64 {
    let fragments = bench.place.data().join("captures").join(id).join("fragments");
    let files = std::fs::read_dir(fragments).unwrap().map(|entry| entry.unwrap().path());
    let ranks = files.filter(|path| path.extension().is_some_and(|extension| extension == "frag"));
    let newest = ranks.filter_map(|path| FragmentReader::open(&path).unwrap().scan().unwrap().last_anchor);
    let newest = newest.max_by_key(|anchor| anchor.monotonic_ns).unwrap();
    newest.realtime_ns - newest.monotonic_ns
}

#[test]
fn every_counter_of_two_gpus_is_in_the_trace_with_its_value_and_its_time() {
    let bench = Bench::new("devices=2 gpm@1=1", &[]);
    bench.gpus_when("both GPUs", |gpus| gpus.len() == 2 && gpus.iter().all(|g| !g["age_ms"].is_null()));
    let pids = bench.sidecar.attached(2).iter().map(|r| r["pid"].to_string()).collect::<Vec<_>>().join(",");
    bench.say(&format!("devices=2 gpm@1=1 pids={pids}"));
    let id = bench.record();
    bench.values(&id, 400);
    let (manifest, trace) = bench.finish(&id);
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    assert_eq!(manifest["gpus"]["dropped"], 0);
    assert_eq!(manifest["gpus"]["absent"], serde_json::Value::Null);
    let names = ["GPU 0 (Stand-in \"X100\", GPU-00000)", "GPU 1 (Stand-in \"X100\", GPU-00001)"];
    assert_eq!(gpu_processes(&trace), names);

    let tracks = tracks(&trace);
    let total: usize = tracks.values().map(Vec::len).sum();
    assert_eq!(total as u64, number(&manifest["gpus"]["values"]), "all that was kept is drawn");
    let (base_ns, offset_ns) = (number(&trace["baseTimeNanoseconds"]), epoch_offset_ns(&bench, &id));
    let answers = bench.answers();
    for (gpu, name) in names.iter().enumerate() {
        let ours: Vec<_> = TITLES.iter().filter(|(call, _)| gpu == 0 || !call.contains("Pcie")).collect();
        for (call, title) in ours.into_iter().chain(GPM_TITLES.iter().filter(|_| gpu == 1)) {
            let points = tracks.get(&((*name).into(), (*title).into())).unwrap_or_else(|| panic!("{name}: {title}"));
            assert!(points.len() >= 2, "{name}: {title}: {points:?}");
            // Each point is an answer of that call, all of them in a row, read before the thread's next call.
            let mut at = None;
            for (at_ns, value) in points {
                let read_ns = base_ns + at_ns - offset_ns;
                let found =
                    answers.iter().rposition(|a| a.call == *call && a.device == gpu.to_string() && a.at_ns <= read_ns);
                let found = found.unwrap_or_else(|| panic!("{name}: {title} at {read_ns} was never answered"));
                assert_eq!(answers[found].value, *value, "{name}: {title}");
                let thread = answers[found].tid;
                let after = answers[found + 1..].iter().find(|a| a.tid == thread && !a.call.starts_with("gpm"));
                let after = after.filter(|a| a.call != "nvmlGpmMetricsGet" || !call.starts_with("gpm"));
                assert!(after.is_none_or(|a| read_ns <= a.at_ns) || call.starts_with("gpm"), "{name}: {title}");
                assert!(at.is_none_or(|before| before < found), "{name}: {title}: an answer twice");
                at = Some(found);
            }
        }
        for pid in pids.split(',') {
            let points = &tracks[&((*name).into(), format!("process {pid} SM utilization (%)"))];
            assert!(points.iter().all(|(_, value)| [31.0, 32.0].contains(value)), "{points:?}");
        }
        assert!(!tracks.contains_key(&((*name).into(), "process 1 SM utilization (%)".into())), "a stranger's process");
    }
    // On the iterations' clock: counters lie between the first and the last of them.
    let begins: Vec<f64> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["cat"] == "iteration")
        .map(|e| e["ts"].as_f64().unwrap() * 1000.0)
        .collect();
    let between = |at_ns: u64| begins[0] <= at_ns as f64 && at_ns as f64 <= *begins.last().unwrap();
    assert!(tracks.values().flatten().filter(|point| between(point.0)).count() > 400);
    assert_eq!(gpu_processes(&super::support::trace(&bench.sidecar, &id, "&rank=0")), Vec::<String>::new());
}

#[test]
fn a_window_is_sampled_at_once_and_fast_and_the_time_without_one_slowly() {
    let bench = Bench::new("", &["--nvml-period-ms", "3600000", "--nvml-window-period-ms", "10"]);
    bench.gpus_when("a first sample", |gpus| gpus.iter().any(|g| !g["age_ms"].is_null()));
    // A capture in which no window opens asks for nothing.
    let waiting =
        bench.sidecar.start_profile(r#"{"delay_iterations": 1000000}"#)["capture_id"].as_str().unwrap().to_owned();
    bench.sidecar.in_state(&waiting, "delaying");
    bench.sidecar.stop_profile();
    let cancelled = bench.sidecar.finished(&waiting);
    assert_eq!((&cancelled["state"], number(&cancelled["gpus"]["values"])), (&"cancelled".into(), 0));
    assert_eq!(bench.count("nvmlDeviceGetPowerUsage"), 1);
    for window in 1..=2 {
        let id = bench.record();
        bench.values(&id, 100);
        let (manifest, trace) = bench.finish(&id);
        assert_eq!(manifest["gpus"]["gpus"][0]["uuid"], "GPU-00000");
        let powers = tracks(&trace)[&(gpu_processes(&trace)[0].clone(), "power (W)".to_owned())].clone();
        assert!(powers.len() > 5, "window {window}: {powers:?}");
    }
    // A sample that was under way when the window closed is over 200 iterations later.
    let a_while = || bench.sidecar.begun(number(&bench.sidecar.attached(2)[0]["ended"]) + 200);
    a_while();
    let before = bench.count("nvmlDeviceGetPowerUsage");
    a_while();
    assert_eq!(bench.count("nvmlDeviceGetPowerUsage"), before, "no window is open");
}

#[test]
fn a_lost_gpu_ends_and_the_other_goes_on() {
    let bench = Bench::new("devices=2", &["--nvml-window-period-ms", "20"]);
    bench.gpus_when("both GPUs", |gpus| gpus.len() == 2 && gpus.iter().all(|g| !g["age_ms"].is_null()));
    let id = bench.record();
    bench.values(&id, 60);
    bench.say("devices=2 all@1=15");
    let gpus = bench.gpus_when("the loss", |gpus| !gpus[1]["lost"].is_null());
    assert!(gpus[1]["lost"].as_str().unwrap().contains("fell off the bus"), "{}", gpus[1]);
    assert_eq!((&gpus[0]["lost"], &gpus[1]["values"]), (&serde_json::Value::Null, &serde_json::json!({})));
    let asked = || bench.answers().iter().filter(|a| a.device == "1").count();
    let before = asked();
    bench.values(&id, 60);
    assert_eq!(asked(), before, "a GPU that is lost is left alone");
    let (manifest, trace) = bench.finish(&id);
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    let tracks = tracks(&trace);
    let last = |name: &str| tracks[&(name.into(), "power (W)".into())].last().unwrap().0;
    let names = gpu_processes(&trace);
    assert!(last(&names[1]) < last(&names[0]), "{names:?}");
    let metrics = bench.sidecar.get("/metrics").body;
    assert!(metrics.contains("stepscope_gpu_up{device=\"0\",uuid=\"GPU-00000\"} 1"), "{metrics}");
    assert!(metrics.contains("stepscope_gpu_up{device=\"1\",uuid=\"GPU-00001\"} 0"), "{metrics}");
    assert!(!metrics.contains("stepscope_gpu_power_watts{device=\"1\""), "{metrics}");
    assert_eq!(bench.sidecar.log().matches("no more counters of a GPU").count(), 1, "{}", bench.sidecar.log());
}

#[test]
fn mig_instances_are_gpus_of_their_own_and_the_gpu_around_them_lacks_its_utilization() {
    let bench = Bench::new("devices=1 mig@0=2 gpm@0=1", &["--nvml-window-period-ms", "20"]);
    let gpus = bench.gpus_when("all three", |gpus| gpus.len() == 3 && gpus.iter().all(|g| !g["age_ms"].is_null()));
    let key = |gpu: &serde_json::Value| (gpu["index"].clone(), gpu["mig"].clone(), gpu["uuid"].clone());
    assert_eq!(key(&gpus[0]), (0.into(), serde_json::Value::Null, "GPU-00000".into()));
    assert_eq!(key(&gpus[2]), (0.into(), 1.into(), "MIG-00000-1".into()));
    assert_eq!(gpus[0]["absent"]["gpu_utilization_percent"], "not supported by this GPU");
    assert!(gpus[0]["values"]["power_watts"].is_number() && gpus[2]["values"]["memory_used_bytes"].is_number());
    assert!(gpus[2]["absent"]["sm_busy_percent"].as_str().unwrap().contains("GPM"), "{}", gpus[2]);
    let id = bench.record();
    bench.values(&id, 60);
    let (_, trace) = bench.finish(&id);
    let names = gpu_processes(&trace);
    assert_eq!(names[2], "GPU 0 MIG 1 (Stand-in MIG 1g, MIG-00000-1)");
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    tracks(&trace).into_keys().for_each(|(process, name)| of.entry(process).or_default().push(name));
    assert_eq!(of[&names[2]], ["memory used (bytes)"]);
    assert!(of[&names[0]].contains(&"SM busy (%)".into()) && !of[&names[0]].contains(&"GPU utilization (%)".into()));
}

#[test]
fn a_call_that_hangs_stalls_neither_captures_nor_the_end() {
    for call in ["nvmlInit_v2", "nvmlDeviceGetPowerUsage"] {
        let bench = Bench::new(&format!("hang={call}"), &[]);
        let started = bench.sidecar.start_profile(r#"{"max_iterations": 20}"#);
        let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
        assert_eq!(capture["complete"], true, "{capture:#}");
        if call == "nvmlInit_v2" {
            assert_eq!(capture["gpus"]["absent"], "NVML has not answered yet");
            let status = bench.sidecar.get("/stepscope/v1/status").ok();
            assert_eq!(status["gpus_absent"], "NVML has not answered yet");
        }
        let Bench { sidecar, engine, place } = bench;
        assert!(sidecar.end().success());
        drop((engine, place));
    }
}

#[test]
fn a_call_that_hung_for_a_while_goes_on_where_it_was() {
    let bench = Bench::new("", &["--nvml-window-period-ms", "20"]);
    bench.gpus_when("a first sample", |gpus| gpus.iter().any(|g| !g["age_ms"].is_null()));
    let id = bench.record();
    bench.values(&id, 30);
    bench.say("hang=nvmlDeviceGetPowerUsage");
    bench.gpus_when("the stall", |gpus| number(&gpus[0]["age_ms"]) > 300);
    bench.say("");
    bench.values(&id, 30);
    assert_eq!(bench.finish(&id).0["complete"], true);
}

#[test]
fn a_killed_sidecar_leaves_the_counters_it_had() {
    let bench = Bench::new("", &["--lease-ms", "1000", "--nvml-window-period-ms", "20"]);
    let id = bench.record();
    bench.values(&id, 60);
    let Bench { sidecar: killed, engine, place } = bench;
    killed.kill();
    let next = sidecar(&place, &[]);
    let capture = next.finished(&id);
    assert_eq!(capture["closed_by"], "sidecar_died", "{capture:#}");
    assert_eq!(capture["ranks"].as_array().unwrap().len(), 2, "the counters are no rank's");
    assert!(number(&capture["gpus"]["values"]) >= 60, "{capture:#}");
    let trace = trace(&next, &id, "");
    let points: usize = tracks(&trace).values().map(Vec::len).sum();
    assert_eq!(points as u64, number(&capture["gpus"]["values"]));
    drop(engine);
}

#[test]
fn engines_come_and_go_beside_their_gpus() {
    let place = Place::new();
    std::fs::write(place.path().join("nvml"), "").unwrap();
    let sidecar = sidecar(&place, &["--nvml-period-ms", "10"]);
    let engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "2000", "--ranks", "1"]);
    let pid = sidecar.attached(1)[0]["pid"].clone();
    std::fs::write(place.path().join("nvml"), format!("pids={pid}")).unwrap();
    let processes = || sidecar.get("/stepscope/v1/status").ok()["gpus"][0]["processes"].clone();
    let found = eventually("the engine's process", || {
        Some(processes()).filter(|p| p.as_array().is_some_and(|p| !p.is_empty()))
    });
    let expected = serde_json::json!([{"pid": pid, "sm_utilization_percent": 31, "memory_utilization_percent": 11}]);
    assert_eq!(found, expected);
    let metrics = sidecar.get("/metrics").body;
    let line =
        format!("stepscope_gpu_process_sm_utilization_ratio{{device=\"0\",uuid=\"GPU-00000\",pid=\"{pid}\"}} 0.31");
    assert!(metrics.contains(&line), "{metrics}");
    drop(engine);
    eventually("the process to go", || processes().as_array().unwrap().is_empty().then_some(()));
}
