//! Where a group's window begins and ends: pure arithmetic, no clock, no thread.
//!
//! All numbers are iterations of one group. `begun` is the largest that any of its ranks has begun. `ahead` is how far in
//! front of it an opening or a closing has to lie so that every rank sees it in time.

use std::time::Duration;

use super::request::Begin;

/// How long a running group is given to see an order.
const NOTICE: Duration = Duration::from_millis(20);
/// How long a closing may take on its own.
const SOON: Duration = Duration::from_millis(500);
/// No further ahead than this, however fast it steps.
const AHEAD_LIMIT: u64 = 1 << 20;

/// What was agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// First iteration of the window.
    pub first_iteration: u64,
    /// `first_iteration` less the delay.
    pub accepted_iteration: u64,
}

/// A `start_iteration` that can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// The earliest that can.
    pub next: u64,
}

/// How far ahead an order has to lie. An idle group begins nothing until it is told; one that runs gets 20 ms of
/// iterations, at least two, and twice as many after each attempt that came too late.
pub fn ahead(idle: bool, iterations_per_second: f64, attempt: u32) -> u64 {
    if idle && attempt == 0 {
        return 1;
    }
    let noticed = (iterations_per_second * NOTICE.as_secs_f64()).ceil();
    (noticed.max(2.0) as u64).saturating_mul(1 << attempt.min(20)).min(AHEAD_LIMIT)
}

/// How far ahead a closing may lie: no further than the group gets in [`SOON`], since it is closed by force soon after.
/// 0, of a slow group, is the iteration that runs; a rank that is past it already trims itself.
pub fn ahead_of_closing(idle: bool, iterations_per_second: f64) -> u64 {
    let soon = (iterations_per_second * SOON.as_secs_f64()) as u64;
    ahead(idle, iterations_per_second, 0).min(soon)
}

/// Where the window opens.
///
/// # Errors
/// [`Past`] when a first iteration was asked for by number and has begun, or begins before every rank would see it.
pub fn opening(begin: Begin, begun: u64, ahead: u64) -> Result<Opening, Past> {
    let next = begun.saturating_add(ahead);
    let (first_iteration, delay) = match begin {
        Begin::Delay(delay) => (begun.saturating_add(ahead.max(delay.saturating_add(1))), delay),
        Begin::At(first) if first < next => return Err(Past { next }),
        Begin::At(first) => (first, 0),
        Begin::AtOrNext(first) => (first.max(next), 0),
    };
    Ok(Opening { first_iteration, accepted_iteration: first_iteration.saturating_sub(delay) })
}

/// The last iteration of a window of `max_iterations`; `None`: open-ended.
pub fn last(first_iteration: u64, max_iterations: u64) -> Option<u64> {
    max_iterations.checked_sub(1).map(|more| first_iteration.saturating_add(more))
}

/// Where a stop closes a group's window. `None`: it never opens, since no rank has reached its first iteration.
///
/// An idle group closes at the last iteration begun. One that runs is given `ahead` iterations, so that all ranks close
/// at the same one. Never later than what was agreed before.
pub fn closing(first_iteration: u64, agreed_last: Option<u64>, begun: u64, idle: bool, ahead: u64) -> Option<u64> {
    if begun < first_iteration {
        return None;
    }
    let last = if idle { begun } else { begun.saturating_add(ahead) };
    Some(agreed_last.map_or(last, |agreed| agreed.min(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_group_opens_at_the_iteration_after_the_delay() {
        for delay in [0, 1, 7, 50] {
            let o = opening(Begin::Delay(delay), 100, ahead(true, 0.0, 0)).unwrap();
            assert_eq!(o.first_iteration, 100 + delay + 1);
            assert_eq!(o.first_iteration - delay, o.accepted_iteration);
        }
    }

    #[test]
    fn a_running_group_gets_time_to_see_it() {
        assert_eq!(ahead(false, 3.0, 0), 2);
        assert_eq!(ahead(false, 1000.0, 0), 20);
        assert_eq!(ahead(false, 1000.0, 3), 160);
        assert_eq!(opening(Begin::Delay(0), 100, 20).unwrap().first_iteration, 120);
        assert_eq!(opening(Begin::Delay(50), 100, 20).unwrap().first_iteration, 151);
    }

    #[test]
    fn a_slow_group_closes_at_the_iteration_that_runs() {
        assert_eq!(ahead_of_closing(false, 0.7), 0);
        assert_eq!(ahead_of_closing(false, 3.0), 1);
        assert_eq!(ahead_of_closing(false, 1000.0), 20);
        assert_eq!(closing(50, Some(72), 70, false, 0), Some(70));
    }

    #[test]
    fn a_number_in_the_past_is_refused_or_moved() {
        assert_eq!(opening(Begin::At(101), 100, 2), Err(Past { next: 102 }));
        assert_eq!(opening(Begin::At(102), 100, 2).unwrap().first_iteration, 102);
        assert_eq!(opening(Begin::AtOrNext(5), 100, 2).unwrap().first_iteration, 102);
        assert_eq!(opening(Begin::AtOrNext(500), 100, 2).unwrap().first_iteration, 500);
    }

    #[test]
    fn a_stop_cancels_closes_at_once_or_ahead() {
        assert_eq!(closing(50, Some(60), 49, false, 5), None);
        assert_eq!(closing(50, None, 70, true, 5), Some(70));
        assert_eq!(closing(50, None, 70, false, 5), Some(75));
        assert_eq!(closing(50, Some(72), 70, false, 5), Some(72));
    }

    #[test]
    fn numbers_at_the_end_of_the_range_do_not_wrap() {
        assert_eq!(last(1, 0), None);
        assert_eq!(last(u64::MAX - 1, 100), Some(u64::MAX));
        assert!(opening(Begin::Delay(u64::MAX), 100, 2).unwrap().first_iteration == u64::MAX);
    }
}
