//! Reports of nsys: an export with the tables that NVIDIA documents, made by hand, since kernels need a GPU.
//! `tests/nsys/run.sh` has the real tool.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::support::{Files, events, names, ours, pid};
use crate::trace::sample::EPOCH_NS;

/// The report began 2 ms before our epoch, by a clock that is 1.5 ms ahead.
const SESSION_NS: u64 = EPOCH_NS - 2_000_000 + 1_500_000;
const PID: i64 = 1;

/// A time on our clock, as the report has it.
fn at(ns: i64) -> i64 {
    ns + 2_000_000
}

fn global(tid: i64) -> i64 {
    (PID << 24) | tid
}

fn export(path: &std::path::Path, iterations: std::ops::RangeInclusive<i64>) {
    let tables = Connection::open(path).unwrap();
    tables
        .execute_batch(
            "CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs INTEGER);
             CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
             INSERT INTO StringIds VALUES (1, 'void gemm<float>(\"x\")'), (2, 'cudaLaunchKernel_v7000'), (3, 'worker'),
                 (4, 'read'), (5, 'stepscope'), (6, 'gemm');
             CREATE TABLE PROCESSES (globalPid INTEGER, pid INTEGER, name TEXT);
             CREATE TABLE ThreadNames (nameId INTEGER, priority INTEGER, globalTid INTEGER);
             CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, rangeId INTEGER, text TEXT,
                 globalTid INTEGER, textId INTEGER, domainId INTEGER, uint64Value INTEGER);
             CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER, correlationId INTEGER,
                 nameId INTEGER, returnValue INTEGER);
             CREATE TABLE OSRT_API (start INTEGER, end INTEGER, globalTid INTEGER, nameId INTEGER);
             CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER, contextId INTEGER,
                 streamId INTEGER, correlationId INTEGER, globalPid INTEGER, demangledName INTEGER, shortName INTEGER,
                 gridX INTEGER, gridY INTEGER, gridZ INTEGER, blockX INTEGER, blockY INTEGER, blockZ INTEGER);
             CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,
                 correlationId INTEGER, globalPid INTEGER, bytes INTEGER, copyKind INTEGER);
             CREATE TABLE ENUM_CUDA_MEMCPY_OPER (id INTEGER, name TEXT, label TEXT);
             INSERT INTO ENUM_CUDA_MEMCPY_OPER VALUES (1, 'CUDA_MEMCPY_KIND_HTOD', 'HtoD');",
        )
        .unwrap();
    let run = |sql: &str, values: &[i64]| {
        tables.execute(sql, rusqlite::params_from_iter(values)).unwrap();
    };
    run("INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES (?1)", &[SESSION_NS as i64]);
    run("INSERT INTO PROCESSES VALUES (?1, ?2, 'engine')", &[PID << 24, PID]);
    run("INSERT INTO ThreadNames VALUES (3, 0, ?1)", &[global(40)]);
    run("INSERT INTO NVTX_EVENTS VALUES (?1, NULL, 75, NULL, NULL, ?2, 5, 3, NULL)", &[0, global(40)]);
    for number in iterations {
        let begin = at(number * 1_000_000 + 700);
        let name = format!("execute_context_{}({})_generation_{number}({number})", number % 3, number % 3 * 256);
        tables
            .execute(
                "INSERT INTO NVTX_EVENTS VALUES (?1, ?2, 59, NULL, ?3, ?4, NULL, 3, ?5)",
                rusqlite::params![begin, begin + 800_000, name, global(40), number],
            )
            .unwrap();
        run(
            "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?1, ?2, ?3, ?4, 2, 0)",
            &[begin + 10, begin + 90, global(40), number],
        );
        run(
            "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?1, ?2, 0, 1, 7, ?3, ?4, 1, 6, 4, 5, 6, 32, 1, 1)",
            &[begin + 200, begin + 500, number, PID << 24],
        );
    }
    run("INSERT INTO OSRT_API VALUES (?1, ?2, ?3, 4)", &[at(100), at(200), global(41)]);
    run("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (?1, ?2, 0, 7, 99, ?3, 4096, 1)", &[at(50), at(60), PID << 24]);
    run("INSERT INTO NVTX_EVENTS VALUES (?1, ?2, 60, 5, 'request', ?3, NULL, 0, NULL)", &[at(1), at(9), global(41)]);
    run("INSERT INTO NVTX_EVENTS VALUES (?1, NULL, 60, 6, 'capture', ?2, NULL, 3, NULL)", &[at(1), global(41)]);
}

fn merged() -> (stepscope::merge::Report, Value, Files) {
    let mut files = Files::new();
    files.input("ours.json", ours(&[0], 1, 20, 0));
    let path = files.path("report.sqlite");
    export(&path, 3..=18);
    files.wanted.inputs.push(path);
    let (report, trace) = files.merged();
    (report, trace, files)
}

#[test]
fn a_report_is_laid_on_our_iterations_by_its_nvtx_ranges() {
    let (report, trace, _) = merged();
    let nsys = &report.inputs[1];
    // Its clock is 1.5 ms ahead, and its ranges begin 700 ns behind ours: that much it is shifted, and says so.
    assert_eq!((nsys.offset_ns, nsys.uncertainty_ns, nsys.events), (-1_500_700, Some(0), 16 * 5 + 5));
    assert!(nsys.clock.contains("16 iterations, laid on those of ours"), "{}", nsys.clock);
    assert_eq!((report.matches[0].iterations, report.matches[0].median_offset_ns), (16, 0));
    let begins = |category: &str| -> Vec<f64> {
        let found = events(&trace).into_iter().filter(|event| event["cat"] == category);
        found
            .filter(|event| (3..=18).contains(&event["args"]["iteration"].as_u64().unwrap_or(0)))
            .map(|e| e["ts"].as_f64().unwrap())
            .collect()
    };
    assert_eq!(begins("iteration"), begins("nvtx_iteration"));
}

#[test]
fn kernels_calls_copies_and_ranges_have_kinetos_words_and_tracks_of_their_own() {
    let (_, trace, _) = merged();
    let (process, gpu) = (pid(&trace, "engine (pid 1)"), pid(&trace, "GPU 0 (process 1) (pid GPU 0 of 1)"));
    let of = |category: &str| events(&trace).into_iter().filter(|event| event["cat"] == category).collect::<Vec<_>>();
    let kernel = of("kernel")[0];
    assert_eq!(
        (&kernel["name"], kernel["pid"].as_u64(), kernel["tid"].as_u64()),
        (&json!("void gemm<float>(\"x\")"), Some(gpu), Some(7))
    );
    let arguments =
        json!({"device": 0, "stream": 7, "context": 1, "correlation": 3, "grid": [4, 5, 6], "block": [32, 1, 1]});
    assert_eq!(kernel["args"], arguments);
    let call = of("cuda_runtime")[0];
    assert_eq!(
        (&call["name"], &call["args"]["correlation"], call["tid"].as_u64()),
        (&json!("cudaLaunchKernel"), &json!(3), Some(40))
    );
    let copy = of("gpu_memcpy")[0];
    assert_eq!((&copy["name"], &copy["args"]["bytes"]), (&json!("Memcpy HtoD"), &json!(4096)));
    assert_eq!(of("osrt")[0]["name"], "read");
    let flows = of("ac2g");
    assert_eq!(flows.len(), 32);
    assert!(flows.iter().all(|flow| flow["pid"] == if flow["ph"] == "s" { process } else { gpu }));
    let ranges: Vec<_> =
        of("nvtx").iter().map(|e| (e["name"].clone(), e["ph"].clone(), e["args"]["open"].clone())).collect();
    assert!(ranges.contains(&(json!("request"), json!("b"), Value::Null)), "{ranges:?}");
    assert!(ranges.contains(&(json!("capture"), json!("i"), json!(true))), "{ranges:?}");
    let threads: Vec<&str> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["name"] == "thread_name" && e["pid"] == process)
        .map(|e| e["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(threads, ["worker 40, NVTX stepscope", "NVTX start/end", "worker 40, calls", "thread 41, calls"]);
}

#[test]
fn a_report_without_our_iterations_is_refused_since_nobody_knows_how_exact_its_clock_is() {
    let mut files = Files::new();
    files.input("ours.json", ours(&[0], 1, 20, 0));
    let path = files.path("report.sqlite");
    export(&path, 300..=310);
    files.wanted.inputs.push(path);
    let error = files.merge().unwrap_err().to_string();
    assert!(
        error.contains("nobody knows how far off report lies") && error.contains("begin of nsys's session"),
        "{error}"
    );
    files.wanted.force = true;
    assert_eq!(files.merge().unwrap().inputs[1].offset_ns, 0);
}

#[test]
fn a_database_of_somebody_else_is_refused_in_words() {
    let mut files = Files::new();
    files.input("ours.json", ours(&[0], 1, 3, 0));
    let path = files.path("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a INTEGER)").unwrap();
    files.wanted.inputs.push(path);
    let (report, trace) = files.merged();
    assert!(report.refused[0].why.contains("it is no export of nsys"), "{}", report.refused[0].why);
    assert_eq!(names(&trace).len(), 2);
}
