//! The ledger: one row per iteration, the numbers of the trace.

use serde_json::{Value, json};
use stepscope::trace::event::{Event, Flags};
use stepscope::trace::ledger::write_ledger;
use stepscope::trace::meta::Selection;
use stepscope::trace::output::LedgerFormat;

use super::sample::*;

#[test]
fn a_row_has_exactly_these_fields() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = iterations(1, 4, 3);
    let Event::Iteration(second) = &mut events[1] else { panic!() };
    second.flags = Flags::NO_BATCH.with(Flags::UNENDED);
    second.device_ns = Some(5);
    let mut identity = identity("g \"0\"", 1);
    identity.job = "j\n".into();
    let file = fragment(dir.path(), &identity, &events);
    let mut bytes = Vec::new();
    let summary =
        write_ledger(&[file], &meta(Vec::new()), &Selection::default(), LedgerFormat::JsonLines, &mut bytes).unwrap();
    let rows: Vec<Value> =
        bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!((rows.len(), summary.events), (3, 3));
    assert_eq!(
        rows[1],
        json!({"job": "j\n", "group": "g \"0\"", "rank": 1, "iteration": 5, "start_ns": EPOCH_NS + 5_001_000,
            "duration_ns": 800_123, "interval_ns": 1_000_000, "device_ns": 5, "context_requests": null,
            "context_tokens": null, "generation_requests": null, "generation_tokens": null, "dummy": false,
            "mid_iteration": false, "unended": true})
    );
    assert_eq!(rows[0]["context_tokens"], 256);
    assert_eq!((&rows[0]["device_ns"], &rows[2]["interval_ns"]), (&Value::Null, &Value::Null));
}

#[test]
fn rows_of_all_ranks_come_by_time_and_agree_with_the_trace() {
    let dir = tempfile::tempdir().unwrap();
    let files = [0, 1, 2].map(|rank| fragment(dir.path(), &identity("0", rank), &iterations(rank, 1, 500)));
    let meta = meta((0..3).map(|rank| window("0", rank, 100, 399)).collect());
    let mut bytes = Vec::new();
    write_ledger(&files, &meta, &Selection::default(), LedgerFormat::JsonLines, &mut bytes).unwrap();
    let rows: Vec<Value> =
        String::from_utf8(bytes).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), 900);
    assert!(rows.is_sorted_by_key(|row| row["start_ns"].as_u64()));
    let (trace, _) = text(&files, &meta, &Selection::default());
    let events = checked(&trace);
    let base_ns = serde_json::from_str::<Value>(&trace).unwrap()["baseTimeNanoseconds"].as_u64().unwrap();
    for (row, slice) in rows.iter().zip(of_category(&events, "iteration")) {
        let ns = |v: &Value| (v.as_f64().unwrap() * 1000.0).round() as u64;
        assert_eq!(row["iteration"], slice["args"]["iteration"]);
        assert_eq!(row["start_ns"], base_ns + ns(&slice["ts"]));
        assert_eq!(row["duration_ns"], ns(&slice["dur"]));
        assert_eq!(row["generation_tokens"], slice["args"]["generation_tokens"]);
    }
}

#[test]
fn csv_has_the_rows_of_the_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = iterations(1, 4, 3);
    let Event::Iteration(second) = &mut events[1] else { panic!() };
    second.flags = Flags::NO_BATCH.with(Flags::DUMMY);
    let mut identity = identity("g, \"0\"", 1);
    identity.job = "j\r\nk".into();
    let files = [fragment(dir.path(), &identity, &events)];
    let mut bytes = Vec::new();
    let meta = meta(Vec::new());
    let summary = write_ledger(&files, &meta, &Selection::default(), LedgerFormat::Csv, &mut bytes).unwrap();
    assert_eq!(summary.events, 3);
    let start_ns = |number: u64| EPOCH_NS + number * 1_000_000 + 1000;
    let whose = "\"j\r\nk\",\"g, \"\"0\"\"\",1";
    let expected = [
        "job,group,rank,iteration,start_ns,duration_ns,interval_ns,device_ns,context_requests,context_tokens,\
         generation_requests,generation_tokens,dummy,mid_iteration,unended"
            .to_owned(),
        format!("{whose},4,{},800123,1000000,,1,256,4,4,false,false,false", start_ns(4)),
        format!("{whose},5,{},800123,1000000,,,,,,true,false,false", start_ns(5)),
        format!("{whose},6,{},800123,,,0,0,6,6,false,false,false", start_ns(6)),
        String::new(),
    ];
    assert_eq!(String::from_utf8(bytes).unwrap(), expected.join("\r\n"));
    let mut none = Vec::new();
    write_ledger(&files, &meta, &Selection::rank(7), LedgerFormat::Csv, &mut none).unwrap();
    assert_eq!(none.iter().filter(|&&byte| byte == b'\n').count(), 1, "the header alone");
}
