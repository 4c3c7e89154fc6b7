//! The token bucket, without a clock.

use std::time::{Duration, Instant};

use stepscope::service::limit::{StartLimit, StartLimits};

#[test]
fn twice_the_rate_at_once_then_the_rate() {
    let start = Instant::now();
    let limit = StartLimit::new(10.0, start);
    assert_eq!((0..30).filter(|_| limit.take(start).is_ok()).count(), 20);
    let wait = limit.take(start).unwrap_err();
    assert_eq!(wait, Duration::from_millis(100));
    assert!(limit.take(start + Duration::from_millis(99)).is_err());
    assert!(limit.take(start + Duration::from_millis(101)).is_ok());
    let later = start + Duration::from_secs(3600);
    assert_eq!((0..30).filter(|_| limit.take(later).is_ok()).count(), 20);
    assert!(limit.take(start).is_err(), "time that runs backwards refills nothing");
}

#[test]
fn a_rate_of_zero_takes_all_and_a_tiny_one_takes_one() {
    let now = Instant::now();
    let all = StartLimit::new(0.0, now);
    assert!((0..10_000).all(|_| all.take(now).is_ok()));
    let one = StartLimit::new(0.001, now);
    assert!(one.take(now).is_ok());
    assert_eq!(one.take(now).unwrap_err(), Duration::from_secs(1000));
}

#[test]
fn one_caller_takes_nothing_from_another_and_all_together_are_bounded() {
    let now = Instant::now();
    let limits = StartLimits::new(10.0, now);
    let taken = |caller: &str, at| (0..100).filter(|_| limits.take(caller, at).is_ok()).count();
    assert_eq!(taken("greedy", now), 20);
    assert_eq!(taken("modest", now), 20, "another has its own");
    assert_eq!((0..10).map(|n| taken(&format!("crowd {n}"), now)).sum::<usize>(), 40, "four callers' worth in all");
    assert_eq!(taken("greedy", now + Duration::from_secs(2)), 20);
}

#[test]
fn callers_beyond_those_told_apart_share_one_bucket_and_old_ones_are_forgotten() {
    let now = Instant::now();
    let limits = StartLimits::new(1e6, now);
    assert!((0..5000).all(|n| limits.take(&n.to_string(), now).is_ok()));
    let slow = StartLimits::new(0.001, now);
    assert_eq!((0..10).filter(|n| slow.take(&n.to_string(), now).is_ok()).count(), 1);
}
