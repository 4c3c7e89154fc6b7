//! `profiling.txt`: the record for people.

use std::fmt::Write as _;
use std::path::Path;

use super::clock::duration;
use super::record::{CallRecord, CaptureRecord, PhaseRecord, RankRecord, Record, Skew};

/// The section.
pub(super) fn text(record: &Record, folder: &Path) -> String {
    let mut out = String::from("Profiling\n");
    let command = &record.command;
    let ended = match (command.exit_code, command.signal) {
        (_, Some(signal)) => format!("ended by {}", super::signals::name(signal)),
        (Some(code), _) => format!("exit code {code}"),
        _ => "not run".into(),
    };
    let ran = command.duration_ns.map_or_else(String::new, |ns| format!(", {}", duration(ns)));
    let _ = writeln!(out, "  command   {} ({ended}{ran})", command.arguments.first().map_or("-", String::as_str));
    let _ = writeln!(out, "  engine    {}", record.engine);
    for phase in &record.phases {
        one_phase(&mut out, record, phase);
    }
    if record.phases.is_empty() {
        out.push_str("  no phase was started\n");
    }
    for warning in &record.warnings {
        let _ = writeln!(out, "  warning   {warning}");
    }
    let _ = writeln!(out, "  files     {}", folder.display());
    out
}

fn one_phase(out: &mut String, record: &Record, phase: &PhaseRecord) {
    let starts: Vec<&CallRecord> = record.starts.iter().filter(|call| call.phase == phase.phase).collect();
    let stop = record.stops.iter().find(|call| call.phase == phase.phase).and_then(|call| call.stop_reason);
    let name = phase.name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
    let _ = writeln!(
        out,
        "  phase {}{name}: {} of {} targets started within {}{}",
        phase.phase,
        phase.captures.len(),
        starts.len(),
        duration(phase.start_duration_ns),
        stop.map_or_else(String::new, |reason| format!(", stopped: {reason}")),
    );
    for call in &starts {
        target(out, record, phase, call);
    }
    skew(out, phase.skew);
    match (&phase.merged, &phase.not_merged) {
        (Some(merged), _) => drop(writeln!(out, "    merged    {} ({} bytes)", merged.file, merged.bytes)),
        (None, Some(why)) => drop(writeln!(out, "    merged    no: {}", why.lines().next().unwrap_or_default())),
        (None, None) => {}
    }
}

fn target(out: &mut String, record: &Record, phase: &PhaseRecord, call: &CallRecord) {
    let capture = phase.captures.iter().find(|capture| capture.target == call.target);
    let Some(capture) = capture else {
        let _ = writeln!(
            out,
            "    {} ({}): not started: {}",
            base(&call.url),
            call.engine,
            call.error.as_deref().unwrap_or("?")
        );
        if let Some(late) = &call.late {
            let _ = writeln!(out, "      {late}");
        }
        return;
    };
    let _ = writeln!(out, "    {} ({}): {}", capture.url, capture.engine, what(capture));
    if let Some(trace) = &capture.trace {
        let _ = writeln!(out, "      trace: {} ({} bytes)", trace.file, trace.bytes);
    }
    let stops = record.stops.iter().filter(|stop| (stop.phase, stop.target) == (call.phase, call.target));
    for error in stops.filter_map(|stop| stop.error.as_ref()) {
        let _ = writeln!(out, "      the stop failed: {error}");
    }
    for words in capture.missing.iter().chain(&capture.warnings) {
        let _ = writeln!(out, "      {words}");
    }
}

fn base(url: &str) -> &str {
    url.strip_suffix("/start_profile").unwrap_or(url)
}

fn what(capture: &CaptureRecord) -> String {
    let Some(state) = &capture.state else { return "started".into() };
    let complete = match capture.complete.as_bool() {
        Some(true) => ", complete",
        Some(false) => ", incomplete",
        None => "",
    };
    let windows: Vec<String> = capture.ranks.iter().map(window).collect();
    let same = windows.iter().all(|window| Some(window) == windows.first());
    let ranks = match (windows.first(), same) {
        (None, _) => "no rank".to_owned(),
        (Some(window), true) if windows.len() == 1 => window.clone(),
        (Some(window), true) => format!("{window} of {} ranks", windows.len()),
        (Some(_), false) => {
            let each = capture.ranks.iter().zip(&windows).map(|(rank, window)| format!("rank {} {window}", rank.rank));
            each.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{state}{complete}, {ranks}")
}

fn window(rank: &RankRecord) -> String {
    match (rank.first_iteration, rank.last_iteration) {
        (Some(first), Some(last)) => format!("iterations {first}-{last} ({})", rank.iterations),
        _ => format!("no iterations ({})", rank.state),
    }
}

fn skew(out: &mut String, skew: Skew) {
    let parts = [
        ("calls sent", skew.calls_ns),
        ("answered", skew.answers_ns),
        ("windows agreed on", skew.agreed_ns),
        ("windows opened", skew.opened_ns),
    ];
    let parts: Vec<String> =
        parts.iter().filter_map(|(what, ns)| Some(format!("{what} within {}", duration((*ns)?)))).collect();
    if !parts.is_empty() {
        let _ = writeln!(out, "    skew      {}", parts.join(", "));
    }
}
