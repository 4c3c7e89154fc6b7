//! A comparison of two reports as a table.

use std::fmt::Write;

use super::report_table::{TEXT_COLUMNS, wrapped};
use super::table::columns;
use crate::report::compare::{Comparison, Outcome};
use crate::report::words::{count, duration, percent};

/// A part of an octave in words.
fn width(octaves: f64) -> &'static str {
    match octaves {
        0.25 => "a quarter of an",
        0.5 => "half an",
        _ => "an",
    }
}

/// All of it.
pub fn comparison(comparison: &Comparison) -> String {
    let mut out = format!("A: capture {}\nB: capture {}\n\n", comparison.a, comparison.b);
    let beyond: Vec<String> = comparison
        .rows
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Longer | Outcome::Shorter))
        .map(|row| format!("{} of {} iterations", row.what, row.phase.title()))
        .collect();
    let few = comparison.rows.iter().all(|row| row.outcome == Outcome::TooFew);
    let _ = match (beyond.is_empty(), few) {
        (true, true) => writeln!(out, "nothing can be said: there are too few iterations of the same kind\n"),
        (true, false) => writeln!(out, "nothing is beyond noise\n"),
        (false, _) => writeln!(out, "beyond noise: {}\n", beyond.join(", ")),
    };
    let rows = comparison.rows.iter().map(|row| {
        let signed = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:+.1} %", share * 100.0));
        let interval = match (row.low, row.high) {
            (Some(_), Some(_)) => format!("{} .. {}", signed(row.low), signed(row.high)),
            _ => "-".into(),
        };
        vec![
            row.what.clone(),
            row.phase.title().into(),
            format!("{} of {}", count(row.count_a), count(row.of_a)),
            format!("{} of {}", count(row.count_b), count(row.of_b)),
            duration(row.p50_a_ns),
            duration(row.p50_b_ns),
            signed(row.change),
            interval,
            match row.octaves > 0.125 && row.outcome != Outcome::TooFew {
                true => format!("{} (batches within {} octave)", row.outcome.title(), width(row.octaves)),
                false => row.outcome.title().into(),
            },
        ]
    });
    let header = ["WHAT", "PHASE", "ALIKE IN A", "ALIKE IN B", "P50 A", "P50 B", "B BESIDE A", "INTERVAL", ""];
    out.push_str(&columns(&header, &[2, 3, 4, 5, 6, 7], rows));
    for caution in &comparison.cautions {
        let _ = writeln!(out, "\nmind: {caution}");
    }
    let t = &comparison.thresholds;
    let method = wrapped(&comparison.method, TEXT_COLUMNS).join("\n");
    let _ = writeln!(
        out,
        "\n{method}\n{} intervals; a difference below {} is not called one; it takes {} iterations a side, {} of a kind.",
        percent(t.compare_confidence),
        percent(t.compare_min_effect),
        t.compare_min_count,
        t.compare_min_stratum
    );
    out
}
