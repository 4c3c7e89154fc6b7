//! `stepscope merge`.

use std::collections::HashMap;
use std::path::Path;

use super::exit::{Exit, UsageError};
use super::file_arguments::MergeArguments;
use super::table;
use crate::merge::{InputReport, MergeError, Report, Wanted, merge};

pub(super) fn run(arguments: MergeArguments) -> anyhow::Result<Exit> {
    let offsets = arguments.offset.iter().map(|offset| offset_of(offset)).collect::<Result<HashMap<_, _>, _>>()?;
    check_name("-o", &arguments.output)?;
    let wanted = Wanted {
        inputs: arguments.inputs,
        output: arguments.output.clone(),
        offsets,
        force: arguments.force,
        nsys: arguments.nsys,
    };
    let report = merge(&wanted).map_err(|error| match error {
        MergeError::NoSuchLabel { .. } => UsageError(error.to_string()).into(),
        other => anyhow::Error::from(other),
    })?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", shown(&report, &arguments.output));
    }
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Incomplete })
}

/// What a merged file may be called.
pub(super) fn check_name(option: &str, output: &Path) -> Result<(), UsageError> {
    let name = output.to_string_lossy();
    if [".json", ".json.gz", ".json.zst"].iter().any(|ending| name.ends_with(ending)) {
        return Ok(());
    }
    Err(UsageError(format!("{option} {name}: it has to end in .json, .json.gz or .json.zst")))
}

fn offset_of(text: &str) -> Result<(String, i64), UsageError> {
    let parts = text.rsplit_once('=').and_then(|(label, ns)| Some((label.to_owned(), ns.parse().ok()?)));
    parts.ok_or_else(|| UsageError(format!("--offset {text}: LABEL=NANOSECONDS is wanted, a whole number")))
}

/// What was merged, as text.
pub(super) fn shown(report: &Report, output: &Path) -> String {
    let mut out = table::columns(
        &["INPUT", "BY", "EVENTS", "MENDED", "OFFSET", "±", "CLOCK"],
        &[2, 3, 4, 5],
        report.inputs.iter().map(row),
    );
    let mut section = |lines: Vec<String>| {
        if !lines.is_empty() {
            out.push('\n');
            lines.into_iter().for_each(|line| out.push_str(&(line + "\n")));
        }
    };
    section(report.matches.iter().map(matched).collect());
    let lost = |input: &InputReport| {
        let lost = input.lost();
        (!lost.is_empty()).then(|| format!("{}: {}", input.label, lost.join("; ")))
    };
    let mut incomplete: Vec<String> = report.inputs.iter().filter_map(lost).collect();
    incomplete.extend(report.refused.iter().map(|refused| format!("{} is not in it: {}", refused.path, refused.why)));
    incomplete.extend(report.duplicates.iter().cloned());
    incomplete.extend(report.forced.iter().map(|why| format!("forced: {why}")));
    section(incomplete);
    let sure = match report.uncertainty_ns {
        Some(ns) => format!("two inputs lie at most {} off each other", ns_text(ns)),
        None => "nobody knows how far off each other the inputs lie".into(),
    };
    let sure = if report.inputs.len() > 1 { format!("; {sure}") } else { String::new() };
    section(vec![
        format!("trace: {} ({} events{sure})", output.display(), report.events),
        "open it at https://ui.perfetto.dev (Open trace file) or in chrome://tracing (Load)".into(),
    ]);
    out
}

fn row(input: &InputReport) -> Vec<String> {
    vec![
        input.label.clone(),
        format!("{:?}", input.maker).to_lowercase(),
        input.events.to_string(),
        input.mended.to_string(),
        if input.offset_ns == 0 { "-".into() } else { format!("{} ns", input.offset_ns) },
        input.uncertainty_ns.map_or_else(|| "?".into(), ns_text),
        input.clock.clone(),
    ]
}

fn matched(found: &crate::merge::Match) -> String {
    format!(
        "{} iterations are in {} and in {}: there they begin {:+.1} µs later (median from the second on; at least {:+.1} µs, nine of ten within {})",
        found.iterations,
        found.a,
        found.b,
        found.median_offset_ns as f64 / 1e3,
        found.least_offset_ns as f64 / 1e3,
        ns_text(found.spread_ns)
    )
}

fn ns_text(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}
