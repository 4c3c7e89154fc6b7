//! Rows of tables that the page and the command show alike: cells as text, for whoever draws them.

use super::model::{Distribution, Report};
use super::proxied::Proxied;
use super::requests::{Requests, StageRow};
use super::words::{approximately, count, duration, pace, percent, rank_name};

/// Mean, smallest, percentiles and largest of times.
pub fn times(of: &Distribution) -> [String; 6] {
    [approximately(of.avg), duration(of.min), duration(of.p50), duration(of.p90), duration(of.p99), duration(of.max)]
}

/// What requests went through: a name, how many, times, and the share of the time from end to end.
pub fn requests(requests: &Requests) -> Vec<Vec<String>> {
    let totals = [
        ("end to end", &requests.end_to_end_ns, percent(1.0)),
        ("first token", &requests.time_to_first_token_ns, String::new()),
        ("per token", &requests.time_per_output_token_ns, String::new()),
    ];
    stages(&requests.stages, totals)
}

/// The same of requests that passed through the sidecar.
pub fn proxied(proxied: &Proxied) -> Vec<Vec<String>> {
    let totals = [
        ("end to end", &proxied.end_to_end_ns, percent(1.0)),
        ("first chunk", &proxied.time_to_first_chunk_ns, String::new()),
    ];
    stages(&proxied.stages, totals)
}

fn stages<const N: usize>(stages: &[StageRow], totals: [(&str, &Option<Distribution>, String); N]) -> Vec<Vec<String>> {
    let row = |name: &str, of: &Distribution, share: String| {
        let mut row = vec![name.to_owned(), count(of.count)];
        row.extend(times(of));
        row.push(share);
        row
    };
    let mut rows: Vec<_> = stages.iter().map(|stage| row(&stage.stage, &stage.time_ns, percent(stage.share))).collect();
    rows.extend(totals.into_iter().filter_map(|(name, of, share)| Some(row(name, of.as_ref()?, share))));
    rows
}

/// How fast ranks stepped: which, before the window, within, behind.
pub fn paces(report: &Report) -> Vec<Vec<String>> {
    let cells = report.overhead.paces.iter().map(|row| {
        let mut cells = vec![rank_name(report, row.rank)];
        cells.extend([row.before, row.within, row.after].map(pace));
        cells
    });
    cells.collect()
}
