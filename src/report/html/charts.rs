//! Each plot of the page, from the report's numbers.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::escape::escape;
use super::plot::{Axis, Plot};
use crate::report::model::{IterationRow, Phase, Report};
use crate::report::points::Point;
use crate::report::requests::{RequestRow, STAGES};
use crate::report::verdict::Finding;
use crate::report::words::{batch, count, duration, percent, rank_name};

/// Ranks that get a plot of their own.
const PANELS: usize = 4;
/// Steps of a plot.
const MOST_STEPS: usize = 1500;
/// Requests drawn one by one.
const MOST_REQUESTS: usize = 60;

/// Nanoseconds on an axis.
#[expect(clippy::cast_sign_loss, reason = "axes of times begin at 0")]
fn time(ns: f64) -> String {
    if ns < 0.5 {
        return "0".into();
    }
    // Ticks are round: 2 ms rather than 2.00 ms.
    let text = duration(ns.round() as u64);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}

#[expect(clippy::cast_sign_loss, reason = "axes of counts begin at 0")]
fn number(value: f64) -> String {
    if value.fract() == 0.0 { count(value as u64) } else { format!("{value:.1}") }
}

/// The window as a horizontal axis.
fn window_axis(report: &Report) -> Axis {
    Axis::between(0.0, report.window.wall_ns as f64)
}

fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
        Phase::Mixed => "mixed",
        Phase::Dummy => "dummy",
        Phase::Unknown | Phase::All => "unknown",
    }
}

/// Which colour is which phase, of those that occur.
pub(super) fn legend(report: &Report) -> String {
    let phases = report.phases.iter().filter(|row| row.phase != Phase::All);
    let items = phases.map(|row| format!("<span class=\"key {}\">{}</span>", class(row.phase), row.phase.title()));
    format!("<p class=\"legend\">{}</p>", items.collect::<String>())
}

/// A value of each point over time, a plot for each of a few ranks, else one for all.
fn over_time(
    report: &Report,
    about: &str,
    of: impl Fn(&Point) -> Option<u64> + Copy,
    marked: &[IterationRow],
    mark: impl Fn(&IterationRow) -> Option<u64>,
) -> String {
    let points = &report.points.rows;
    let values = points.iter().filter_map(of).chain(marked.iter().filter_map(&mark));
    let y = Axis::of(values.map(|ns| ns as f64).collect::<Vec<_>>().into_iter());
    let ranks = report.ranks.len();
    let panels: Vec<Option<u32>> =
        if (2..=PANELS).contains(&ranks) { (0..ranks as u32).map(Some).collect() } else { vec![None] };
    let tall = if panels.len() > 2 { "low" } else { "" };
    let mut out = String::new();
    for panel in panels {
        let mut plot = Plot::new(window_axis(report), y);
        let is_here = |rank: u32| panel.is_none_or(|panel| panel == rank);
        for phase in Phase::KINDS {
            let here = points.iter().filter(|point| is_here(point.rank) && point.phase == phase);
            plot.dots(class(phase), here.filter_map(|p| Some((p.start_ns as f64, of(p)? as f64))));
        }
        for row in marked.iter().filter(|row| is_here(row.rank)) {
            let Some(value) = mark(row) else { continue };
            let name = rank_name(report, row.rank);
            let words =
                format!("rank {name}, iteration {}: {}, {}", row.iteration, duration(value), batch(row.batch.as_ref()));
            plot.marked(row.start_ns as f64, value as f64, &words);
        }
        let name = panel.map_or_else(
            || if ranks == 1 { String::new() } else { "<h3>all ranks</h3>".into() },
            |panel| format!("<h3>rank {}</h3>", escape(&rank_name(report, panel))),
        );
        let _ = write!(out, "{name}{}", plot.html(about, tall, time, time));
    }
    out
}

/// Durations over time, by phase and rank; the longest have a halo.
pub(super) fn durations(report: &Report) -> String {
    over_time(report, "durations over time", |p| p.duration_ns, &report.slowest, |row| Some(row.duration_ns))
}

/// Gaps over time.
pub(super) fn gaps(report: &Report) -> String {
    let gap = |p: &Point| Some(p.interval_ns?.saturating_sub(p.duration_ns?)).filter(|&ns| ns > 0);
    over_time(report, "gaps over time", gap, &report.longest_gaps, |row| row.gap_ns)
}

/// Device times over time; `None`: there are none.
pub(super) fn device(report: &Report) -> Option<String> {
    let is_there = report.points.rows.iter().any(|point| point.device_ns.is_some());
    is_there.then(|| over_time(report, "device times over time", |p| p.device_ns, &[], |_| None))
}

/// How often which duration occurs, phases on top of each other.
pub(super) fn distribution(report: &Report) -> String {
    let phases = || report.phases.iter().filter(|row| row.phase != Phase::All);
    let mut bins: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    for bin in phases().flat_map(|row| &row.durations) {
        let all = bins.entry(bin.from_ns).or_insert((bin.to_ns, 0.0));
        all.1 += bin.count as f64;
    }
    let (Some((&low, _)), Some((_, &(high, _)))) = (bins.first_key_value(), bins.last_key_value()) else {
        return "<p>No duration is known.</p>".into();
    };
    let highest = bins.values().map(|bin| bin.1).fold(0.0, f64::max);
    let x = Axis::logarithmic(low as f64 / 1.2, high as f64 * 1.2);
    let mut plot = Plot::new(x, Axis::between(0.0, highest * 1.06));
    let mut below: BTreeMap<u64, f64> = BTreeMap::new();
    for row in phases() {
        let steps: Vec<_> = row
            .durations
            .iter()
            .map(|bin| {
                let floor = below.entry(bin.from_ns).or_default();
                let step = (bin.from_ns as f64, bin.to_ns as f64, *floor, *floor + bin.count as f64);
                *floor = step.3;
                step
            })
            .collect();
        plot.steps(class(row.phase), &steps);
    }
    if let Some(all) = report.phases.iter().find(|row| row.phase == Phase::All).and_then(|row| row.duration_ns.as_ref())
    {
        for (name, value) in [("p50", all.p50), ("p99", all.p99)] {
            plot.upright("percentile", value as f64, &format!("{name} of all: {}", duration(value)));
        }
    }
    plot.html("how often which duration occurs", "", time, number)
}

/// What a batch has in its decode, and in its prefill.
type OfBatch = fn(&Point) -> (u32, u32);

/// The batch of the first rank's iterations over time: tokens, and requests; prefill on top of decode. Says how many of
/// them are drawn.
pub(super) fn batches(report: &Report) -> String {
    let all: Vec<&Point> =
        report.points.rows.iter().filter(|point| point.rank == 0 && point.phase != Phase::Unknown).collect();
    let every = all.len().div_ceil(MOST_STEPS).max(1);
    let drawn: Vec<&Point> = all.iter().copied().step_by(every).collect();
    let measures: [(&str, OfBatch); 2] = [
        ("tokens", |p| (p.batch.generation_tokens, p.batch.context_tokens)),
        ("requests", |p| (p.batch.generation_requests, p.batch.context_requests)),
    ];
    let mut out = String::new();
    for (what, of) in measures {
        let highest = drawn.iter().map(|p| of(p).0.saturating_add(of(p).1)).max().unwrap_or(0);
        let mut plot = Plot::new(window_axis(report), Axis::between(0.0, f64::from(highest.max(1)) * 1.06));
        let step = |i: usize, point: &Point, low: u32, high: u32| {
            let end = drawn.get(i + 1).map_or(report.window.wall_ns, |next| next.start_ns);
            (point.start_ns as f64, end as f64, f64::from(low), f64::from(low.saturating_add(high)))
        };
        let decode: Vec<_> = drawn.iter().enumerate().map(|(i, p)| step(i, p, 0, of(p).0)).collect();
        let prefill: Vec<_> = drawn.iter().enumerate().map(|(i, p)| step(i, p, of(p).0, of(p).1)).collect();
        plot.steps("decode", &decode);
        plot.steps("prefill", &prefill);
        let _ = write!(out, "<h3>{what}</h3>{}", plot.html(&format!("{what} over time"), "low", time, number));
    }
    let name = escape(&rank_name(report, 0));
    let skipped = if every > 1 { format!(", every {every}th") } else { String::new() };
    let _ = write!(out, "<p class=\"note\">Of rank {name}: {} iterations{skipped}.</p>", count(drawn.len() as u64));
    out
}

/// Rank by rank: from the median to the 99th percentile, and the longest.
pub(super) fn ranks(report: &Report) -> String {
    let longest = report.ranks.iter().filter_map(|rank| Some(rank.duration_ns.as_ref()?.max)).max().unwrap_or(1) as f64;
    let mut out = String::from("<div class=\"bars\">");
    for (at, rank) in report.ranks.iter().enumerate() {
        let Some(of) = &rank.duration_ns else { continue };
        let place = |ns: u64| ns as f64 / longest * 100.0;
        let late = rank.slowest_share.map_or_else(String::new, |share| format!(", ends last in {}", percent(share)));
        let (from, to, most) = (place(of.p50), place(of.p99), place(of.max));
        let _ = write!(
            out,
            "<div class=\"bar\"><b>rank {}</b><span class=\"track\"><i class=\"band\" style=\"left:{from:.2}%;width:{:.2}%\">\
             </i><i class=\"tick\" style=\"left:{from:.2}%\"></i><i class=\"most\" style=\"left:{most:.2}%\"></i></span>\
             <small>p50 {}, p99 {}, max {}{late}</small></div>",
            escape(&rank_name(report, at as u32)),
            (to - from).max(0.3),
            duration(of.p50),
            duration(of.p99),
            duration(of.max),
        );
    }
    out.push_str("</div>");
    out
}

/// Where the time of complete requests went: one bar, then the first of them one by one.
pub(super) fn requests(report: &Report) -> String {
    let requests = &report.requests;
    let mut out = String::from("<div class=\"stack\">");
    for stage in requests.stages.iter().filter(|stage| stage.share > 0.0) {
        let (name, share) = (escape(&stage.stage), stage.share.clamp(0.0, 1.0) * 100.0);
        let _ = write!(
            out,
            "<i class=\"{name}\" style=\"width:{share:.3}%\" title=\"{name} {}\"></i>",
            percent(stage.share)
        );
    }
    out.push_str("</div><p class=\"legend\">");
    for stage in &requests.stages {
        let name = escape(&stage.stage);
        let _ = write!(out, "<span class=\"key {name}\">{name} {}</span>", percent(stage.share));
    }
    out.push_str("</p>");
    if !requests.rows.is_empty() {
        out.push_str(&one_by_one(&requests.rows));
    }
    out
}

fn one_by_one(rows: &[RequestRow]) -> String {
    let rows = &rows[..rows.len().min(MOST_REQUESTS)];
    let base = rows.first().map_or(0, |row| row.arrived_ns);
    let begin = |row: &RequestRow| row.arrived_ns.saturating_sub(base) as f64;
    let end = rows.iter().map(|row| begin(row) + row.total_ns() as f64).fold(1.0, f64::max);
    let mut plot = Plot::new(Axis::between(0.0, end), Axis::between(0.0, rows.len() as f64));
    for (at, stage) in STAGES.iter().enumerate() {
        let step = |(i, row): (usize, &RequestRow)| {
            // In the order of time; what was preempted stands behind the decoding in which most of it lies.
            let before = ORDER.iter().take_while(|&&other| other != at).filter_map(|&o| row.stages_ns.get(o));
            let from = begin(row) + before.map(|&ns| ns as f64).sum::<f64>();
            let low = (rows.len() - 1 - i) as f64;
            (from, from + row.stages_ns.get(at).copied().unwrap_or_default() as f64, low + 0.1, low + 0.9)
        };
        let steps: Vec<_> = rows.iter().enumerate().map(step).filter(|step| step.1 > step.0).collect();
        plot.steps(stage, &steps);
    }
    let no_words = |_| String::new();
    let plot = plot.html("requests one by one", "tall", time, no_words);
    format!(
        "<h3>one by one, by arrival</h3>{plot}<p class=\"note\">The first {} requests; preempted time is drawn behind decode.</p>",
        rows.len()
    )
}

/// Places of the stages in a request, in the order of time.
const ORDER: [usize; 6] = [0, 1, 2, 3, 5, 4];

/// What was measured beside its threshold.
pub(super) fn measured(finding: &Finding) -> String {
    let Some(measured) = finding.measured else { return String::new() };
    let scale = measured.max(finding.threshold).max(0.1) * 1.15;
    let scale = if finding.threshold > 0.2 { scale.max(1.0) } else { scale };
    let place = |share: f64| (share / scale).clamp(0.0, 1.0) * 100.0;
    format!(
        "<span class=\"gauge\" title=\"measured {}, threshold {}\"><i style=\"width:{:.1}%\"></i><b style=\"left:{:.1}%\"></b>\
         </span>",
        percent(measured),
        percent(finding.threshold),
        place(measured),
        place(finding.threshold)
    )
}
