//! Numbers as people read them, the same in tables and on the page.

use super::model::{BatchFacts, Loss, LossRow, Pace, RankRow, Report};
use super::proxied::Proxied;
use super::requests::Requests;

/// `2.12 ms`: three digits, and the unit that keeps them short.
pub fn duration(ns: u64) -> String {
    approximately(ns as f64)
}

/// The same of a mean.
pub fn approximately(ns: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    // What would round to 1000 of a unit is 1 of the next.
    match units.into_iter().find(|(unit, _)| ns >= unit * 0.999_5) {
        Some((unit, name)) => format!("{} {name}", digits(ns / unit)),
        None => format!("{ns:.0} ns"),
    }
}

/// Three digits, without a fraction from a hundred on.
fn digits(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    if value >= 999.5 { count_of(value) } else { format!("{value:.decimals$}") }
}

/// `12,345`.
pub fn count(number: u64) -> String {
    let plain = number.to_string();
    let mut out = String::with_capacity(plain.len() * 4 / 3);
    for (i, digit) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[expect(clippy::cast_sign_loss, reason = "callers have no negative counts; one would be shown as 0")]
fn count_of(value: f64) -> String {
    count(value.round() as u64)
}

/// `12,345`, or `3.21` of something small.
pub fn rate(per_second: f64) -> String {
    if per_second == 0.0 { "0".into() } else { digits(per_second) }
}

/// `71.2 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `2 prefill (300 tokens) + 14 decode`: requests, and tokens where they are not as many.
pub fn batch(batch: Option<&BatchFacts>) -> String {
    let Some(batch) = batch else { return "not told".into() };
    let mut parts = Vec::new();
    if batch.context_requests > 0 {
        parts.push(format!("{} prefill ({} tokens)", batch.context_requests, count(batch.context_tokens.into())));
    }
    if batch.generation_requests > 0 {
        parts.push(match batch.generation_tokens == batch.generation_requests {
            true => format!("{} decode", batch.generation_requests),
            false => format!("{} decode ({} tokens)", batch.generation_requests, batch.generation_tokens),
        });
    }
    if parts.is_empty() { "empty".into() } else { parts.join(" + ") }
}

/// `complete`, `incomplete`.
pub fn completeness(loss: &Loss) -> &'static str {
    match loss.complete {
        Some(true) => "complete",
        Some(false) => "incomplete",
        None => "completeness unknown",
    }
}

/// What a rank is called in this report: with its group, and its job, where there are several.
pub fn rank_name(report: &Report, at: u32) -> String {
    let Some(rank) = report.ranks.get(at as usize) else { return format!("#{at}") };
    let several = |of: fn(&RankRow) -> &str| report.ranks.iter().any(|other| of(other) != of(rank));
    let mut name = rank.rank.to_string();
    if several(|rank| &rank.group) || several(|rank| &rank.job) {
        name = format!("{}/{name}", rank.group);
    }
    if several(|rank| &rank.job) {
        name = format!("{}/{name}", rank.job);
    }
    name
}

/// What a row of losses is of: as [`rank_name`], or the label of a process that is no rank.
pub fn loss_name(report: &Report, row: &LossRow) -> String {
    if row.role == "source" {
        return row.label.clone();
    }
    let is_it = |rank: &RankRow| rank.job == row.job && rank.group == row.group && rank.rank == row.rank;
    let place = report.ranks.iter().position(is_it);
    place.map_or_else(|| row.rank.to_string(), |place| rank_name(report, place as u32))
}

/// `iterations 21 to 70 (50) of 2 ranks, 104 ms`.
pub fn window(report: &Report) -> String {
    let window = &report.window;
    let (Some(first), Some(last)) = (window.first_iteration, window.last_iteration) else {
        return "no iteration was recorded".into();
    };
    let ranks = match (window.ranks, window.groups) {
        (1, _) => "1 rank".to_owned(),
        (ranks, 0 | 1) => format!("{} ranks", count(ranks)),
        (ranks, groups) => format!("{} ranks in {} groups", count(ranks), count(groups)),
    };
    if window.groups > 1 {
        // Each group counts its own.
        return format!("{} iterations of {ranks}, {}", count(window.iterations), duration(window.wall_ns));
    }
    let iterations = count(last.saturating_sub(first).saturating_add(1));
    format!("iterations {first} to {last} ({iterations}) of {ranks}, {}", duration(window.wall_ns))
}

/// How many requests were seen, and what of them a table of stages holds.
pub fn requests_seen(requests: &Requests) -> String {
    format!(
        "{} seen, {} from arrival to end: those are below. Not whole: {} arrived before the window or lost a time, {} \
         still ran, {} were aborted, {} have times that run backwards. {} preemptions.",
        count(requests.seen),
        count(requests.complete),
        count(requests.incomplete),
        count(requests.open),
        count(requests.aborted),
        count(requests.disordered),
        count(requests.preemptions)
    )
}

/// The same of requests that passed through the sidecar.
pub fn requests_passed(proxied: &Proxied) -> String {
    format!(
        "{} requests passed through the sidecar, {} to the end of their answer: those are below. Of the others {} still \
         ran, {} were left by their client, {} failed on the engine's side, {} were refused.",
        count(proxied.seen),
        count(proxied.complete),
        count(proxied.open),
        count(proxied.client_left),
        count(proxied.engine_failed),
        count(proxied.refused)
    )
}

/// `3.26 ms (612)`: how fast a rank stepped, and over how many iterations; how far off that may be where it shows.
pub fn pace(pace: Option<Pace>) -> String {
    let Some(Pace { iterations, mean_ns, uncertainty_ns }) = pace else { return "-".into() };
    let uncertain =
        if uncertainty_ns * 1000 > mean_ns { format!(" ± {}", duration(uncertainty_ns)) } else { String::new() };
    format!("{}{uncertain} ({})", duration(mean_ns), count(iterations))
}

/// What is to be said where the wall clock was set meanwhile: `the wall clock was set forward by 3.00 s meanwhile …`.
pub fn wall_clock(stepped_ns: i64) -> Option<String> {
    let way = if stepped_ns < 0 { "back" } else { "forward" };
    (stepped_ns != 0).then(|| {
        format!(
            "the wall clock was set {way} by {} meanwhile: times of day are by the clock as it was at the end, durations are \
             by a clock that nobody sets",
            duration(stepped_ns.unsigned_abs())
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_digits_and_never_show_a_thousand_of_a_unit() {
        let cases = [(0, "0 ns"), (999, "999 ns"), (1000, "1.00 µs"), (12_345, "12.3 µs"), (999_499, "999 µs")];
        let more =
            [(999_999, "1.00 ms"), (2_120_000, "2.12 ms"), (99_960_000, "100 ms"), (3_600_000_000_000, "3,600 s")];
        for (ns, text) in cases.into_iter().chain(more) {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn counts_are_grouped_and_rates_kept_short() {
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!(
            (rate(0.0), rate(3.214), rate(99.96), rate(12_345.6)),
            ("0".into(), "3.21".into(), "100".into(), "12,346".into())
        );
    }
}
