//! A report as tables: pure functions from the document to text.

use std::fmt::Write;

use super::table::columns;
use crate::report::model::{Phase, Report};
use crate::report::rows::{self, times};
use crate::report::words::{
    batch, completeness, count, duration, loss_name, percent, rank_name, rate, requests_passed, requests_seen,
    wall_clock, window,
};

/// All of it.
pub fn report(report: &Report) -> String {
    let mut out = head(report);
    out.push_str(&verdict(report));
    if report.window.iterations > 0 {
        section(&mut out, "iterations by phase (host time; every rank's count)", &phases(report));
        let _ = writeln!(out, "\n{}", throughput(report));
        section(&mut out, "slowest iterations", &slowest(report));
        if !report.longest_gaps.is_empty() {
            section(&mut out, "longest gaps behind an iteration", &gaps(report));
        }
        section(&mut out, "ranks", &ranks(report));
        out.push_str(&lockstep(report));
    }
    section(&mut out, "requests", &requests(report));
    if report.proxied.recorded {
        section(&mut out, "in front of the engine", &proxied(report));
    }
    section(&mut out, "GPUs", &gpus(report));
    if let Some(kernels) = &report.kernels {
        let mut text = format!("{} kernels in {} iterations", count(kernels.kernels), count(kernels.iterations));
        if let Some(each) = kernels.per_iteration {
            let _ = write!(text, ", {} each", rate(each));
        }
        if let Some(problem) = &kernels.problem {
            let _ = write!(text, "\n{problem}");
        }
        section(&mut out, &format!("kernels in {}", kernels.report), &text);
    }
    section(&mut out, "what the capture itself took", &overhead(report));
    section(&mut out, "what is missing", &loss(report));
    out
}

fn section(out: &mut String, title: &str, text: &str) {
    let _ = writeln!(out, "\n{title}");
    for line in text.lines() {
        let _ = writeln!(out, "{}", format!("  {line}").trim_end());
    }
}

fn head(report: &Report) -> String {
    let capture = &report.capture;
    let mut words = vec![format!("report of capture {}", capture.capture_id), completeness(&report.loss).into()];
    if capture.profiler != "steps" {
        words.push(format!("profiler {}", capture.profiler));
    }
    words.extend(capture.engines.iter().filter(|engine| !engine.is_empty()).cloned());
    let stepped = wall_clock(report.window.wall_clock_stepped_ns).map_or_else(String::new, |said| format!("{said}\n"));
    format!("{}\n{}\n{stepped}", words.join(", "), window(report))
}

fn verdict(report: &Report) -> String {
    let verdict = &report.verdict;
    let mut out = format!("\nverdict: {}\n", verdict.primary.title());
    let mut rows = Vec::new();
    for finding in &verdict.findings {
        let (mut bound, mut holds) = (finding.bound.title(), finding.holds.title());
        for line in wrapped(&finding.evidence, EVIDENCE_COLUMNS) {
            rows.push(vec![std::mem::take(&mut bound).into(), std::mem::take(&mut holds).into(), line]);
        }
    }
    for line in columns(&["BOUND", "HOLDS", "EVIDENCE"], &[], rows).lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// At most so many characters in a line of evidence.
const EVIDENCE_COLUMNS: usize = 84;
/// And of running text.
pub(super) const TEXT_COLUMNS: usize = 116;

/// Words in lines of at most so many characters.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = &mut lines[0];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.insert(0, word.into());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.reverse();
    lines
}

fn phases(report: &Report) -> String {
    let mut rows = Vec::new();
    for phase in &report.phases {
        let times_of = [
            ("duration", &phase.duration_ns),
            ("interval", &phase.interval_ns),
            ("gap", &phase.gap_ns),
            ("device", &phase.device_ns),
        ];
        let known: Vec<_> = times_of.into_iter().filter_map(|(what, of)| Some((what, of.as_ref()?))).collect();
        for (i, (what, of)) in known.iter().enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            let mut row = vec![first(phase.phase.title().into()), first(percent(phase.share_of_time))];
            row.extend([(*what).into(), count(of.count)]);
            row.extend(times(of));
            row.push(first(phase.tokens_per_second.map_or_else(|| "-".into(), rate)));
            rows.push(row);
        }
        if known.is_empty() {
            let mut row = vec![phase.phase.title().into(), percent(phase.share_of_time), "-".into()];
            row.push(count(phase.iterations));
            rows.push(row);
        }
    }
    let header = ["PHASE", "OF TIME", "WHAT", "COUNT", "AVG", "MIN", "P50", "P90", "P99", "MAX", "TOKENS/S"];
    columns(&header, &[1, 3, 4, 5, 6, 7, 8, 9, 10], rows)
}

fn throughput(report: &Report) -> String {
    let t = &report.throughput;
    format!(
        "{} prefill and {} decode tokens/s, {} iterations/s over the whole window\n(tokens counted {})",
        rate(t.context_tokens_per_second),
        rate(t.generation_tokens_per_second),
        rate(t.iterations_per_second),
        t.counted
    )
}

fn slowest(report: &Report) -> String {
    let rows = report.slowest.iter().map(|row| {
        vec![
            rank_name(report, row.rank),
            row.iteration.to_string(),
            row.phase.title().into(),
            duration(row.duration_ns),
            row.gap_ns.map_or_else(|| "-".into(), duration),
            row.device_ns.map_or_else(|| "-".into(), duration),
            batch(row.batch.as_ref()),
        ]
    });
    columns(&["RANK", "ITERATION", "PHASE", "DURATION", "GAP", "DEVICE", "BATCH"], &[0, 1, 3, 4, 5], rows)
}

fn gaps(report: &Report) -> String {
    let rows = report.longest_gaps.iter().map(|row| {
        let gap = row.gap_ns.map_or_else(|| "-".into(), duration);
        vec![rank_name(report, row.rank), row.iteration.to_string(), gap, batch(row.batch.as_ref())]
    });
    columns(&["RANK", "ITERATION", "GAP", "BATCH"], &[0, 1, 2], rows)
}

fn ranks(report: &Report) -> String {
    let rows = report.ranks.iter().enumerate().map(|(at, rank)| {
        let of = rank.duration_ns.clone().unwrap_or_default();
        let none = || "-".to_owned();
        vec![
            rank_name(report, at as u32),
            rank.label.clone(),
            count(rank.iterations),
            duration(of.p50),
            duration(of.p99),
            duration(of.max),
            rank.slowest_share.map_or_else(none, percent),
            rank.begin_late_p50_ns.map_or_else(none, duration),
            rank.longer_p50_ns.map_or_else(none, duration),
        ]
    });
    let header = ["RANK", "LABEL", "ITERATIONS", "P50", "P99", "MAX", "ENDS LAST", "BEGINS LATE", "TAKES LONGER"];
    columns(&header, &[0, 2, 3, 4, 5, 6, 7, 8], rows)
}

fn lockstep(report: &Report) -> String {
    let mut out = String::new();
    for group in report.groups.iter().filter(|group| group.ranks > 1) {
        let name = if report.groups.len() > 1 { format!("group {}: ", group.group) } else { String::new() };
        let skew = group.begin_skew_ns.clone().unwrap_or_default();
        let spread = group.spread_ns.clone().unwrap_or_default();
        let _ = write!(
            out,
            "  {name}{} iterations of all {} ranks compared; begins lie {} apart (p50; p99 {}), ends {} (p99 {})",
            count(group.compared),
            group.ranks,
            duration(skew.p50),
            duration(skew.p99),
            duration(spread.p50),
            duration(spread.p99)
        );
        if group.not_compared > 0 {
            let _ = write!(out, "; {} more are not there of every rank", count(group.not_compared));
        }
        if group.unlike_batches > 0 {
            let _ = write!(out, "; {} had unlike batches", count(group.unlike_batches));
        }
        out.push('\n');
    }
    out
}

fn requests(report: &Report) -> String {
    let requests = &report.requests;
    if !requests.recorded {
        return "not known: this capture recorded no requests".into();
    }
    let mut out = wrapped(&requests_seen(requests), TEXT_COLUMNS).join("\n") + "\n";
    out.push_str(&stage_table(rows::requests(requests)));
    out
}

fn proxied(report: &Report) -> String {
    let proxied = &report.proxied;
    let mut out = wrapped(&requests_passed(proxied), TEXT_COLUMNS).join("\n") + "\n";
    out.push_str(&stage_table(rows::proxied(proxied)));
    out
}

/// Stages, and what is said of the whole below them; nothing where there is none.
fn stage_table(rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header = ["STAGE", "N", "AVG", "MIN", "P50", "P90", "P99", "MAX", "OF END TO END"];
    columns(&header, &[1, 2, 3, 4, 5, 6, 7, 8], rows)
}

fn gpus(report: &Report) -> String {
    if report.gpus.is_empty() {
        return format!("not known: {}", report.loss.gpus_absent.as_deref().unwrap_or("no counter was sampled"));
    }
    let rows = report.gpus.iter().flat_map(|gpu| {
        gpu.counters.iter().enumerate().map(|(i, counter)| {
            let name = if i == 0 { format!("{} {}", gpu.gpu, gpu.name) } else { String::new() };
            let numbers = [counter.mean, counter.min, counter.max].map(|value| format!("{value:.1}"));
            let [mean, min, max] = numbers;
            vec![name, counter.counter.clone(), count(counter.values), mean, min, max]
        })
    });
    columns(&["GPU", "COUNTER", "VALUES", "MEAN", "MIN", "MAX"], &[2, 3, 4, 5], rows)
}

fn overhead(report: &Report) -> String {
    let overhead = &report.overhead;
    let mut out = String::new();
    for edge in &overhead.edges {
        let took = duration(edge.duration_ns);
        let phase = edge.phase.title();
        let others = match (edge.typical_ns, edge.p99_ns) {
            (Some(typical), Some(p99)) => {
                format!("{phase} iterations take {} (p50), {} (p99)", duration(typical), duration(p99))
            }
            _ if edge.phase == Phase::Unknown => "its batch is not known, so it is compared with nothing".into(),
            _ => format!("too few {phase} iterations to compare it with"),
        };
        let rank = rank_name(report, edge.rank);
        let _ = writeln!(out, "{} iteration {} of rank {rank}: {took}; {others}", edge.edge, edge.iteration);
    }
    if !overhead.paces.is_empty() {
        let _ = writeln!(out, "from one iteration's begin to the next one's, mean (of so many), idle time in it:");
        let header = ["RANK", "BEFORE THE WINDOW", "WITHIN", "BEHIND"];
        for line in columns(&header, &[0, 1, 2, 3], rows::paces(report)).lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    for calls in &overhead.profiler_calls {
        let call = |name: &str, ns: Option<u64>| ns.map(|ns| format!("{name} {}", duration(ns)));
        let calls_made = [
            call("cuCtxSynchronize at opening", calls.synchronize_open_ns),
            call("cuProfilerStart", calls.start_ns),
            call("cuCtxSynchronize at closing", calls.synchronize_close_ns),
            call("cuProfilerStop", calls.stop_ns),
        ];
        let calls_made: Vec<_> = calls_made.into_iter().flatten().collect();
        let _ = writeln!(out, "profiler in rank {}: {}", calls.rank, calls_made.join(", "));
    }
    if let (Some(open), Some(close)) = (overhead.open_to_first_begin_ns, overhead.last_end_to_close_ns) {
        let _ = writeln!(
            out,
            "from the gate's opening to the first begin {}, from the last end to its closing {} (the longest of all ranks)",
            duration(open),
            duration(close)
        );
    }
    for what in &overhead.not_known {
        let _ = writeln!(out, "not known: {what}");
    }
    out
}

fn loss(report: &Report) -> String {
    let loss = &report.loss;
    let mut out: String = loss.missing.iter().map(|missing| format!("{missing}\n")).collect();
    let lossy = loss.ranks.iter().filter(|rank| {
        rank.recorded < rank.expected
            || [rank.dropped, rank.cut_bytes, rank.disordered, rank.unknown, rank.without_end].iter().any(|&n| n > 0)
    });
    let rows: Vec<_> = lossy
        .map(|rank| {
            let numbers = [
                rank.expected,
                rank.recorded,
                rank.dropped,
                rank.cut_bytes,
                rank.disordered,
                rank.unknown,
                rank.without_end,
            ];
            let mut row = vec![loss_name(report, rank)];
            row.extend(numbers.map(count));
            row.push(rank.closed_by.clone().unwrap_or_else(|| "-".into()));
            row
        })
        .collect();
    if !rows.is_empty() {
        let header = [
            "RANK",
            "EXPECTED",
            "RECORDED",
            "DROPPED",
            "CUT BYTES",
            "DISORDERED",
            "UNKNOWN",
            "WITHOUT END",
            "CLOSED BY",
        ];
        out.push_str(&columns(&header, &[0, 1, 2, 3, 4, 5, 6, 7], rows));
    }
    for refused in &loss.refused {
        let _ = writeln!(out, "not readable: {refused}");
    }
    if loss.gpu_values_dropped > 0 {
        let _ = writeln!(out, "{} values of GPU counters were dropped", count(loss.gpu_values_dropped));
    }
    if out.is_empty() { "nothing: every iteration of every rank is here\n".into() } else { out }
}
