//! How many starts are taken: a token bucket.
//!
//! `now` is an argument, so that its rule can be checked without a clock. Called by [`super::routes::profile`].

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refills by `rate_per_second`, holds twice that, and at least one.
#[derive(Debug)]
pub struct StartLimit {
    rate_per_second: f64,
    level: Mutex<(f64, Instant)>,
}

impl StartLimit {
    /// Full. A rate of 0 takes every start.
    pub fn new(rate_per_second: f64, now: Instant) -> Self {
        Self { rate_per_second, level: Mutex::new((Self::room(rate_per_second), now)) }
    }

    fn room(rate_per_second: f64) -> f64 {
        (2.0 * rate_per_second).max(1.0)
    }

    /// Takes one; else says how long until there is one.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        if self.rate_per_second <= 0.0 {
            return Ok(());
        }
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.1).as_secs_f64();
        level.0 = (level.0 + passed * self.rate_per_second).min(Self::room(self.rate_per_second));
        level.1 = level.1.max(now);
        if level.0 >= 1.0 {
            level.0 -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - level.0) / self.rate_per_second;
        Err(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(3600)))
    }
}
