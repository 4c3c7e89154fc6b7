//! What is given twice: the same file, the same rank. A word each, and nothing is in the output twice.

use serde_json::Value;

use super::support::{Files, annotations, events, gzip, kineto, names, ours};

fn iterations(trace: &Value) -> usize {
    events(trace).iter().filter(|event| event["cat"] == "iteration").count()
}

#[test]
fn the_same_file_counts_once_however_it_is_packed() {
    let mut files = Files::new();
    let text = ours(&[0], 1, 9, 0);
    files.input("a.json", &text).input("b.json.gz", gzip(&text)).input("c.json", &text);
    let (report, trace) = files.merged();
    assert_eq!((report.inputs.len(), iterations(&trace)), (1, 9));
    assert_eq!(report.duplicates, ["b is a once more: left out", "c is a once more: left out"]);
    assert!(report.is_complete(), "nothing is missing");
}

#[test]
fn a_rank_that_an_earlier_input_has_is_left_out_of_the_later_one() {
    let mut files = Files::new();
    files.input("rank0.json", ours(&[0], 1, 9, 0)).input("all.json", ours(&[0, 1], 1, 9, 0));
    let (report, trace) = files.merged();
    assert_eq!(
        report.duplicates,
        ["rank0 and all both have iterations 1 to 9 of rank 0 of group 0, job job: left out of all"]
    );
    assert_eq!(iterations(&trace), 18);
    assert!(report.inputs[1].twice >= 9 && report.is_complete());
    let wanted =
        ["rank 0 (vllm 0.32.0, tp0, pid 1)", "rank0: stepscope", "rank 1 (vllm 0.32.0, tp1, pid 1)", "all: stepscope"];
    assert_eq!(names(&trace), wanted);

    // The other way round nothing is left of the second.
    files.wanted.inputs.reverse();
    let (report, trace) = files.merged();
    assert_eq!((iterations(&trace), report.inputs[1].events), (18, 0));
    assert!(report.inputs[1].processes.is_empty());
}

#[test]
fn two_windows_of_one_rank_are_no_duplicates() {
    let mut files = Files::new();
    files.input("early.json", ours(&[0], 1, 9, 0)).input("late.json", ours(&[0], 10, 9, 0));
    let (report, trace) = files.merged();
    assert!(report.duplicates.is_empty() && report.matches.is_empty(), "{report:?}");
    assert_eq!(iterations(&trace), 18);
}

#[test]
fn foreign_traces_of_one_rank_are_both_kept_with_a_word() {
    let mut files = Files::new();
    files.input("a.json", kineto(0, "h", &annotations(1, 9, |_| 0)));
    files.input("b.json", kineto(0, "h", &annotations(11, 9, |_| 0)));
    let (report, trace) = files.merged();
    assert_eq!(report.duplicates, ["a and b both say that they are rank 0: both are kept, they may be of two jobs"]);
    assert_eq!(events(&trace).len(), 18);
}
