//! How many starts are taken: a token bucket for each caller, and one for all.
//!
//! One caller who starts without a pause gets no more than the rate, and takes nothing from others: all together may have
//! [`CALLERS`] times as much. `now` is an argument, so that the rule can be checked without a clock. Called by
//! [`super::routes::profile`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many callers can have the whole rate at once.
pub const CALLERS: f64 = 4.0;
/// Most callers that are told apart; more share one bucket.
const MOST: usize = 1024;

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

    /// Whether it is as full as a new one.
    fn is_full(&self, now: Instant) -> bool {
        let level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.1).as_secs_f64();
        level.0 + passed * self.rate_per_second >= Self::room(self.rate_per_second)
    }
}

/// The buckets of all callers.
#[derive(Debug)]
pub struct StartLimits {
    rate_per_second: f64,
    all: StartLimit,
    callers: Mutex<HashMap<String, StartLimit>>,
    others: StartLimit,
}

impl StartLimits {
    /// All full. A rate of 0 takes every start.
    pub fn new(rate_per_second: f64, now: Instant) -> Self {
        let own = |rate| StartLimit::new(rate, now);
        let all = own(CALLERS * rate_per_second);
        Self { rate_per_second, all, callers: Mutex::default(), others: own(rate_per_second) }
    }

    /// Takes one for this caller; else says how long until there is one.
    pub fn take(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        if self.rate_per_second <= 0.0 {
            return Ok(());
        }
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if !callers.contains_key(caller) && callers.len() >= MOST {
            callers.retain(|_, limit| !limit.is_full(now));
        }
        if callers.contains_key(caller) || callers.len() < MOST {
            let new = || StartLimit::new(self.rate_per_second, now);
            callers.entry(caller.to_owned()).or_insert_with(new).take(now)?;
        } else {
            self.others.take(now)?;
        }
        drop(callers);
        self.all.take(now)
    }
}
