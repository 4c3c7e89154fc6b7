//! What goes in and what comes out: packings, kinds of trace, the exactness of times.

use std::io::Read;

use serde_json::json;

use super::support::{Files, annotations, events, gzip, kineto, kineto_ts, names, ours, pid, read, zstd};
use crate::trace::sample::{EPOCH_NS, checked};

#[test]
fn a_capture_of_ours_alone_comes_back_as_it_was() {
    let mut files = Files::new();
    let text = ours(&[0, 1], 1, 20, 0);
    let (report, trace) = files.input("capture.json", &text).merged();
    let before = checked(&text);
    let after = checked(&std::fs::read_to_string(&files.wanted.output).unwrap());
    assert_eq!(before.len(), after.len());
    let at = |event: &serde_json::Value, base: u64| (event["ts"].as_f64().unwrap() * 1000.0).round() as u64 + base;
    let (old, new) = (read(&files.wanted.inputs[0])["baseTimeNanoseconds"].as_u64().unwrap(), report.base_ns.unwrap());
    let timed = |event: &&serde_json::Value| event["ph"] != "M";
    for (before, after) in before.iter().filter(timed).zip(after.iter().filter(timed)) {
        assert_eq!(at(before, old), at(after, new));
        for key in ["ph", "cat", "name", "pid", "tid", "dur", "args", "id", "s"] {
            assert_eq!(before[key], after[key], "{before} {after}");
        }
    }
    assert_eq!(names(&trace), ["rank 0 (vllm 0.32.0, tp0, pid 1)", "rank 1 (vllm 0.32.0, tp1, pid 1)", "stepscope"]);
    assert!(report.is_complete() && report.matches.is_empty());
    assert!(trace.get("rank").is_none(), "it is of two ranks");
}

#[test]
fn packing_is_told_by_content_and_chosen_by_the_ending() {
    let (capture, torch) = (ours(&[0], 1, 20, 0), kineto(0, "a", &annotations(1, 20, |_| 20_000)));
    let mut outputs = Vec::new();
    for (name, output) in [("a.json", "out.json"), ("b.json.gz", "out.json.gz"), ("c.txt", "out.json.zst")] {
        let mut files = Files::new();
        let packed: [Vec<u8>; 2] = match output {
            "out.json" => [capture.clone().into(), torch.clone().into()],
            "out.json.gz" => [gzip(&capture), gzip(&torch)],
            _ => [zstd(&capture), zstd(&torch)],
        };
        let [capture, torch] = packed;
        files.input(name, capture).input("torch", torch);
        files.wanted.output = files.path(output);
        files.merge().unwrap();
        let bytes = std::fs::read(&files.wanted.output).unwrap();
        let mut text = Vec::new();
        match output {
            "out.json" => text = bytes,
            "out.json.gz" => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap()),
            _ => text = zstd::decode_all(&bytes[..]).unwrap(),
        }
        let trace: serde_json::Value = serde_json::from_slice(&text).unwrap();
        outputs.push(trace["traceEvents"].clone());
        assert_eq!(files.left_behind(), [files.wanted.output.clone()]);
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn times_of_all_inputs_are_exact_to_the_nanosecond() {
    let mut files = Files::new();
    let event =
        json!({"ph": "X", "cat": "cpu_op", "name": "mm", "pid": 4000, "tid": 1, "ts": kineto_ts(2_000_123), "dur": 1});
    files.input("ours.json", ours(&[0], 1, 3, 0)).input("torch.json", kineto(0, "a", &[event]));
    let (report, _) = files.merged();
    // Ours opens 50 µs before its first iteration, at 1 ms: the base is the millisecond before.
    assert_eq!(report.base_ns, Some(EPOCH_NS));
    let text = std::fs::read_to_string(&files.wanted.output).unwrap();
    let line = text.lines().find(|line| line.contains("cpu_op")).unwrap();
    assert!(line.contains("\"ts\":2000.123}"), "{line}");
    assert!(text.contains(&format!("\"baseTimeNanoseconds\":{EPOCH_NS}")));
}

#[test]
fn the_output_is_in_the_order_of_time_as_far_as_the_inputs_are_and_always_the_same() {
    let mut files = Files::new();
    files.input("a.json", ours(&[0], 1, 200, 0)).input("b.json", kineto(0, "a", &annotations(51, 100, |_| 9_000)));
    let (_, trace) = files.merged();
    let iterations = |cat: &str| {
        let all = events(&trace);
        all.iter().enumerate().filter(|(_, e)| e["cat"] == cat).map(|(at, _)| at).collect::<Vec<_>>()
    };
    let (ours, theirs) = (iterations("iteration"), iterations("user_annotation"));
    let theirs: Vec<usize> = theirs.into_iter().filter(|at| events(&trace)[*at]["pid"] == 3).collect();
    // Each of theirs lies near the same one of ours, and what ours says of its end in front does not hold it up.
    assert_eq!((ours.len(), theirs.len()), (200, 100));
    for (number, at) in theirs.iter().enumerate() {
        assert!(ours[50 + number - 4] < *at && *at < ours[50 + number + 4], "{number}");
    }
    let first = std::fs::read(&files.wanted.output).unwrap();
    files.merge().unwrap();
    assert_eq!(first, std::fs::read(&files.wanted.output).unwrap());
}

#[test]
fn one_rank_alone_keeps_its_number_where_hta_looks_for_it_and_several_have_none() {
    let mut files = Files::new();
    files.input("ours.json", ours(&[1], 1, 9, 0)).input("torch.json", kineto(1, "a", &[json!({"ph": "X", "rank": 7})]));
    let (report, trace) = files.merged();
    assert_eq!((report.rank, trace["rank"].as_u64()), (Some(1), Some(1)));
    let text = std::fs::read_to_string(&files.wanted.output).unwrap();
    // `"rank":\s+(\d+)`: the first hit counts.
    let at = text.find("\"rank\": ").unwrap();
    assert!(text[at..].starts_with("\"rank\": 1,"));

    files.input("other.json", kineto(0, "a", &[]));
    let (report, trace) = files.merged();
    assert_eq!((report.rank, trace.get("rank")), (None, None));
    assert!(!std::fs::read_to_string(&files.wanted.output).unwrap().contains("\"rank\": "));
}

#[test]
fn a_merged_trace_can_be_merged_again() {
    let mut files = Files::new();
    files.input("a.json", ours(&[0], 1, 9, 0)).input("b.json", kineto(0, "a", &annotations(1, 9, |_| 0)));
    files.merge().unwrap();
    let text = std::fs::read(&files.wanted.output).unwrap();
    let mut again = Files::new();
    again.input("ab.json", text).input("c.json", ours(&[1], 1, 9, 0));
    let (report, trace) = again.merged();
    assert_eq!(report.inputs[0].events, files.merge().unwrap().events);
    assert_ne!(pid(&trace, "ab: stepscope"), pid(&trace, "c: stepscope"));
}

#[test]
fn what_is_no_trace_is_refused_in_words_and_the_rest_is_merged() {
    let mut files = Files::new();
    files.input("page.html", "<html>").input("empty.json", "").input("list.json", "[1,2]");
    files.input("settings.json", "{\"a\":1}").input("ours.json", ours(&[0], 1, 3, 0));
    files.wanted.inputs.push(files.path("nowhere.json"));
    files.wanted.inputs.push("/dev/null".into());
    let (report, _) = files.merged();
    let why: Vec<&str> = report.refused.iter().map(|refused| refused.why.as_str()).collect();
    for (why, word) in why.iter().zip([
        "neither { nor [",
        "empty",
        "nothing in its array is an event",
        "no traceEvents",
        "No such file",
    ]) {
        assert!(why.contains(word), "{why}");
    }
    assert_eq!((why.len(), report.inputs.len(), report.is_complete()), (6, 1, false));

    files.wanted.inputs.truncate(4);
    std::fs::remove_file(&files.wanted.output).unwrap();
    let error = files.merge().unwrap_err().to_string();
    assert!(
        error.starts_with("there is nothing to merge:") && error.contains("page.html: it is no Chrome trace"),
        "{error}"
    );
    assert!(!files.wanted.output.exists());
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing_behind() {
    let mut files = Files::new();
    files.input("ours.json", ours(&[0], 1, 3, 0));
    files.wanted.output = files.path("no/such/folder.json");
    assert!(files.merge().unwrap_err().to_string().contains("no/such/folder.json"));
    // A folder in its place: the whole file can't take its name.
    files.wanted.output = files.path("folder.json");
    std::fs::create_dir(&files.wanted.output).unwrap();
    files.merge().unwrap_err();
    assert_eq!(files.left_behind(), [files.wanted.output.clone()]);
}
