//! Two captures beside each other: what is called a difference, and what is not.

use proptest::prelude::*;
use stepscope::cli::compare_table;
use stepscope::report::Report;
use stepscope::report::compare::{Comparison, Outcome, Row, compare, outcome};
use stepscope::report::model::Phase;
use stepscope::report::thresholds::{COMPARE_MIN_COUNT, COMPARE_MIN_EFFECT};
use stepscope::trace::event::Iteration;

use super::sample::{iteration, report, report_of};

/// A small generator with a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Around 1, within a tenth.
    fn noise(&mut self) -> f64 {
        let sum: u64 = (0..4).map(|_| self.below(1000)).sum();
        0.9 + sum as f64 / 4000.0 * 0.2
    }
}

/// A server that takes 1 ms and 50 µs a decode request, all of it `slower` times, with batches of `sizes`.
fn server(seed: u64, count: u64, sizes: &[u32], slower: f64) -> Report {
    let mut random = Random(seed);
    let mut begin_ns = 1_000_000;
    let iterations: Vec<Iteration> = (1..=count)
        .map(|number| {
            let size = sizes[random.below(sizes.len() as u64) as usize];
            let duration_ns = ((1e6 + 5e4 * f64::from(size)) * slower * random.noise()).round() as u64;
            let this = iteration(number, begin_ns, duration_ns, [0, 0, size, size]);
            begin_ns += duration_ns + 20_000;
            this
        })
        .collect();
    report_of(&iterations)
}

fn row<'a>(comparison: &'a Comparison, what: &str, phase: Phase) -> &'a Row {
    comparison.rows.iter().find(|row| row.what == what && row.phase == phase).unwrap()
}

#[test]
fn a_server_is_not_different_from_itself() {
    let mut beyond = 0;
    for seed in 0..10 {
        let (a, b) = (server(seed, 300, &[4, 8, 16], 1.0), server(seed + 1000, 300, &[4, 8, 16], 1.0));
        beyond +=
            compare(&a, &b).rows.iter().filter(|row| matches!(row.outcome, Outcome::Longer | Outcome::Shorter)).count();
    }
    assert_eq!(beyond, 0);
}

#[test]
fn five_percent_are_found_both_ways() {
    let (a, b) = (server(1, 400, &[4, 8], 1.0), server(2, 400, &[4, 8], 1.05));
    let longer = compare(&a, &b);
    let found = row(&longer, "duration", Phase::Decode);
    assert_eq!(found.outcome, Outcome::Longer, "{found:?}");
    let change = found.change.unwrap();
    assert!(
        (0.035..0.065).contains(&change) && found.low.unwrap() < change && change < found.high.unwrap(),
        "{found:?}"
    );
    assert_eq!(row(&compare(&b, &a), "duration", Phase::Decode).outcome, Outcome::Shorter);
}

#[test]
fn another_mix_of_batches_is_no_difference() {
    let (small, large) = ([4, 4, 4, 4, 16], [4, 16, 16, 16, 16]);
    let (a, b) = (server(1, 400, &small, 1.0), server(2, 400, &large, 1.0));
    let comparison = compare(&a, &b);
    let row = row(&comparison, "duration", Phase::Decode);
    assert!(row.p50_b_ns > row.p50_a_ns * 5 / 4, "the medians differ: {row:?}");
    assert!(matches!(row.outcome, Outcome::WithinNoise | Outcome::BelowMinimum), "{row:?}");
}

#[test]
fn batches_that_only_one_side_has_are_not_compared() {
    let comparison = compare(&server(1, 400, &[4], 1.0), &server(2, 400, &[64], 9.0));
    let row = row(&comparison, "duration", Phase::Decode);
    assert_eq!((row.outcome, row.count_a, row.count_b, row.of_a), (Outcome::TooFew, 0, 0, 398));
    assert!(compare_table::comparison(&comparison).contains("nothing can be said"));
}

#[test]
fn too_few_are_said_to_be_too_few() {
    // The window's first and last iterations do not count.
    let enough = COMPARE_MIN_COUNT + 2;
    let of = |count| {
        let comparison = compare(&server(1, count, &[4], 1.0), &server(2, 400, &[4], 3.0));
        row(&comparison, "duration", Phase::Decode).outcome
    };
    assert_eq!((of(enough), of(enough - 1)), (Outcome::Longer, Outcome::TooFew));
}

/// A hundred iterations of a server that computes chunks of prompts beside its decodes: each of another size.
fn steady(seed: u64, tokens: std::ops::Range<u64>, sizes: std::ops::Range<u64>, slower: f64) -> Report {
    let mut random = Random(seed);
    let mut begin_ns = 1_000_000;
    let mut below = |range: &std::ops::Range<u64>| (range.start + random.below(range.end - range.start)) as u32;
    let batches: Vec<[u32; 2]> = (0..100).map(|_| [below(&tokens), below(&sizes)]).collect();
    let iterations: Vec<Iteration> = (1..)
        .zip(batches)
        .map(|(number, [tokens, size])| {
            let takes = 1e6 + 1e3 * f64::from(tokens) + 1e4 * f64::from(size);
            let duration_ns = (takes * slower * random.noise()).round() as u64;
            let this = iteration(number, begin_ns, duration_ns, [1, tokens, size, size]);
            begin_ns += duration_ns + 20_000;
            this
        })
        .collect();
    report_of(&iterations)
}

#[test]
fn a_hundred_iterations_are_enough_although_hardly_any_batch_comes_twice() {
    let mut outcomes = Vec::new();
    for seed in 0..10 {
        let found = |slower: f64| {
            let (a, b) = (steady(seed, 256..512, 16..32, 1.0), steady(seed + 1000, 256..512, 16..32, slower));
            let row = row(&compare(&a, &b), "duration", Phase::Mixed).clone();
            (row.outcome, row.octaves)
        };
        outcomes.push([found(1.0), found(1.3)]);
    }
    let slower = outcomes.iter().filter(|[_, (slower, _)]| *slower == Outcome::Longer).count();
    let differs = |outcome: Outcome| matches!(outcome, Outcome::Longer | Outcome::Shorter);
    let noise = outcomes.iter().filter(|[(same, _), _]| differs(*same)).count();
    assert!(slower >= 8 && noise == 0, "{outcomes:?}");
    assert!(outcomes.iter().flatten().all(|(_, octaves)| *octaves > 0.125), "{outcomes:?}");
}

#[test]
fn wide_kinds_in_which_one_side_has_the_larger_batches_are_not_compared() {
    // All of both lie in one octave, and only the batches differ.
    let comparison = compare(&steady(1, 300..301, 17..21, 1.0), &steady(2, 300..301, 27..31, 1.0));
    let row = row(&comparison, "duration", Phase::Mixed);
    assert_eq!((row.outcome, row.count_a, row.change), (Outcome::TooFew, 0, None));
    assert!(!compare_table::comparison(&comparison).contains("octave)"));
}

#[test]
fn a_slow_stretch_of_one_window_is_noise_and_not_hundreds_of_observations() {
    // A quarter of the window is 30 % slower, as when a neighbour had the machine for a while.
    let disturbed = |seed: u64| {
        let mut random = Random(seed);
        let at = random.below(300);
        let mut begin_ns = 1_000_000;
        let iterations: Vec<Iteration> = (1..=400)
            .map(|number| {
                let slower = if (at..at + 100).contains(&number) { 1.3 } else { 1.0 };
                let duration_ns = (1e6 * slower * random.noise()) as u64;
                let this = iteration(number, begin_ns, duration_ns, [0, 0, 4, 4]);
                begin_ns += duration_ns + 20_000;
                this
            })
            .collect();
        report_of(&iterations)
    };
    let beyond = |(a, b): (u64, u64)| {
        let comparison = compare(&disturbed(a), &disturbed(b));
        matches!(row(&comparison, "duration", Phase::Decode).outcome, Outcome::Longer | Outcome::Shorter)
    };
    assert_eq!((1..7).map(|seed| (seed, seed + 100)).filter(|&pair| beyond(pair)).count(), 0);
}

#[test]
fn unlike_captures_are_named() {
    let mut one = report();
    let mut other = report();
    other.capture.engines = vec!["vllm 0.33.0".into()];
    other.points.share = 0.5;
    one.loss.complete = Some(true);
    let cautions = compare(&one, &other).cautions.join("\n");
    assert!(cautions.contains("engines") && cautions.contains("second one is incomplete"), "{cautions}");
    assert!(cautions.contains("an even choice") && cautions.contains("same capture"), "{cautions}");
}

#[test]
fn the_table_is_what_was_reviewed() {
    let (a, b) = (server(1, 400, &[4, 8], 1.0), server(2, 300, &[4, 8, 32], 1.08));
    insta::assert_snapshot!(compare_table::comparison(&compare(&a, &b)));
}

#[test]
fn the_borders_of_a_difference() {
    let least = COMPARE_MIN_EFFECT;
    assert_eq!(outcome(Some(least), Some(1e-9), Some(0.1)), Outcome::Longer);
    assert_eq!(outcome(Some(least - 1e-6), Some(1e-9), Some(0.1)), Outcome::BelowMinimum);
    assert_eq!(outcome(Some(0.5), Some(0.0), Some(0.9)), Outcome::WithinNoise);
    assert_eq!(outcome(Some(-0.5), Some(-0.9), Some(0.0)), Outcome::WithinNoise);
    assert_eq!(outcome(Some(-least), Some(-0.1), Some(-1e-9)), Outcome::Shorter);
    assert_eq!(outcome(None, None, None), Outcome::TooFew);
}

proptest! {
    #![proptest_config(crate::support::at_least(16))]
    #[test]
    fn whatever_a_file_says_is_compared_without_a_panic(rows in proptest::collection::vec(
        (0u32..9, any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()), proptest::option::of(any::<u64>()),
         0usize..6, any::<u32>(), any::<u32>()), 0..200)) {
        let phases = ["prefill", "decode", "mixed", "dummy", "unknown", "all"];
        let rows: Vec<_> = rows.into_iter().map(|(rank, iteration, start, duration, interval, phase, tokens, requests)| {
            serde_json::json!([rank, iteration, start, duration, interval, duration, phases[phase], 1, tokens, requests, 1])
        }).collect();
        let report: Report = serde_json::from_value(serde_json::json!({"schema": 1, "points": {"rows": rows}})).unwrap();
        let comparison = compare(&report, &report);
        prop_assert!(!compare_table::comparison(&comparison).is_empty());
        prop_assert!(comparison.rows.iter().all(|row| row.change.is_none_or(|change| change == 0.0)));
    }
}
