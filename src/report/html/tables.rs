//! Each table of the page.

use std::fmt::Write;

use super::escape::escape;
use crate::report::model::{Distribution, Phase, Report};
use crate::report::rows::{self, times};
use crate::report::words::{batch, count, duration, loss_name, percent, rank_name, rate};

/// A table that scrolls sideways where it has no room. Cells are escaped here; the first `words` columns are text.
pub(super) fn table(header: &[&str], words: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cell = |tag: &str, i: usize, text: &str| {
        let class = if i < words { "" } else { " class=\"n\"" };
        format!("<{tag}{class}>{}</{tag}>", escape(text))
    };
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    header.iter().enumerate().for_each(|(i, name)| out.push_str(&cell("th", i, name)));
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        row.iter().enumerate().for_each(|(i, text)| out.push_str(&cell("td", i, text)));
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".into())
}

pub(super) fn phases(report: &Report) -> String {
    let mut rows = Vec::new();
    for phase in &report.phases {
        let known = [
            ("duration", &phase.duration_ns),
            ("interval", &phase.interval_ns),
            ("gap", &phase.gap_ns),
            ("device", &phase.device_ns),
        ];
        for (what, of) in known {
            let Some(of) = of else { continue };
            let mut row = vec![phase.phase.title().to_owned(), what.into(), count(of.count)];
            row.extend(times(of));
            rows.push(row);
        }
    }
    table(&["phase", "time", "count", "avg", "min", "p50", "p90", "p99", "max"], 2, rows)
}

pub(super) fn tokens(report: &Report) -> String {
    let rows = report.phases.iter().map(|phase| {
        vec![
            phase.phase.title().to_owned(),
            count(phase.iterations),
            percent(phase.share_of_time),
            count(phase.context_tokens),
            count(phase.generation_tokens),
            or_dash(phase.tokens_per_second.map(rate)),
        ]
    });
    table(&["phase", "iterations", "of time", "prefill tokens", "decode tokens", "tokens/s in it"], 1, rows)
}

pub(super) fn slowest(report: &Report) -> String {
    let rows = report.slowest.iter().map(|row| {
        vec![
            format!("rank {}", rank_name(report, row.rank)),
            row.phase.title().into(),
            batch(row.batch.as_ref()),
            row.iteration.to_string(),
            duration(row.start_ns),
            duration(row.duration_ns),
            or_dash(row.gap_ns.map(duration)),
            or_dash(row.device_ns.map(duration)),
        ]
    });
    table(&["rank", "phase", "batch", "iteration", "at", "duration", "gap behind", "device"], 3, rows)
}

pub(super) fn ranks(report: &Report) -> String {
    let rows = report.ranks.iter().enumerate().map(|(at, rank)| {
        vec![
            format!("rank {}", rank_name(report, at as u32)),
            rank.label.clone(),
            count(rank.iterations),
            or_dash(rank.slowest_share.map(percent)),
            or_dash(rank.begin_late_p50_ns.map(duration)),
            or_dash(rank.longer_p50_ns.map(duration)),
            rank.pid.to_string(),
        ]
    });
    let header = ["rank", "label", "iterations", "ends last", "begins late (p50)", "takes longer (p50)", "pid"];
    table(&header, 2, rows)
}

pub(super) fn groups(report: &Report) -> String {
    let rows = report.groups.iter().filter(|group| group.ranks > 1).map(|group| {
        let of =
            |d: &Option<Distribution>, share: fn(&Distribution) -> u64| or_dash(d.as_ref().map(|d| duration(share(d))));
        vec![
            group.group.clone(),
            count(group.ranks),
            count(group.compared),
            count(group.not_compared),
            count(group.unlike_batches),
            of(&group.begin_skew_ns, |d| d.p50),
            of(&group.begin_skew_ns, |d| d.p99),
            of(&group.spread_ns, |d| d.p50),
            of(&group.spread_ns, |d| d.p99),
        ]
    });
    let header = [
        "group",
        "ranks",
        "compared",
        "not of every rank",
        "unlike batches",
        "begins apart p50",
        "p99",
        "ends apart p50",
        "p99",
    ];
    table(&header, 1, rows)
}

pub(super) fn requests(report: &Report) -> String {
    stages(rows::requests(&report.requests))
}

pub(super) fn proxied(report: &Report) -> String {
    stages(rows::proxied(&report.proxied))
}

fn stages(rows: Vec<Vec<String>>) -> String {
    table(&["stage", "N", "avg", "min", "p50", "p90", "p99", "max", "of end to end"], 1, rows)
}

pub(super) fn gpus(report: &Report) -> String {
    let rows = report.gpus.iter().flat_map(|gpu| {
        gpu.counters.iter().map(move |counter| {
            let numbers = [counter.mean, counter.min, counter.max].map(|value| format!("{value:.1}"));
            let mut row = vec![format!("{} {}", gpu.gpu, gpu.name), counter.counter.clone(), count(counter.values)];
            row.extend(numbers);
            row
        })
    });
    table(&["GPU", "counter", "values", "mean", "min", "max"], 2, rows)
}

/// What the capture itself took.
pub(super) fn overhead(report: &Report) -> String {
    let overhead = &report.overhead;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for edge in &overhead.edges {
        let phase = edge.phase.title();
        let others = match (edge.typical_ns, edge.p99_ns) {
            (Some(typical), Some(p99)) => {
                format!("{phase} iterations take {} (p50), {} (p99)", duration(typical), duration(p99))
            }
            _ => format!("too few {phase} iterations to compare it with"),
        };
        let name = rank_name(report, edge.rank);
        let what = format!("{} iteration, {} of rank {name}", edge.edge, edge.iteration);
        rows.push(vec![what, duration(edge.duration_ns), others]);
    }
    for calls in &overhead.profiler_calls {
        let made = [
            ("cuCtxSynchronize at opening", calls.synchronize_open_ns),
            ("cuProfilerStart", calls.start_ns),
            ("cuCtxSynchronize at closing", calls.synchronize_close_ns),
            ("cuProfilerStop", calls.stop_ns),
        ];
        for (name, ns) in made {
            if let Some(ns) = ns {
                rows.push(vec![
                    format!("{name} in rank {}", calls.rank),
                    duration(ns),
                    "held the engine's thread".into(),
                ]);
            }
        }
    }
    let ends = [
        ("opening to first begin", overhead.open_to_first_begin_ns),
        ("last end to closing", overhead.last_end_to_close_ns),
    ];
    for (what, ns) in ends {
        if let Some(ns) = ns {
            rows.push(vec![what.into(), duration(ns), "the longest of all ranks".into()]);
        }
    }
    let mut out = table(&["what", "time", "beside"], 3, rows);
    if !overhead.paces.is_empty() {
        out.push_str(
            "<p class=\"note\">From one iteration's begin to the next one's, mean (of so many), idle time in it.</p>",
        );
        out.push_str(&table(&["rank", "before the window", "within", "behind"], 1, rows::paces(report)));
    }
    for what in &overhead.not_known {
        let _ = write!(out, "<p class=\"note\">Not known: {}.</p>", escape(what));
    }
    out
}

/// What is missing.
pub(super) fn loss(report: &Report) -> String {
    let loss = &report.loss;
    let mut out = String::new();
    if !loss.missing.is_empty() || !loss.refused.is_empty() {
        let items = loss.missing.iter().chain(&loss.refused).map(|text| format!("<li>{}</li>", escape(text)));
        let _ = write!(out, "<ul>{}</ul>", items.collect::<String>());
    }
    let rows = loss.ranks.iter().map(|rank| {
        let numbers = [
            rank.expected,
            rank.recorded,
            rank.dropped,
            rank.cut_bytes,
            rank.disordered,
            rank.unknown,
            rank.without_end,
        ];
        let mut row = vec![loss_name(report, rank), or_dash(rank.closed_by.clone())];
        row.extend(numbers.map(count));
        row
    });
    let header =
        ["rank", "closed by", "expected", "recorded", "dropped", "cut bytes", "disordered", "unknown", "without end"];
    out.push_str(&table(&header, 2, rows));
    if loss.gpu_values_dropped > 0 {
        let dropped = count(loss.gpu_values_dropped);
        let _ = write!(out, "<p class=\"note\">{dropped} values of GPU counters were dropped.</p>");
    }
    out
}

pub(super) fn thresholds(report: &Report) -> String {
    let thresholds = serde_json::to_value(report.thresholds).unwrap_or_default();
    let rows = thresholds.as_object().into_iter().flatten().map(|(name, value)| vec![name.clone(), value.to_string()]);
    table(&["threshold", "value"], 1, rows.collect::<Vec<_>>())
}

/// The row of all iterations.
pub(super) fn all(report: &Report) -> Option<&crate::report::model::PhaseRow> {
    report.phases.iter().find(|row| row.phase == Phase::All)
}
