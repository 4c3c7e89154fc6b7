//! The token bucket, without a clock.

use std::time::{Duration, Instant};

use stepscope::service::limit::StartLimit;

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
