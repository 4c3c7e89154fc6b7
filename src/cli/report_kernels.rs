//! `report --nsys`: kernels per iteration by a report of nsys of the same window, and what is wrong with one that has none.

use std::path::Path;

use crate::launch::matching::{self, Capture, Rank};
use crate::launch::report::Activity;
use crate::report::Report;
use crate::report::model::Kernels;

/// What such a report says of this capture.
pub(super) fn kernels(report: &Report, path: &Path, activity: &Activity) -> Kernels {
    let capture = comparable(report);
    let found = matching::find(&activity.contents, std::slice::from_ref(&capture));
    let in_window = |process: &matching::Process| {
        let rank = capture.ranks.iter().find(|rank| rank.pid == process.pid);
        rank.map_or(0, |rank| process.iterations.iter().filter(|i| (rank.first..=rank.last).contains(&i.0)).count())
    };
    let iterations: usize = activity.contents.processes.iter().map(in_window).sum();
    let mut problems = Vec::new();
    match (activity.kernels, activity.graphs) {
        (0, 0) => problems.push(
            "it is empty: no kernel was recorded. `stepscope doctor`, beside the engine, says what its nsys line misses"
                .to_owned(),
        ),
        (0, graphs) => problems.push(format!(
            "{graphs} CUDA graphs were recorded as a whole and no kernel: `stepscope nsys --cuda-graph-trace node` records each"
        )),
        _ => {}
    }
    if let Err(why) = &found {
        problems.push(format!("it can't be told that it is of this capture: {why}"));
    }
    let is_known = found.is_ok() && iterations > 0 && activity.kernels > 0;
    Kernels {
        report: path.display().to_string(),
        kernels: activity.kernels,
        iterations: iterations as u64,
        per_iteration: is_known.then(|| (activity.kernels as f64 / iterations as f64 * 100.0).round() / 100.0),
        problem: (!problems.is_empty()).then(|| problems.join("; ")),
    }
}

/// The report's ranks, as a match takes them.
fn comparable(report: &Report) -> Capture {
    let begin_ns = report.window.begin_ns.unwrap_or_default().cast_signed();
    let window_ns = (begin_ns, begin_ns.saturating_add(report.window.wall_ns.cast_signed()));
    let ranks = report.ranks.iter().filter_map(|rank| {
        let (first, last) = (rank.first_iteration?, rank.last_iteration?);
        Some(Rank { rank: rank.rank, pid: rank.pid, first, last, window_ns })
    });
    Capture { id: report.capture.capture_id.clone(), ranks: ranks.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::matching::{Contents, Process};
    use crate::report::model::{RankRow, WindowFacts};

    const BEGIN_NS: i64 = 1_800_000_000_000_000_000;

    fn report() -> Report {
        let rank = |rank: u32| RankRow {
            rank,
            pid: 10 + rank,
            first_iteration: Some(101),
            last_iteration: Some(104),
            ..RankRow::default()
        };
        let begin_ns = Some(BEGIN_NS.cast_unsigned());
        let window = WindowFacts { begin_ns, wall_ns: 40_000_000, ..WindowFacts::default() };
        Report { window, ranks: vec![rank(0), rank(1)], ..Report::default() }
    }

    fn activity(kernels: u64, graphs: u64, pid: u32) -> Activity {
        let iterations = (100..=104).map(|n| (n, BEGIN_NS + (n as i64 - 101) * 10_000_000, String::new())).collect();
        let processes = vec![Process { pid, captures: 1, iterations }];
        Activity { kernels, graphs, contents: Contents { span_ns: (BEGIN_NS, BEGIN_NS + 50_000_000), processes } }
    }

    #[test]
    fn kernels_are_counted_by_the_iterations_of_the_window() {
        let told = kernels(&report(), Path::new("r.nsys-rep"), &activity(1000, 0, 10));
        assert_eq!((told.kernels, told.iterations, told.per_iteration, told.problem), (1000, 4, Some(250.0), None));
    }

    #[test]
    fn a_report_without_kernels_is_named_and_says_what_to_do() {
        let empty = kernels(&report(), Path::new("r.nsys-rep"), &activity(0, 0, 10));
        assert!(empty.per_iteration.is_none() && empty.problem.as_ref().is_some_and(|p| p.starts_with("it is empty")));
        let graphs = kernels(&report(), Path::new("r.nsys-rep"), &activity(0, 7, 10));
        assert!(
            graphs.problem.as_ref().is_some_and(|p| p.contains("7 CUDA graphs") && p.contains("node")),
            "{graphs:?}"
        );
    }

    #[test]
    fn another_captures_report_claims_nothing() {
        let other = kernels(&report(), Path::new("r.nsys-rep"), &activity(1000, 0, 99));
        assert_eq!((other.iterations, other.per_iteration), (0, None));
        assert!(other.problem.is_some_and(|p| p.contains("can't be told that it is of this capture")));
    }
}
