//! `demo`, as the README's first command: real engine processes, a real sidecar, a real trace.

use serde_json::Value;

use super::{command, stderr, stdout};

#[test]
fn the_demo_captures_exactly_what_it_asked_for_and_leaves_only_the_trace_and_its_report() {
    let out = tempfile::tempdir().unwrap();
    let mut demo = command(&["demo", "--json", "--delay-iterations", "7", "--max-iterations", "30", "--out"]);
    let child =
        demo.arg(out.path().join("trace")).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = child.spawn().unwrap();
    let mark = format!("stepscope-demo-{}-", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let capture: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let ranks = capture["ranks"].as_array().unwrap();
    assert_eq!(ranks.len(), 2);
    for rank in ranks {
        let number = |key: &str| rank[key].as_u64().unwrap();
        assert_eq!(number("iterations"), 30, "{rank}");
        assert_eq!(number("first_iteration"), number("accepted_iteration") + 7, "{rank}");
        assert_eq!(rank["first_iteration"], ranks[0]["first_iteration"]);
    }

    let mut files: Vec<_> = std::fs::read_dir(out.path().join("trace")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.reverse();
    assert_eq!(files.len(), 2, "{files:?}");
    let page = std::fs::read_to_string(&files[1]).unwrap();
    assert!(page.contains("(30) of 2 ranks") && page.ends_with("</html>\n"), "{page}");
    let trace: Value = serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    let slices = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["cat"] == "iteration");
    assert_eq!(slices.count(), 2 * 30);

    for folder in [std::path::Path::new("/dev/shm"), &std::env::temp_dir()] {
        let left =
            std::fs::read_dir(folder).unwrap().flatten().find(|e| e.file_name().to_string_lossy().starts_with(&mark));
        assert!(left.is_none(), "{left:?}");
    }
}
