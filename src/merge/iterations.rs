//! Iterations that two inputs both show: how far apart they lie there.
//!
//! Two of one engine have the number of an iteration in common; vLLM's own annotations have its name, which is ours too
//! (`execute_context_2(512)_generation_30(30)`). Names repeat, so the two sequences are laid over each other in every way
//! and the one that fits best counts.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Iterations of each side that are compared.
const MOST: usize = 2048;
/// Fewer than this say nothing.
const FEWEST: usize = 3;
/// Spreads below this are equal: a scheduler's whim.
const FINE_NS: u64 = 5_000;

/// What vLLM calls a step in which nothing is computed: none of ours.
pub(super) const EMPTY: &[u8] = b"\"execute_context_0(0)_generation_0(0)\"";

/// An iteration as an input shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Iteration {
    /// Which of the input's processes.
    pub(super) process: u32,
    /// Its number, where that is told.
    pub(super) number: Option<u64>,
    /// A hash of its name.
    pub(super) name: u64,
    /// Begin, by the input's clock.
    pub(super) begin_ns: i64,
    /// How long it took.
    pub(super) duration_ns: i64,
}

/// How the iterations of two inputs lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    /// Iterations that both have.
    pub(super) iterations: usize,
    /// Median of the second's begin minus the first's, over all but the first iteration.
    pub(super) median_ns: i64,
    /// The least of them: where the second one's begin lies behind the first's in one thread, clocks are as good as this.
    pub(super) least_ns: i64,
    /// Nine of ten lie within this of the median.
    pub(super) spread_ns: u64,
}

/// A hash of a name as it stands in a file, with its quotes.
pub(super) fn name_hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The median; `None` of nothing.
pub(super) fn median(values: &mut [i64]) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Iterations with the same number and name. Both sides in nanoseconds since the epoch, by their clocks.
pub(super) fn by_number(a: &[Iteration], b: &[Iteration]) -> Option<Offset> {
    let mut known: Vec<_> = a.iter().filter_map(|i| Some(((i.number?, i.name), i.begin_ns))).collect();
    known.sort_unstable();
    let mut pairs: Vec<(i64, i64)> = Vec::new();
    for iteration in b {
        let Some(number) = iteration.number else { continue };
        if let Ok(at) = known.binary_search_by_key(&(number, iteration.name), |(key, _)| *key) {
            pairs.push((known[at].1, iteration.begin_ns.saturating_sub(known[at].1)));
        }
    }
    pairs.sort_unstable();
    offset(pairs.into_iter().map(|(_, difference)| difference).collect())
}

/// Iterations with the same name, one after the other. Steps that compute nothing are left out: only one side shows them.
pub(super) fn by_name(a: &[Iteration], b: &[Iteration]) -> Option<Offset> {
    let empty = name_hash(EMPTY);
    let sorted = |side: &[Iteration]| {
        let filled = side.iter().filter(|iteration| iteration.name != empty);
        let mut sorted: Vec<_> = filled.map(|i| (i.begin_ns, i.name)).collect();
        sorted.sort_unstable();
        sorted.truncate(MOST);
        sorted
    };
    let (a, b) = (sorted(a), sorted(b));
    let pairs = |shift: isize| {
        let (skip_a, skip_b) = (shift.min(0).unsigned_abs(), shift.max(0).unsigned_abs());
        a.iter().skip(skip_a).zip(b.iter().skip(skip_b)).filter(|(x, y)| x.1 == y.1)
    };
    let shifts = 1 - a.len() as isize..b.len() as isize;
    let counts: Vec<(isize, usize)> = shifts.map(|shift| (shift, pairs(shift).count())).collect();
    let most = counts.iter().map(|(_, count)| *count).max()?;
    let best = counts.into_iter().filter(|(_, count)| *count == most && most >= FEWEST);
    let offsets = best.filter_map(|(shift, _)| offset(pairs(shift).map(|(x, y)| y.0.saturating_sub(x.0)).collect()));
    offsets.min_by_key(|offset| (offset.spread_ns.max(FINE_NS), offset.median_ns.unsigned_abs()))
}

/// Of differences in the order of the iterations.
fn offset(differences: Vec<i64>) -> Option<Offset> {
    let iterations = differences.len();
    if iterations < FEWEST {
        return None;
    }
    // The first one of a window is not like the others: a profiler's own begin lies in it.
    let mut rest = differences[1..].to_vec();
    let median_ns = median(&mut rest)?;
    let mut spreads: Vec<u64> = rest.iter().map(|difference| difference.abs_diff(median_ns)).collect();
    spreads.sort_unstable();
    let spread_ns = spreads[(spreads.len() * 9 / 10).min(spreads.len() - 1)];
    let least_ns = rest.into_iter().min()?;
    Some(Offset { iterations, median_ns, least_ns, spread_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn iteration(number: u64, name: u64, begin_ns: i64) -> Iteration {
        Iteration { process: 0, number: Some(number), name, begin_ns, duration_ns: MS }
    }

    /// Decoding: all of one name, about 2 ms apart, with what a scheduler does to it.
    fn steady(count: u64) -> Vec<Iteration> {
        (0..count).map(|n| iteration(n, 7, n as i64 * 2 * MS + (n * n % 17) as i64 * 40_000)).collect()
    }

    #[test]
    fn a_longer_window_of_one_name_is_laid_over_the_right_iterations() {
        let theirs = steady(60);
        let ours: Vec<Iteration> =
            theirs[11..41].iter().map(|i| Iteration { begin_ns: i.begin_ns - 60_000, ..*i }).collect();
        let found = by_name(&ours, &theirs).expect("a match");
        assert_eq!(found, Offset { iterations: 30, median_ns: 60_000, least_ns: 60_000, spread_ns: 0 });
    }

    #[test]
    fn steps_that_compute_nothing_are_only_on_the_other_side_and_do_not_shift_what_follows() {
        let ours = steady(60);
        let mut theirs: Vec<Iteration> =
            ours.iter().map(|i| Iteration { begin_ns: i.begin_ns + 25_000, ..*i }).collect();
        for after in [50, 31, 30, 7] {
            let empty = Iteration { name: name_hash(EMPTY), begin_ns: theirs[after].begin_ns + MS, ..theirs[after] };
            theirs.insert(after + 1, empty);
        }
        let found = by_name(&ours, &theirs).expect("a match");
        assert_eq!(found, Offset { iterations: 60, median_ns: 25_000, least_ns: 25_000, spread_ns: 0 });
    }

    #[test]
    fn the_first_iteration_does_not_count_and_a_few_odd_ones_do_not_matter() {
        let ours = steady(20);
        let mut theirs = ours.clone();
        theirs[0].begin_ns += 30 * MS;
        theirs[9].begin_ns += 3 * MS;
        for iteration in &mut theirs {
            iteration.begin_ns += 25_000;
        }
        let found = by_number(&ours, &theirs).expect("a match");
        assert_eq!((found.iterations, found.median_ns, found.spread_ns), (20, 25_000, 0));
    }

    #[test]
    fn a_number_with_another_name_is_no_match_and_two_say_nothing() {
        let ours = steady(20);
        let others: Vec<Iteration> = ours.iter().map(|i| Iteration { name: 8, ..*i }).collect();
        assert_eq!(by_number(&ours, &others), None);
        assert_eq!(by_name(&ours, &others), None);
        assert_eq!(by_name(&ours[..2], &ours[..2]), None);
        assert_eq!(by_name(&[], &[]), None);
    }
}
