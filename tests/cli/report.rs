//! `report`: a real capture of the simulated engine as tables, JSON and a page, alone and beside another.

use serde_json::Value;

use super::{Server, capture, json, stderr, stdout, stepscope};
use crate::support::{Engine, Place, Sidecar, number};

/// Captures so many iterations; its id.
fn captured(sidecar: &Sidecar, iterations: u64) -> String {
    let started = sidecar.start_profile(&format!("{{\"max_iterations\":{iterations}}}"));
    let id = started["capture_id"].as_str().unwrap().to_owned();
    assert_eq!(sidecar.finished(&id)["state"], "done");
    id
}

#[test]
fn two_captures_of_a_real_engine_are_reported_and_compared() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    sidecar.attached(2);
    sidecar.begun(10);
    let (first, second) = (captured(&sidecar, 150), captured(&sidecar, 150));
    let url = format!("http://{}", sidecar.address());

    // The tables of the newest, and the page.
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("r.html");
    let output = stepscope(&["report", "--url", &url, "--html", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with(&format!("report of capture {second}, complete, simulated ")), "{text}");
    assert!(text.contains("(150) of 2 ranks") && text.contains("\nverdict: "), "{text}");
    assert!(text.contains("150 iterations of all 2 ranks compared"), "{text}");
    assert!(text.contains("nothing: every iteration of every rank is here"), "{text}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains(&second), "{}", &html[..200]);

    // The JSON is the sidecar's, and agrees with the ledger.
    let output = stepscope(&["report", &first, "--url", &url, "--json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report, sidecar.get(&format!("/stepscope/v1/captures/{first}/report")).ok());
    let ledger = sidecar.ledger(&first);
    assert_eq!(number(&report["window"]["iterations"]), ledger.len() as u64);
    let durations = || ledger.iter().map(|row| number(&row["duration_ns"]));
    let all = report["phases"].as_array().unwrap().last().unwrap();
    assert_eq!(all["phase"], "all");
    assert_eq!(number(&all["duration_ns"]["count"]), ledger.len() as u64);
    assert_eq!(number(&all["duration_ns"]["min"]), durations().min().unwrap());
    assert_eq!(number(&all["duration_ns"]["max"]), durations().max().unwrap());
    let tokens: u64 = ledger.iter().map(|row| number(&row["generation_tokens"])).sum();
    assert_eq!(number(&all["generation_tokens"]), tokens);

    // One beside the other, from the sidecar and from a file.
    let file = folder.path().join("a.json");
    std::fs::write(&file, stdout(&output)).unwrap();
    let of_file = stepscope(&["report", file.to_str().unwrap(), &second, "--url", &url, "--json"]);
    let of_ids = stepscope(&["report", &first, &second, "--url", &url, "--json"]);
    assert_eq!((of_file.status.code(), stdout(&of_file)), (Some(0), stdout(&of_ids)), "{}", stderr(&of_file));
    let comparison: Value = serde_json::from_str(&stdout(&of_ids)).unwrap();
    assert_eq!((&comparison["a"], &comparison["b"]), (&Value::from(first.as_str()), &Value::from(second.as_str())));
    assert!(
        comparison["rows"].as_array().unwrap().iter().any(|row| row["what"] == "duration" && row["phase"] == "decode")
    );
    let of_file_alone = stepscope(&["report", file.to_str().unwrap(), file.to_str().unwrap()]);
    assert!(stdout(&of_file_alone).contains("mind: both are the same capture"), "{}", stderr(&of_file_alone));
}

#[test]
fn the_page_and_the_document_come_with_what_a_browser_has_to_know() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500", "--ranks", "1"]);
    sidecar.attached(1);
    let id = captured(&sidecar, 5);
    let page = sidecar.get(&format!("/stepscope/v1/captures/{id}/report?format=html"));
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.starts_with("<!doctype html>") && page.body.ends_with("</html>\n"));
    for header in ["content-type: text/html; charset=utf-8", "content-security-policy: default-src 'none'", "nosniff"] {
        assert!(page.headers.contains(header), "{}", page.headers);
    }
    let wrong = sidecar.get(&format!("/stepscope/v1/captures/{id}/report?format=pdf"));
    assert_eq!((wrong.status, wrong.message().as_str()), (400, "format: \"pdf\" is none of: json, html"));
}

#[test]
fn an_incomplete_capture_is_reported_with_code_5() {
    let server = Server::new(|line| match line {
        l if l.ends_with("/report") => {
            json(200, r#"{"schema":1,"loss":{"complete":false,"missing":["rank 1: died"]}}"#)
        }
        _ => json(200, capture("done", "false")),
    });
    let output = stepscope(&["report", "--url", &server.url]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stdout(&output).contains("rank 1: died"), "{}", stdout(&output));
}

#[test]
fn what_is_no_report_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.json");
    std::fs::write(&file, r#"{"traceEvents":[]}"#).unwrap();
    let output = stepscope(&["report", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("`stepscope report ID --json > FILE` writes one"), "{}", stderr(&output));
    let missing = stepscope(&["report", "./nowhere.json"]);
    assert!(stderr(&missing).contains("can't read ./nowhere.json"), "{}", stderr(&missing));
    let both = stepscope(&["report", "a", "b", "--html", "x.html"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_capture_that_is_not_over_or_never_was_has_no_report() {
    let server = Server::new(|line| match line {
        l if l.contains("/captures/off") => json(200, capture("cancelled", "\"unknown\"")),
        _ => json(200, capture("recording", "\"unknown\"")),
    });
    let running = stepscope(&["report", "--wait", "0", "--url", &server.url]);
    assert_eq!(running.status.code(), Some(1));
    assert!(stderr(&running).contains("is still recording"), "{}", stderr(&running));
    let cancelled = stepscope(&["report", "off", "--url", &server.url]);
    assert!(stderr(&cancelled).contains("there is nothing to report"), "{}", stderr(&cancelled));
}
