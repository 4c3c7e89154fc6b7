//! What stands where on the page.

use std::fmt::Write;

use super::escape::escape;
use super::{charts, tables};
use crate::report::model::Report;
use crate::report::verdict::{Bound, Holds};
use crate::report::words::{
    completeness, count, duration, percent, rate, requests_passed, requests_seen, wall_clock, window,
};

const STYLE: &str = include_str!("style.css");
/// What the page may do: show itself. Also when it is opened from a file.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(256 * 1024);
    let id = escape(&report.capture.capture_id);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><meta \
         http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"><title>Stepscope report {id}</title><style>{STYLE}\
         </style></head><body><main>"
    );
    out.push_str(&head(report));
    out.push_str(&verdict(report));
    if report.window.iterations > 0 {
        out.push_str(&figures(report));
        out.push_str(&plots(report));
        section(
            &mut out,
            "Iterations by phase",
            "Host time inside the call; every rank's iterations count.",
            &tables::phases(report),
        );
        let counted = format!("Tokens counted {}.", escape(&report.throughput.counted));
        section(&mut out, "Tokens", &counted, &tables::tokens(report));
        section(
            &mut out,
            "Slowest iterations",
            "Those with a halo in the plot of durations.",
            &tables::slowest(report),
        );
        let compared = "The straggler is who ends last: the others could have gone on by then.";
        let groups =
            if report.groups.iter().any(|group| group.ranks > 1) { tables::groups(report) } else { String::new() };
        section(&mut out, "Ranks beside each other", compared, &format!("{}{groups}", tables::ranks(report)));
    }
    requests(&mut out, report);
    proxied(&mut out, report);
    match (report.gpus.is_empty(), &report.loss.gpus_absent) {
        (false, _) => section(&mut out, "GPU counters over the window", "", &tables::gpus(report)),
        (true, why) => {
            let why = escape(why.as_deref().unwrap_or("no counter was sampled"));
            section(&mut out, "GPU counters over the window", &format!("Not known: {why}."), "");
        }
    }
    if let Some(kernels) = &report.kernels {
        let each = kernels.per_iteration.map_or_else(String::new, |each| format!(", {} each", rate(each)));
        let words = format!(
            "{} kernels in {} iterations{each}, by {}. {}",
            count(kernels.kernels),
            count(kernels.iterations),
            escape(&kernels.report),
            escape(kernels.problem.as_deref().unwrap_or_default())
        );
        section(&mut out, "Kernels", &words, "");
    }
    section(&mut out, "What the capture itself took", "", &tables::overhead(report));
    section(&mut out, "What is missing", "", &tables::loss(report));
    let _ = write!(
        out,
        "<details><summary>Thresholds, and how the numbers come about</summary>{}<p class=\"note\">Percentiles: {}. Plots \
         show {} of {} iterations; tables have all.</p></details>",
        tables::thresholds(report),
        escape(&report.percentiles),
        count(report.points.rows.len() as u64),
        count(report.points.of)
    );
    let _ = writeln!(out, "<footer>Stepscope {}</footer></main></body></html>", escape(&report.stepscope_version));
    out
}

fn section(out: &mut String, title: &str, note: &str, body: &str) {
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>") };
    let _ = write!(out, "<section><h2>{title}</h2>{note}{body}</section>");
}

fn head(report: &Report) -> String {
    let capture = &report.capture;
    let class = match report.loss.complete {
        Some(true) => "good",
        Some(false) => "bad",
        None => "open",
    };
    let stepped = wall_clock(report.window.wall_clock_stepped_ns)
        .map_or_else(String::new, |said| format!("<p class=\"note\">Mind that {}.</p>", escape(&said)));
    let engines = escape(&capture.engines.join(", "));
    format!(
        "<header><p class=\"brand\">Stepscope report</p><h1>{}</h1><p class=\"facts\"><span class=\"badge {class}\">{}</span>\
         <span>{engines}</span><span>profiler {}</span><span>accepted {}</span><span class=\"id\">{}</span></p>{stepped}</header>",
        escape(&window(report)),
        completeness(&report.loss),
        escape(&capture.profiler),
        escape(&second(&capture.accepted_at)),
        escape(&capture.capture_id)
    )
}

/// RFC 3339 to the second.
fn second(time: &str) -> String {
    time.get(..19).map_or_else(|| time.to_owned(), |second| format!("{}Z", second.replace('T', " ")))
}

fn verdict(report: &Report) -> String {
    let verdict = &report.verdict;
    let open = if verdict.primary == Bound::CantTell { " open" } else { "" };
    let mut out =
        format!("<section class=\"verdict{open}\"><h2>{}</h2><ul class=\"findings\">", verdict.primary.title());
    for finding in &verdict.findings {
        let class = match finding.holds {
            Holds::Yes => "yes",
            Holds::No => "no",
            Holds::CantTell => "cant",
        };
        let _ = write!(
            out,
            "<li class=\"{class}\"><span class=\"mark\">{}</span><b>{}</b>{}<span class=\"why\">{}</span></li>",
            finding.holds.title(),
            finding.bound.title(),
            charts::measured(finding),
            escape(&finding.evidence)
        );
    }
    out.push_str("</ul></section>");
    out
}

/// The numbers that are looked for first.
fn figures(report: &Report) -> String {
    let mut out = String::from("<div class=\"figures\">");
    let mut figure = |name: &str, value: String, beside: String| {
        let _ = write!(out, "<div><small>{name}</small><b>{value}</b><small>{beside}</small></div>");
    };
    if let Some(all) = tables::all(report) {
        if let Some(of) = &all.duration_ns {
            figure("iteration, p50", duration(of.p50), format!("p99 {}, max {}", duration(of.p99), duration(of.max)));
        }
        if let Some(of) = &all.gap_ns {
            figure("host gap, p50", duration(of.p50), format!("p99 {}, max {}", duration(of.p99), duration(of.max)));
        }
        if let Some(of) = &all.device_ns {
            figure("device, p50", duration(of.p50), format!("p99 {}, max {}", duration(of.p99), duration(of.max)));
        }
    }
    let t = &report.throughput;
    figure(
        "decode tokens/s",
        rate(t.generation_tokens_per_second),
        format!("prefill {}", rate(t.context_tokens_per_second)),
    );
    figure("iterations/s", rate(t.iterations_per_second), format!("in {}", duration(report.window.wall_ns)));
    let dropped: u64 = report.loss.ranks.iter().map(|rank| rank.dropped).sum();
    let lost: u64 = report.loss.ranks.iter().map(|rank| rank.expected.saturating_sub(rank.recorded)).sum();
    figure("records dropped", count(dropped), format!("{} iterations missing", count(lost)));
    out.push_str("</div>");
    out
}

fn plots(report: &Report) -> String {
    let points = &report.points;
    let choice = if points.share < 1.0 {
        format!(
            "{} of {} iterations are drawn, an even choice ({}).",
            count(points.rows.len() as u64),
            count(points.of),
            percent(points.share)
        )
    } else {
        format!("All {} iterations are drawn.", count(points.of))
    };
    let legend = charts::legend(report);
    let mut out = String::new();
    let durations = format!("{legend}{}", charts::durations(report));
    section(&mut out, "Durations over time", &format!("{choice} Those with a halo are the slowest."), &durations);
    if let Some(device) = charts::device(report) {
        section(&mut out, "Device times over time", "", &format!("{legend}{device}"));
    }
    let note = "All iterations, in steps of a sixteenth of an octave; the lines are p50 and p99.";
    section(&mut out, "Which durations occur", note, &format!("{legend}{}", charts::distribution(report)));
    let key =
        "<p class=\"legend\"><span class=\"key prefill\">prefill</span><span class=\"key decode\">decode</span></p>";
    section(&mut out, "Batches over time", "", &format!("{key}{}", charts::batches(report)));
    let note =
        "From an iteration's end to the next one's begin. Where scheduling is asynchronous a host gap proves nothing.";
    section(&mut out, "Gaps over time", note, &format!("{legend}{}", charts::gaps(report)));
    let note = "From the median to the 99th percentile; the thin line is the longest.";
    section(&mut out, "Durations rank by rank", note, &charts::ranks(report));
    out
}

fn requests(out: &mut String, report: &Report) {
    let requests = &report.requests;
    if !requests.recorded {
        return section(out, "Requests", "Not known: this capture recorded no requests.", "");
    }
    let body = if requests.complete > 0 {
        format!("{}{}", charts::requests(report), tables::requests(report))
    } else {
        String::new()
    };
    section(out, "Requests", &requests_seen(requests), &body);
}

fn proxied(out: &mut String, report: &Report) {
    let proxied = &report.proxied;
    if !proxied.recorded {
        return;
    }
    section(out, "In front of the engine", &requests_passed(proxied), &tables::proxied(report));
}
