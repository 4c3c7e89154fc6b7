//! Files as they are found: cut short, damaged, with characters that no reader takes. A clear word each, and the rest kept.

use serde_json::json;
use stepscope::merge::{LONGEST_EVENT, Maker};

use super::support::{Files, annotations, events, gzip, kineto, ours, zstd};

#[test]
fn a_torn_tail_costs_the_last_event_and_is_said() {
    let whole = kineto(0, "a", &annotations(1, 50, |_| 0));
    let at = whole.rfind("\"External id\"").unwrap();
    let mut files = Files::new();
    files.input("ours.json", ours(&[0], 1, 50, 0)).input("torn.json", &whole[..at]);
    let (report, _) = files.merged();
    let torn = &report.inputs[1];
    assert_eq!((torn.events, torn.cut.as_deref()), (49, Some("it does not end as a trace ends")));
    assert!(torn.cut_bytes == 9 && !report.is_complete(), "{torn:?}");
    assert_eq!(report.matches[0].iterations, 49);
}

#[test]
fn packings_that_are_cut_short_keep_what_was_unpacked() {
    // Names that do not pack to nothing, so that the cut lies among the events.
    let noise =
        |n: u64| json!({"ph": "i", "pid": 4000, "ts": n, "name": n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string()});
    let whole = kineto(0, "a", &(0..30_000).map(noise).collect::<Vec<_>>());
    let member = whole.len() / 2;
    let members = [gzip(&whole[..member]), gzip(&whole[member..])].concat();
    for (packed, word) in [(gzip(&whole), "gzip"), (members, "gzip"), (zstd(&whole), "zstd")] {
        let mut files = Files::new();
        files.input("x", &packed[..packed.len() * 3 / 4]);
        let (report, _) = files.merged();
        let input = &report.inputs[0];
        assert!(input.events > 15_000 && input.events < 29_000, "{word}: {}", input.events);
        assert_eq!(input.cut, Some(format!("the {word} is cut short")));
    }
}

#[test]
fn a_capture_of_ours_that_lost_its_metadata_is_still_ours() {
    let whole = ours(&[0], 1, 50, 0);
    let mut files = Files::new();
    let (report, _) = files.input("ours.json", &whole[..whole.find("\"metadata\"").unwrap() - 4]).merged();
    assert_eq!((report.inputs[0].maker, report.looking_at_ns), (Maker::Stepscope, 800_123));
    assert!(!report.is_complete());
}

#[test]
fn what_no_reader_takes_is_mended_or_left_out() {
    let mut text = br#"{"baseTimeNanoseconds":1800000000000000000,"traceEvents":[
{"ph":"X","ts":1,"pid":1,"name":"tab	and "#
        .to_vec();
    text.extend_from_slice(b"\xff\xfe\x01\"},\n");
    text.extend_from_slice(
        r#"{"ph":"X","ts":2,"pid":1,"name":"nan","args":{"a":NaN,"b":[Infinity,-Infinity]}},
{"ph":"X","ts":3,"pid":1,"name":"he said "stop" and left"},
{"ph":"X","ts":4,"pid":1,"name":"path C:\dir \u12"},
{"ph":"X","ts":NaN,"pid":1,"name":"no time"},
42,
{"ph":"X","ts":5,"pid":1,"name":"quote \" backslash \\ é \ud83d\ude00"}],"metadata":{"x":NaN}}"#
            .as_bytes(),
    );
    let mut files = Files::new();
    let (report, trace) = files.input("wild.json", text).merged();
    let names: Vec<&str> = events(&trace).iter().map(|event| event["name"].as_str().unwrap()).collect();
    let wanted =
        ["tab\tand \u{fffd}\u{fffd}\u{1}", "nan", "path C:\\dir \\u12", "no time", "quote \" backslash \\ é 😀"];
    assert_eq!(names, wanted);
    assert_eq!(events(&trace)[1]["args"], json!({"a": null, "b": [null, null]}));
    let input = &report.inputs[0];
    assert_eq!((input.mended, input.damaged, input.strays, input.timeless), (4, 1, 1, 1));
    assert!(input.lost().iter().any(|word| word == "1 broken place"), "{:?}", input.lost());
    assert_eq!(input.says["metadata"], json!({"x": null}));
}

#[test]
fn long_strings_are_kept_and_longer_ones_counted() {
    let event = |length: usize| json!({"ph": "X", "ts": 1, "pid": 1, "args": {"code": "\"\\\n".repeat(length / 6)}});
    let trace = json!({"traceEvents": [event(1 << 20), event(LONGEST_EVENT + 10), event(6)], "baseTimeNanoseconds": 7});
    let mut files = Files::new();
    let (report, merged) = files.input("long.json.gz", gzip(trace.to_string())).merged();
    let lengths: Vec<usize> =
        events(&merged).iter().map(|event| event["args"]["code"].as_str().unwrap().len()).collect();
    assert_eq!(lengths, [(1 << 20) / 6 * 3, 3]);
    assert_eq!((report.inputs[0].oversized, report.is_complete()), (1, false));
}
