//! What is not there: one call, NVML's driver, its library, or the wish for it. Each with its reason, each said once.
#![allow(unsafe_code, reason = "the real library is asked whether it is there")]

use std::process::Command;

use serde_json::Value;

use super::support::*;
use crate::support::{Place, Sidecar, eventually, stepscope};

/// Each call, and the counters that hang on it.
const CALLS: &[(&str, &[&str])] = &[
    ("nvmlDeviceGetUtilizationRates", &["gpu_utilization_percent", "memory_utilization_percent"]),
    ("nvmlDeviceGetPowerUsage", &["power_watts"]),
    ("nvmlDeviceGetClockInfo.sm", &["sm_clock_mhz"]),
    ("nvmlDeviceGetClockInfo.memory", &["memory_clock_mhz"]),
    ("nvmlDeviceGetTemperature", &["temperature_celsius"]),
    ("nvmlDeviceGetCurrentClocksThrottleReasons", &["throttle_reasons"]),
    ("nvmlDeviceGetMemoryInfo_v2", &["memory_used_bytes"]),
    ("nvmlDeviceGetPcieThroughput.transmitted", &["pcie_transmitted_bytes_per_second"]),
    ("nvmlDeviceGetPcieThroughput.received", &["pcie_received_bytes_per_second"]),
    ("nvmlDeviceGetProcessUtilization", &["process_sm_utilization_percent", "process_memory_utilization_percent"]),
];

const GPM: [&str; 6] = [
    "dram_bandwidth_percent",
    "nvlink_received_bytes_per_second",
    "nvlink_transmitted_bytes_per_second",
    "sm_busy_percent",
    "sm_occupancy_percent",
    "tensor_busy_percent",
];

/// NVML's codes, and what is said of them.
const CODES: [(u32, &str); 5] = [
    (3, "not supported by this GPU"),
    (4, "not permitted to this user"),
    (13, "a function couldn't be found in a shared library"),
    (28, "NVML answered with code 28"),
    (999, "an internal driver error occurred"),
];

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_call_that_fails_takes_its_counters_away_and_nothing_else() {
    // GPU n fails call n; the last one fails all of GPM.
    let mut says = format!("devices={}", CALLS.len() + 1);
    for (gpu, (call, _)) in CALLS.iter().enumerate() {
        says += &format!(" {call}@{gpu}={}", CODES[gpu % CODES.len()].0);
    }
    says += &format!(" gpm@{0}=1 nvmlGpmSampleGet@{0}=999", CALLS.len());
    let bench = Bench::new(&says, &["--nvml-period-ms", "50"]);
    let all = CALLS.len() + 1;
    let gpus = bench.gpus_when("all answers", |gpus| {
        let known = |gpu: &Value| keys(&gpu["values"]).len() + keys(&gpu["absent"]).len();
        // Processes are asked for once an engine is attached.
        let asked = |gpu: &Value| keys(&gpu["absent"]).iter().any(|key| key.starts_with("process_"));
        gpus.len() == all && gpus.iter().all(|gpu| known(gpu) >= 16) && gpus.iter().any(asked)
    });
    let mut all_counters: Vec<&str> = CALLS.iter().flat_map(|(_, counters)| *counters).copied().chain(GPM).collect();
    all_counters.sort_unstable();
    for (gpu, (call, counters)) in CALLS.iter().enumerate() {
        let mut absent: Vec<&str> = counters.iter().copied().chain(GPM).collect();
        absent.sort_unstable();
        assert_eq!(keys(&gpus[gpu]["absent"]), absent, "{call}");
        for counter in *counters {
            assert_eq!(gpus[gpu]["absent"][counter], CODES[gpu % CODES.len()].1, "{call}");
            assert_eq!(gpus[gpu]["values"][counter], Value::Null, "{call}");
        }
        let values = keys(&gpus[gpu]["values"]);
        let expected = all_counters.iter().filter(|c| !absent.contains(c) && !c.starts_with("process_"));
        assert_eq!(values, expected.copied().collect::<Vec<_>>(), "{call}");
    }
    let last = gpus.last().unwrap();
    assert_eq!((keys(&last["absent"]), &last["absent"]["sm_busy_percent"]), (GPM.to_vec(), &CODES[4].1.into()));
    assert_eq!(last["throttled_by"], serde_json::json!(["sw_power_cap", "sw_thermal_slowdown"]));
    // Dozens of samples later each GPU has said so once; a call that is not supported was made once.
    let passes = bench.count("nvmlDeviceGetTemperature");
    eventually("more samples", || (bench.count("nvmlDeviceGetTemperature") > passes + 10 * all).then_some(()));
    let log = bench.sidecar.log();
    for counter in CALLS.iter().flat_map(|(_, counters)| *counters) {
        let said = log.matches(&format!(" {counter}:")).count() + log.matches(&format!(" {counter},")).count();
        assert_eq!(said, 1, "{counter}: {log}");
    }
    assert_eq!(log.matches("sm_busy_percent").count(), all, "{log}");
    let failing =
        |gpu: usize| bench.answers().iter().filter(|a| a.call == CALLS[gpu].0 && a.device == gpu.to_string()).count();
    assert_eq!([failing(0), failing(5)], [1, 1]);
    let id = bench.record();
    bench.values(&id, 500);
    let (manifest, trace) = bench.finish(&id);
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    let names = gpu_processes(&trace);
    assert!(!tracks(&trace).contains_key(&(names[1].clone(), "power (W)".into())));
}

#[test]
fn a_call_that_failed_for_a_while_comes_back() {
    let bench = Bench::new("nvmlDeviceGetPowerUsage=999", &["--nvml-period-ms", "10"]);
    bench.gpus_when("the failure", |gpus| gpus.iter().any(|g| g["absent"]["power_watts"].is_string()));
    bench.say("");
    bench.gpus_when("the value", |gpus| gpus[0]["values"]["power_watts"].is_number());
    assert_eq!(bench.gpus()[0]["absent"]["power_watts"], Value::Null);
}

#[test]
fn a_gpu_that_can_not_be_had_is_named_and_the_others_are_sampled() {
    let bench = Bench::new("devices=3 nvmlDeviceGetHandleByIndex_v2@1=15", &["--nvml-window-period-ms", "20"]);
    let gpus = bench.gpus_when("two of three", |g| g.iter().filter(|g| !g["age_ms"].is_null()).count() == 2);
    let lost: Vec<_> = gpus.iter().filter(|g| !g["lost"].is_null()).map(|g| g["index"].clone()).collect();
    assert_eq!(lost, [1]);
    let id = bench.record();
    bench.values(&id, 40);
    let (_, trace) = bench.finish(&id);
    assert_eq!(gpu_processes(&trace).len(), 2);
    assert!(gpu_processes(&trace)[1].starts_with("GPU 2 "));
}

/// A sidecar without a stand-in, and what it says once it knows.
fn reason(sidecar: &Sidecar) -> String {
    eventually("the reason", || {
        let status = sidecar.get("/stepscope/v1/status").ok();
        assert_eq!(status["gpus"], serde_json::json!([]));
        Some(status["gpus_absent"].as_str()?.to_owned()).filter(|reason| reason != "NVML has not answered yet")
    })
}

/// Captures work without it, and say why they hold none; so do `capabilities`, and the log, once.
fn works_without(sidecar: &Sidecar, place: &Place, reason: &str) {
    let engine = crate::support::Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "2000"]);
    sidecar.attached(2);
    let started = sidecar.start_profile(r#"{"max_iterations": 20}"#);
    let id = started["capture_id"].as_str().unwrap();
    let capture = sidecar.finished(id);
    assert_eq!(capture["complete"], true, "{capture:#}");
    assert_eq!(capture["gpus"], serde_json::json!({"gpus": [], "values": 0, "dropped": 0, "absent": reason}));
    assert_eq!(gpu_processes(&trace(sidecar, id, "")), Vec::<String>::new());
    let nvml = sidecar.get("/stepscope/v1/capabilities").ok()["counters"]["nvml"].clone();
    assert_eq!(nvml, serde_json::json!({"available": false, "reason": reason}));
    assert!(sidecar.log().matches("no counters of GPUs").count() <= 1, "{}", sidecar.log());
    assert!(!sidecar.get("/metrics").body.contains("stepscope_gpu"));
    drop(engine);
}

#[test]
fn without_the_library_everything_else_works() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &["--nvml-library", "/nowhere/libnvidia-ml.so.1"]);
    let reason = reason(&sidecar);
    assert!(reason.starts_with("the NVML library can't be loaded: ") && reason.contains("/nowhere/"), "{reason}");
    works_without(&sidecar, &place, &reason);
}

#[test]
fn a_library_that_is_none_of_nvml_is_no_harm() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &["--nvml-library", "libc.so.6"]);
    let reason = reason(&sidecar);
    assert!(reason.contains("does not know it"), "{reason}");
}

#[test]
fn with_the_real_library_and_no_driver_everything_else_works() {
    if std::path::Path::new("/dev/nvidiactl").exists() {
        return; // there is a driver: what it says is not known here
    }
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let reason = reason(&sidecar);
    // SAFETY: the vendor's library; loading it runs nothing of ours.
    let expected = match unsafe { libloading::Library::new("libnvidia-ml.so.1") } {
        Ok(_) => "no NVIDIA driver is loaded",
        Err(_) => "the NVML library can't be loaded: ",
    };
    assert!(reason.starts_with(expected), "{reason}");
    works_without(&sidecar, &place, &reason);
}

#[test]
fn switched_off_nvml_is_never_called() {
    let off = ["--nvml-period-ms", "0", "--nvml-window-period-ms", "0"];
    let bench = Bench::new("", &off);
    assert!(reason(&bench.sidecar).starts_with("switched off"));
    let started = bench.sidecar.start_profile(r#"{"max_iterations": 20}"#);
    let capture = bench.sidecar.finished(started["capture_id"].as_str().unwrap());
    assert!(capture["gpus"]["absent"].as_str().unwrap().starts_with("switched off"), "{capture:#}");
    assert_eq!(bench.answers(), []);
}

#[test]
fn switched_off_for_captures_status_still_has_them() {
    let bench = Bench::new("", &["--nvml-period-ms", "10", "--nvml-window-period-ms", "0"]);
    bench.gpus_when("a first sample", |gpus| gpus.iter().any(|g| !g["age_ms"].is_null()));
    let id = bench.record();
    let before = bench.count("nvmlDeviceGetPowerUsage");
    eventually("samples in the window", || (bench.count("nvmlDeviceGetPowerUsage") > before + 3).then_some(()));
    let (manifest, trace) = bench.finish(&id);
    assert_eq!(manifest["gpus"]["values"], 0);
    assert_eq!(manifest["gpus"]["absent"], "switched off: nvml.window_period_ms is 0");
    assert_eq!(gpu_processes(&trace), Vec::<String>::new());
}

#[test]
fn doctor_says_in_one_line_what_nvml_says() {
    let place = Place::new();
    std::fs::write(place.path().join("nvml"), "devices=2").unwrap();
    let doctor = |library: &std::path::Path| {
        let output = Command::new(stepscope())
            .args(["doctor", "--url", "http://127.0.0.1:1", "--dir"])
            .arg(place.segments())
            .env("STEPSCOPE_TEST_NVML", place.path().join("nvml"))
            .env("STEPSCOPE_NVML_LIBRARY", library)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.contains(" gpu ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(doctor(&nvml()), ["ok   gpu      NVML, driver 550.54.15: 2 GPUs"]);
    std::fs::write(place.path().join("nvml"), "nvmlInit_v2=9").unwrap();
    assert_eq!(doctor(&nvml()).len(), 1);
    assert!(doctor(&nvml())[0].contains("no NVIDIA driver is loaded"));
}
