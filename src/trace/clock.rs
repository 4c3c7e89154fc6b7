//! Ticks of an engine's counter into nanoseconds: one affine map per fragment.
//!
//! One map and not one per block, or slices on both sides of a block's edge would overlap by nanoseconds. Integers
//! only, so that the map is monotone: an event that came later never gets an earlier time.

use super::event::Anchor;

/// Ticks → CLOCK_MONOTONIC nanoseconds → nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockMap {
    origin_ticks: u64,
    origin_ns: u64,
    /// Nanoseconds per tick, times 2^`shift`; below 2^62.
    multiplier: u64,
    shift: u32,
    realtime_offset_ns: i128,
}

/// Above this, ticks times the multiplier could overflow.
const MULTIPLIER_LIMIT: u128 = 1 << 62;

impl ClockMap {
    /// From the first and the last anchor of a fragment. If they coincide (or can't be of one counter),
    /// `ticks_per_second` says how long a tick is; 0 is not known, and a tick is then a nanosecond.
    pub fn new(first: Anchor, last: Anchor, ticks_per_second: u64) -> Self {
        let apart = last.ticks > first.ticks && last.monotonic_ns > first.monotonic_ns;
        let (elapsed_ns, elapsed_ticks) = if apart {
            (last.monotonic_ns - first.monotonic_ns, last.ticks - first.ticks)
        } else if ticks_per_second != 0 {
            (1_000_000_000, ticks_per_second)
        } else {
            (1, 1)
        };
        let mut shift = 56;
        let mut multiplier = (u128::from(elapsed_ns) << shift) / u128::from(elapsed_ticks);
        while multiplier >= MULTIPLIER_LIMIT && shift > 0 {
            multiplier >>= 1;
            shift -= 1;
        }
        // Anchors that are a tick and a century apart are no clock's: only whoever forged them gets a wrong time.
        let multiplier = multiplier.min(MULTIPLIER_LIMIT - 1);
        Self {
            origin_ticks: first.ticks,
            origin_ns: first.monotonic_ns,
            multiplier: multiplier as u64,
            shift,
            realtime_offset_ns: realtime_offset_ns(last),
        }
    }

    /// The same map with another way from CLOCK_MONOTONIC to the epoch, unless its own is `limit_ns` or more away.
    pub fn sharing(self, realtime_offset_ns: i128, limit_ns: u128) -> Self {
        let near = self.realtime_offset_ns.abs_diff(realtime_offset_ns) < limit_ns;
        if near { Self { realtime_offset_ns, ..self } } else { self }
    }

    /// How far its wall clock is ahead of CLOCK_MONOTONIC.
    pub fn realtime_offset_ns(&self) -> i128 {
        self.realtime_offset_ns
    }

    /// CLOCK_MONOTONIC of a tick, never wrapping.
    #[inline]
    pub fn monotonic_ns(&self, ticks: u64) -> u64 {
        clamp(self.signed_ns(ticks))
    }

    /// Nanoseconds since the epoch of a tick, never wrapping.
    #[inline]
    pub fn realtime_ns(&self, ticks: u64) -> u64 {
        clamp(self.signed_ns(ticks) + self.realtime_offset_ns)
    }

    #[inline]
    fn signed_ns(&self, ticks: u64) -> i128 {
        let elapsed = i128::from(ticks) - i128::from(self.origin_ticks);
        // |elapsed| < 2^64 and multiplier < 2^62: no overflow. The shift rounds down on both sides of zero.
        i128::from(self.origin_ns) + ((elapsed * i128::from(self.multiplier)) >> self.shift)
    }
}

/// What anchors saw of the way from CLOCK_MONOTONIC to the epoch. It changes only where somebody sets the wall clock: a
/// clock that is slewed takes both along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock(Option<Seen>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    least_ns: i128,
    most_ns: i128,
    newest: Anchor,
}

/// What two readings of the clocks may differ by although nobody set one.
const READING_NS: i128 = 10_000;

impl WallClock {
    /// One more anchor. One that nobody took is none.
    pub fn see(&mut self, anchor: Anchor) {
        if anchor != Anchor::default() {
            let offset_ns = realtime_offset_ns(anchor);
            self.join(&Self(Some(Seen { least_ns: offset_ns, most_ns: offset_ns, newest: anchor })));
        }
    }

    /// What others saw of the same clocks.
    pub fn join(&mut self, other: &Self) {
        let (Some(seen), Some(more)) = (&mut self.0, other.0) else {
            self.0 = self.0.or(other.0);
            return;
        };
        seen.least_ns = seen.least_ns.min(more.least_ns);
        seen.most_ns = seen.most_ns.max(more.most_ns);
        if more.newest.monotonic_ns >= seen.newest.monotonic_ns {
            seen.newest = more.newest;
        }
    }

    /// The newest anchor.
    pub fn newest(&self) -> Option<Anchor> {
        self.0.map(|seen| seen.newest)
    }

    /// Whether the wall clock was this far ahead of CLOCK_MONOTONIC once, or between two of the ways it was.
    pub fn has_been(&self, offset_ns: i128) -> bool {
        self.0.is_some_and(|seen| (seen.least_ns - READING_NS..=seen.most_ns + READING_NS).contains(&offset_ns))
    }

    /// How far the wall clock was set: the newest anchor's beside the one that differs most. 0: nobody set it.
    pub fn stepped_ns(&self) -> i64 {
        let Some(seen) = self.0 else { return 0 };
        let offset_ns = realtime_offset_ns(seen.newest);
        let (forward, back) = (offset_ns - seen.least_ns, seen.most_ns - offset_ns);
        let stepped = if forward >= back { forward } else { -back };
        if stepped.abs() < READING_NS { 0 } else { i64::try_from(stepped).unwrap_or(i64::MAX) }
    }
}

/// How far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC.
pub fn realtime_offset_ns(anchor: Anchor) -> i128 {
    i128::from(anchor.realtime_ns) - i128::from(anchor.monotonic_ns)
}

#[inline]
fn clamp(ns: i128) -> u64 {
    u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn anchor(ticks: u64, monotonic_ns: u64) -> Anchor {
        Anchor { ticks, monotonic_ns, realtime_ns: monotonic_ns + 1_700_000_000_000_000_000 }
    }

    #[test]
    fn anchors_that_no_clock_gave_do_not_overflow() {
        for (ticks, monotonic_ns) in [(1, u64::MAX), (1, 1 << 63), (2, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            let last = Anchor { ticks, monotonic_ns, realtime_ns: 0 };
            let map = ClockMap::new(Anchor::default(), last, 0);
            assert_eq!(map.monotonic_ns(0), 0);
            assert!(map.monotonic_ns(u64::MAX) >= map.monotonic_ns(1));
        }
    }

    #[test]
    fn both_anchors_are_met_within_a_nanosecond() {
        for ticks_per_second in [10_000_000u64, 24_000_000, 1_000_000_000, 2_394_372_000, 5_100_000_017] {
            let (first, last) =
                (anchor(7 << 50, 5_000_000_000), anchor((7 << 50) + 3600 * ticks_per_second, 3_605_000_000_000));
            let map = ClockMap::new(first, last, 0);
            assert_eq!(map.monotonic_ns(first.ticks), first.monotonic_ns);
            assert!(last.monotonic_ns - map.monotonic_ns(last.ticks) <= 1);
            assert_eq!(map.realtime_ns(first.ticks), first.realtime_ns);
        }
    }

    #[test]
    fn one_anchor_uses_the_given_rate_and_else_a_tick_is_a_nanosecond() {
        let only = anchor(1000, 500);
        assert_eq!(ClockMap::new(only, only, 2_000_000_000).monotonic_ns(3000), 1500);
        assert_eq!(ClockMap::new(only, only, 0).monotonic_ns(3000), 2500);
        assert_eq!(ClockMap::new(only, anchor(10, 20_000), 0).monotonic_ns(3000), 2500);
    }

    #[test]
    fn a_wall_clock_that_is_set_shows_as_the_furthest_that_it_was_from_where_it_is_now() {
        let at = |second: u64, ahead_ns: u64| Anchor {
            ticks: second,
            monotonic_ns: second * 1_000_000_000,
            realtime_ns: 1_700_000_000_000_000_000 + second * 1_000_000_000 + ahead_ns,
        };
        let stepped = |anchors: &[Anchor]| {
            let mut clock = WallClock::default();
            anchors.iter().for_each(|anchor| clock.see(*anchor));
            clock.stepped_ns()
        };
        assert_eq!(stepped(&[]), 0);
        assert_eq!(stepped(&[at(1, 0), at(2, 300), at(3, 9_999)]), 0, "how clocks are read");
        assert_eq!(stepped(&[Anchor::default(), at(1, 0), at(2, 5_000_000)]), 5_000_000);
        assert_eq!(stepped(&[at(1, 5_000_000), at(2, 0)]), -5_000_000);
        assert_eq!(stepped(&[at(1, 0), at(2, 5_000_000), at(3, 1_000_000)]), -4_000_000);
        // In whatever order they come.
        assert_eq!(stepped(&[at(2, 5_000_000), at(1, 0)]), 5_000_000);
        let mut clock = WallClock::default();
        clock.see(at(1, 0));
        clock.see(at(2, 5_000_000));
        let offset_ns = realtime_offset_ns(at(1, 0));
        assert!(clock.has_been(offset_ns) && !clock.has_been(offset_ns - 3_600_000_000_000));
    }

    proptest! {
        #[test]
        fn time_never_runs_backwards_nor_overflows(a: [u64; 6], rate: u64, x: u64, y: u64) {
            let first = Anchor { ticks: a[0], monotonic_ns: a[1], realtime_ns: a[2] };
            let last = Anchor { ticks: a[3], monotonic_ns: a[4], realtime_ns: a[5] };
            let map = ClockMap::new(first, last, rate);
            let (early, late) = (x.min(y), x.max(y));
            prop_assert!(map.monotonic_ns(early) <= map.monotonic_ns(late));
            prop_assert!(map.realtime_ns(early) <= map.realtime_ns(late));
        }
    }
}
