//! `stepscope merge` as its user meets it: words, exit codes, files.

use serde_json::json;

use super::{stderr, stdout, stepscope};

fn trace(name: &str, base: bool) -> String {
    let mut trace = json!({"traceEvents": [{"ph": "X", "pid": 1, "tid": 1, "ts": 5, "dur": 1, "name": name}]});
    if base {
        trace["baseTimeNanoseconds"] = 1_800_000_000_000_000_000u64.into();
    }
    trace.to_string()
}

#[test]
fn a_whole_merge_is_0_one_with_losses_is_5_and_none_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (name, text) in [("a.json", trace("a", true)), ("b.json", trace("b", true)), ("bare.json", trace("c", false))] {
        std::fs::write(path(name), text).unwrap();
    }
    let out = path("out.json.gz");
    let output = stepscope(&["merge", "-o", &out, &path("a.json"), &path("b.json")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("INPUT") && said.contains("two inputs lie at most 100.0 µs off each other"), "{said}");
    assert!(said.contains(&format!("trace: {out} (2 events")) && said.contains("https://ui.perfetto.dev"), "{said}");

    let output = stepscope(&["merge", "-o", &out, &path("a.json"), &path("bare.json")]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("bare.json is not in it: it does not say when its time 0 is"),
        "{}",
        stdout(&output)
    );

    let output =
        stepscope(&["merge", "--json", "--offset", "bare=-7", "-o", &out, &path("a.json"), &path("bare.json")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&said["events"], &said["inputs"][1]["offset_ns"]), (&json!(2), &json!(-7)));

    std::fs::remove_file(&out).unwrap();
    let output = stepscope(&["merge", "-o", &out, &path("nowhere.json")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: there is nothing to merge:"), "{}", stderr(&output));
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn arguments_that_make_no_sense_are_2() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("a.json");
    std::fs::write(&input, trace("a", true)).unwrap();
    let input = input.to_str().unwrap();
    for (arguments, word) in [
        (&["merge", "-o", "x.html", input][..], ".json.zst"),
        (&["merge", "-o", "/nowhere/x.json", "--offset", "a", input], "LABEL=NANOSECONDS"),
        (&["merge", "-o", "/nowhere/x.json", "--offset", "b=1", input], "there are a"),
        (&["merge", input], "--output"),
        (&["merge", "-o", "x.json"], "<FILE>"),
    ] {
        let output = stepscope(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
}
