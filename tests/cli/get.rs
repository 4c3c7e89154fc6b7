//! `get` and `captures`: what arrives in which file.

use axum::body::Body;
use axum::response::Response;

use super::{Server, capture, command, json, stderr, stdout, stepscope};

const TRACE: &str = r#"{"traceEvents":[]}"#;

fn with_trace(manifest: String) -> Server {
    Server::new(move |line| match line {
        l if l.contains("/trace?") => Response::builder()
            .header("content-disposition", "attachment; filename=\"demo-0001.json\"")
            .body(TRACE.into())
            .unwrap(),
        _ => json(200, manifest.clone()),
    })
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_trace_lands_under_the_name_that_the_sidecar_offers() {
    let (server, folder) = (with_trace(capture("done", "true")), tempfile::tempdir().unwrap());
    let output = command(&["get", "--url", &server.url]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(files(folder.path()), ["demo-0001.json"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("demo-0001.json")).unwrap(), TRACE);
    let said = stdout(&output);
    assert!(said.contains("trace: ./demo-0001.json (18 B)") && said.contains("https://ui.perfetto.dev"), "{said}");
    let id = "01928000-0000-7000-8000-000000000001";
    assert_eq!(
        server.lines(),
        ["GET /stepscope/v1/captures/latest".into(), format!("GET /stepscope/v1/captures/{id}/trace?format=json.gz")]
    );
}

#[test]
fn the_file_name_chooses_the_format_and_the_rank_is_asked_for() {
    let (server, folder) = (with_trace(capture("done", "true")), tempfile::tempdir().unwrap());
    let file = folder.path().join("t.json");
    let output = stepscope(&["get", "latest", "-o", file.to_str().unwrap(), "--rank", "1", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(server.lines()[1].ends_with("/trace?format=json&rank=1"), "{:?}", server.lines());
    assert_eq!(files(folder.path()), ["t.json"]);
}

/// A capture with what an engine's own profiler wrote beside it.
fn with_engine_files() -> String {
    let mut manifest: serde_json::Value = serde_json::from_str(&capture("done", "true")).unwrap();
    manifest["artifacts"] = serde_json::json!([
        {"name": "t.json.gz", "kind": "trace", "bytes": 1, "events": 1},
        {"name": "x_rank0.pt.trace.json", "kind": "engine_trace", "bytes": 2, "events": 1, "rank": 0},
        {"name": "../x", "kind": "engine_file", "bytes": 2, "events": 0, "rank": null},
    ]);
    manifest["native"] = serde_json::json!({"state": "over", "kind": "vllm", "exact": true});
    manifest.to_string()
}

#[test]
fn the_files_of_the_engines_profiler_land_in_a_folder_and_none_beside_it() {
    let manifest = with_engine_files();
    let server = Server::new(move |line| match line {
        l if l.contains("/trace?") => Response::new(TRACE.into()),
        l if l.contains("/artifacts/") => Response::new("{}".into()),
        _ => json(200, manifest.clone()),
    });
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["get", "-o", "t.json", "--artifacts", "engine", "--url", &server.url];
    let output = command(&arguments).current_dir(folder.path()).output().unwrap();
    // The second one has no name that a file here could have.
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert_eq!(files(folder.path()), ["engine", "t.json"]);
    assert_eq!(files(&folder.path().join("engine")), ["x_rank0.pt.trace.json"]);
    assert!(stdout(&output).contains("vllm's own profiler: exactly these iterations"), "{}", stdout(&output));
}

#[test]
fn both_traces_are_merged_and_where_there_is_only_one_it_is_said() {
    let engine = crate::support::engine_http::trace(&[]);
    let ours = String::from_utf8(engine.clone()).unwrap().replace("add", "ours");
    let manifest = with_engine_files().replace("../x", "table.txt");
    let server = Server::new(move |line| match line {
        l if l.contains("/trace?") => Response::new(ours.clone().into()),
        l if l.contains("/artifacts/") => Response::new(engine.clone().into()),
        _ => json(200, manifest.clone()),
    });
    let folder = tempfile::tempdir().unwrap();
    let get = |arguments: &[&str], url: &str| {
        command(&["get", "-o", "t.json", "--url", url]).args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let output = get(&["--merged", "all.json"], &server.url);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let merged = std::fs::read_to_string(folder.path().join("all.json")).unwrap();
    assert!(merged.contains("aten::ours") && merged.contains("aten::add"), "{merged}");
    assert_eq!(files(folder.path()), ["all.json", "t.json"], "nothing else is left behind");
    assert_eq!(get(&["--merged", "all.txt"], &server.url).status.code(), Some(2));
    let alone = with_trace(capture("done", "true"));
    let output = get(&["--merged", "all.json"], &alone.url);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("start a capture with profiler engine"), "{}", stderr(&output));
}

#[test]
fn the_ledger_is_asked_for_by_flag_format_or_file_name() {
    let manifest = capture("done", "true");
    let server = Server::new(move |line| match line {
        l if l.contains("/iterations?") => Response::new("job,group\r\n".into()),
        _ => json(200, manifest.clone()),
    });
    let folder = tempfile::tempdir().unwrap();
    let id = "01928000-0000-7000-8000-000000000001";
    for (arguments, asked, file) in [
        (&["--iterations"][..], "jsonl", format!("stepscope-{id}.iterations.jsonl")),
        (&["--format", "csv", "--rank", "1"], "csv&rank=1", format!("stepscope-{id}.rank1.iterations.csv")),
        (&["-o", "x.csv"], "csv", "x.csv".into()),
        (&["--iterations", "-o", "x"], "jsonl", "x".into()),
    ] {
        let output =
            command(&["get", "--url", &server.url]).args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("\nledger: "), "{}", stdout(&output));
        assert_eq!(files(folder.path()), [file.as_str()]);
        std::fs::remove_file(folder.path().join(file)).unwrap();
        let line = server.lines().pop().unwrap();
        assert!(line.ends_with(&format!("/captures/{id}/iterations?format={asked}")), "{line}");
    }
    let output = stepscope(&["get", "--iterations", "-o", "x.pftrace", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--iterations is the ledger, and perfetto is a trace"), "{}", stderr(&output));
}

#[test]
fn what_opens_a_trace_is_said_of_its_format() {
    let server = with_trace(capture("done", "true"));
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str| {
        let path = folder.path().join(name);
        stdout(&stepscope(&["get", "-o", path.to_str().unwrap(), "--url", &server.url]))
    };
    assert!(said("a.json").contains("chrome://tracing"));
    assert!(!said("a.pftrace").contains("chrome://tracing"));
    assert!(said("a.json.zst").contains("zstd -d "));
}

#[test]
fn standard_output_gets_the_trace_and_nothing_else() {
    let server = with_trace(capture("done", "true"));
    let output = stepscope(&["get", "-o", "-", "--url", &server.url]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), (TRACE, Some(0)));
    assert!(stderr(&output).contains("4721"));
}

#[test]
fn an_incomplete_capture_is_delivered_with_code_5_and_says_what_is_missing() {
    let (server, folder) = (with_trace(capture("done", "false")), tempfile::tempdir().unwrap());
    let output = command(&["get", "--url", &server.url]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(files(folder.path()), ["demo-0001.json"]);
    assert!(stdout(&output).contains("missing: rank 1 of group 0: killed after iteration 4722"));
}

#[test]
fn json_is_the_sidecars_unchanged() {
    let odd = capture("done", "true").replace("\"state\":", "\"state\" :  ");
    let (server, folder) = (with_trace(odd.clone()), tempfile::tempdir().unwrap());
    let output = command(&["get", "--json", "--url", &server.url]).current_dir(folder.path()).output().unwrap();
    assert_eq!(stdout(&output), format!("{odd}\n"));
    let listing = format!("{{\"captures\": [ {odd} ],\"total\":1}}");
    let answer = listing.clone();
    let server = Server::new(move |_| json(200, answer.clone()));
    assert_eq!(stdout(&stepscope(&["captures", "--json", "--url", &server.url])), format!("{listing}\n"));
}

#[test]
fn a_download_that_breaks_off_leaves_the_old_file_and_no_part() {
    let manifest = capture("done", "true");
    let server = Server::new(move |line| {
        if !line.contains("/trace?") {
            return json(200, manifest.clone());
        }
        // More than any buffer on the way holds, so that some of it arrives before the end.
        let pieces = (0..64).map(|_| Ok("x".repeat(1 << 16))).chain([Err(std::io::Error::other("the disk is gone"))]);
        Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.json");
    std::fs::write(&file, "old").unwrap();
    let output = stepscope(&["get", "-o", file.to_str().unwrap(), "--url", &server.url]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("broke off after"), "{}", stderr(&output));
    assert_eq!(files(folder.path()), ["t.json"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn a_capture_that_is_not_over_is_waited_for_only_so_long() {
    let server = with_trace(capture("recording", "\"unknown\""));
    let output = stepscope(&["get", "--wait", "0", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is still recording after 0 s; wait longer with --wait"), "{}", stderr(&output));
}

#[test]
fn captures_are_removed_one_by_one() {
    let server = Server::new(|_| json(200, r#"{"deleted":"a"}"#));
    let output = stepscope(&["captures", "rm", "a-1", "a-2", "--url", &server.url]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "removed a-1\nremoved a-2\n"));
    assert_eq!(server.lines(), ["DELETE /stepscope/v1/captures/a-1", "DELETE /stepscope/v1/captures/a-2"]);
}
