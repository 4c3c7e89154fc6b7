//! What people see: the sidecar's answers as tables, pure functions from values to text.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::client::types::{Artifact, Capture, Complete, Native, Rank, Status};

/// Columns without lines around them; the numbers of `right` are aligned to the right.
pub(super) fn columns(header: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for &index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string().lines().fold(String::new(), |mut out, line| {
        out.push_str(line.trim_end());
        out.push('\n');
        out
    })
}

/// One capture: where it stands, what each rank captured, what is missing.
pub fn capture(capture: &Capture) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "capture {}: {}", capture.capture_id, headline(capture));
    if let Some(reason) = &capture.reason {
        let _ = writeln!(out, "  reason: {reason}");
    }
    for missing in &capture.missing {
        let _ = writeln!(out, "  missing: {missing}");
    }
    for warning in &capture.warnings {
        let _ = writeln!(out, "  warning: {warning}");
    }
    if !capture.ranks.is_empty() {
        out.push('\n');
        out.push_str(&ranks(capture));
    }
    if !capture.sources.is_empty() {
        out.push('\n');
        out.push_str(&sources(capture));
    }
    if let Some(native) = &capture.native {
        out.push('\n');
        out.push_str(&engines_profiler(native, &capture.artifacts));
    }
    let sparsest = capture.sampling.iter().map(|sampling| sampling.one_in).max().unwrap_or(1);
    if sparsest > 1 {
        let _ =
            writeln!(out, "\nof the requests one in {sparsest} was recorded at times, because records were dropped");
    }
    out
}

/// The engine's own profiler, and what it wrote.
fn engines_profiler(native: &Native, artifacts: &[Artifact]) -> String {
    let who = if native.kind.is_empty() { "the engine" } else { &native.kind };
    let mut out = format!("{who}'s own profiler: ");
    out.push_str(&match (native.state.as_str(), native.exact) {
        ("over", Complete::Yes) => "exactly these iterations".into(),
        ("over", _) => native.difference.clone().unwrap_or_else(|| "which iterations it has is not known".into()),
        ("stopping", _) => format!(
            "stopping for {:.1} s, {} written",
            native.stopping_ms as f64 / 1e3,
            indicatif::BinaryBytes(native.bytes)
        ),
        // Why stands among what is missing, if the window opened at all.
        ("unused", _) => "not started".into(),
        (state, _) => state.into(),
    });
    out.push('\n');
    let rows: Vec<Vec<String>> = artifacts
        .iter()
        .filter(|artifact| artifact.kind != "trace")
        .map(|artifact| {
            let rank = artifact.rank.map_or_else(|| "-".into(), |rank| rank.to_string());
            let bytes = indicatif::BinaryBytes(artifact.bytes).to_string();
            vec![artifact.name.clone(), artifact.kind.replace('_', " "), rank, bytes]
        })
        .collect();
    if !rows.is_empty() {
        out.push_str(&columns(&["FILE", "KIND", "RANK", "SIZE"], &[2, 3], rows));
    }
    out
}

/// Processes that run no iterations.
fn sources(capture: &Capture) -> String {
    let rows = capture.sources.iter().map(|source| {
        let label = if source.label.is_empty() { "(no name)" } else { &source.label };
        vec![label.into(), source.pid.to_string(), source.records.to_string(), source.dropped.to_string()]
    });
    columns(&["ALSO TOLD", "PID", "RECORDS", "DROPPED"], &[1, 2, 3], rows)
}

/// `done, complete, closed by stop`.
fn headline(capture: &Capture) -> String {
    let mut words = vec![capture.state.clone()];
    if capture.state == "done" {
        words.push(complete(capture.complete).into());
    }
    if let Some(cause) = &capture.closed_by {
        words.push(format!("closed by {cause}"));
    }
    if !capture.is_final() {
        words.push(match capture.window.max_iterations {
            0 => "until stop".into(),
            1 => "1 iteration".into(),
            many => format!("{many} iterations"),
        });
    }
    words.join(", ")
}

fn complete(complete: Complete) -> &'static str {
    match complete {
        Complete::Yes => "complete",
        Complete::No => "incomplete",
        Complete::Unknown => "completeness unknown",
    }
}

/// What each rank captured; while it has captured nothing yet, what its group agreed on.
fn ranks(capture: &Capture) -> String {
    let agreed = |rank: &Rank| capture.groups.iter().find(|g| g.job == rank.job && g.group == rank.group);
    let several_jobs = capture.ranks.iter().any(|rank| rank.job != capture.ranks[0].job);
    let mut header = vec!["GROUP", "RANK", "FIRST", "LAST", "ITERATIONS", "DROPPED", "CLOSED BY"];
    if several_jobs {
        header.insert(0, "JOB");
    }
    let numbers: Vec<usize> = (1..=5).map(|index| index + usize::from(several_jobs)).collect();
    let mut ranks: Vec<&Rank> = capture.ranks.iter().collect();
    ranks.sort_by_key(|rank| (&rank.job, &rank.group, rank.rank));
    let rows = ranks.into_iter().map(|rank| {
        let waiting = rank.first_iteration.is_none() && !capture.is_final();
        let group = agreed(rank).filter(|_| waiting);
        let mut row = vec![
            rank.group.clone(),
            rank.rank.to_string(),
            number(rank.first_iteration.or_else(|| group.and_then(|g| g.first_iteration))),
            number(rank.last_iteration.or_else(|| group.and_then(|g| g.last_iteration))),
            rank.iterations.to_string(),
            rank.dropped.to_string(),
            rank.closed_by.clone().unwrap_or_else(|| rank.state.clone()),
        ];
        if several_jobs {
            row.insert(0, rank.job.clone());
        }
        row
    });
    columns(&header, &numbers, rows)
}

/// The sidecar, its ranks, what it refused, what runs.
pub fn status(status: &Status, url: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "sidecar {} at {url}",
        if status.version.is_empty() { "(version unknown)" } else { &status.version }
    );
    let _ = writeln!(out, "segments in {}; captures use {}", status.dir, indicatif::BinaryBytes(status.store_bytes));
    out.push('\n');
    if status.ranks.is_empty() {
        let _ = writeln!(
            out,
            "no engine is attached; on the engine's machine `stepscope doctor --dir {}` says why",
            status.dir
        );
    } else {
        let header = ["JOB", "GROUP", "RANK", "LABEL", "ENGINE", "PID", "ITERATIONS", "IT/S", "GATE", "DROPPED"];
        let mut ranks: Vec<_> = status.ranks.iter().collect();
        ranks.sort_by_key(|rank| (&rank.job, &rank.group, rank.rank));
        let rows = ranks.into_iter().map(|rank| {
            vec![
                rank.job.clone(),
                rank.group.clone(),
                if rank.role == "source" { "spans".into() } else { rank.rank.to_string() },
                rank.label.clone(),
                rank.engine.clone(),
                rank.pid.to_string(),
                rank.begun.to_string(),
                format!("{:.1}", rank.iterations_per_second),
                rank.gate.clone(),
                rank.dropped_total.to_string(),
            ]
        });
        out.push_str(&columns(&header, &[2, 5, 6, 7, 9], rows));
    }
    for refused in &status.refused {
        let _ = writeln!(out, "\nrefused {}\n  {}", refused.segment, refused.reason);
    }
    if let Some(running) = &status.running {
        let _ = write!(out, "\n{}", capture(running));
    }
    out
}

/// The list of captures.
pub fn captures(captures: &[Capture]) -> String {
    if captures.is_empty() {
        return "no captures yet; `stepscope start` makes one\n".into();
    }
    let mut header = vec!["ID", "ACCEPTED", "STATE", "COMPLETE", "ITERATIONS", "RANKS", "DROPPED", "CLOSED BY"];
    let with_engine = captures.iter().any(|capture| capture.native.is_some());
    if with_engine {
        header.push("ENGINE");
    }
    let rows = captures.iter().map(|capture| {
        let most = capture.ranks.iter().map(|rank| rank.iterations).max().unwrap_or(0);
        let mut row = vec![
            capture.capture_id.clone(),
            // To the second: 2026-11-21T10:00:00.123456Z
            capture.accepted_at.get(..19).map_or_else(|| capture.accepted_at.clone(), |second| format!("{second}Z")),
            capture.state.clone(),
            match capture.complete {
                Complete::Yes => "yes".into(),
                Complete::No => "no".into(),
                Complete::Unknown => "unknown".into(),
            },
            most.to_string(),
            capture.ranks.len().to_string(),
            capture.dropped.to_string(),
            capture.closed_by.clone().unwrap_or_else(|| "-".into()),
        ];
        if with_engine {
            row.push(match &capture.native {
                None => "-".into(),
                Some(native) if native.state != "over" => native.state.clone(),
                Some(native) => match native.exact {
                    Complete::Yes => "exact".into(),
                    Complete::No => "differs".into(),
                    Complete::Unknown => "unknown".into(),
                },
            });
        }
        row
    });
    columns(&header, &[4, 5, 6], rows)
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
