//! Which iterations of ours another profiler's trace shows: both lie on the wall clock, so each of theirs is the one of ours
//! that had begun last. Pure.

/// How much earlier than ours a mark of the same iteration may seem to begin: clocks are that good.
const SLACK_NS: i64 = 100_000;

/// How a trace lies on a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Covered {
    /// Iterations of the window that it shows.
    pub matched: u64,
    /// First and last of those, as places in the window.
    pub ends: Option<(usize, usize)>,
    /// Iterations in front of the window.
    pub before: u64,
    /// Iterations behind it.
    pub after: u64,
    /// Others that are no iteration of ours, between its ends.
    pub strange: u64,
}

/// Lays the begins of theirs on ours, of which begin and end are given; both in order, in nanoseconds since the epoch.
pub fn cover(ours: &[(i64, i64)], theirs: &[i64]) -> Covered {
    let mut covered = Covered::default();
    let mut last: Option<usize> = None;
    for &begin in theirs {
        let begun = ours.partition_point(|&(our, _)| our <= begin.saturating_add(SLACK_NS));
        let Some(at) = begun.checked_sub(1) else {
            covered.before += 1;
            continue;
        };
        if last == Some(at) || begin > ours[at].1 {
            // A second one, or one behind its end: where ours is the last it is an iteration that we have not.
            *(if begun == ours.len() { &mut covered.after } else { &mut covered.strange }) += 1;
            continue;
        }
        last = Some(at);
        covered.matched += 1;
        covered.ends = Some((covered.ends.map_or(at, |(first, _)| first), at));
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn begins(of: std::ops::Range<i64>) -> Vec<(i64, i64)> {
        of.map(|n| (n * 3 * MS, n * 3 * MS + 2 * MS)).collect()
    }

    /// Theirs begin 50 µs behind ours, as an annotation inside the hook does.
    fn shown(of: std::ops::Range<i64>) -> Vec<i64> {
        begins(of).into_iter().map(|(ns, _)| ns + 50_000).collect()
    }

    #[test]
    fn the_same_iterations_are_the_window() {
        let covered = cover(&begins(10..15), &shown(10..15));
        assert_eq!(covered, Covered { matched: 5, ends: Some((0, 4)), ..Covered::default() });
    }

    #[test]
    fn what_lies_in_front_and_behind_is_counted_and_what_lacks_shows() {
        let covered = cover(&begins(10..15), &shown(8..17));
        assert_eq!(covered, Covered { matched: 5, ends: Some((0, 4)), before: 2, after: 2, strange: 0 });
        let covered = cover(&begins(10..15), &shown(12..15));
        assert_eq!((covered.matched, covered.ends), (3, Some((2, 4))));
    }

    #[test]
    fn nothing_on_either_side_is_nothing() {
        assert_eq!(cover(&[], &shown(1..3)).before, 2);
        assert_eq!(cover(&begins(1..3), &[]), Covered::default());
    }

    #[test]
    fn a_trace_that_ends_before_the_window_or_begins_behind_it_shows_none_of_it() {
        assert_eq!(cover(&begins(10..15), &shown(5..9)), Covered { before: 4, ..Covered::default() });
        assert_eq!(cover(&begins(10..15), &shown(16..18)), Covered { after: 2, ..Covered::default() });
    }
}
