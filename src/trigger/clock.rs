//! Times as the record has them.

use rustix::time::{ClockId, clock_gettime};

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970.
    pub realtime_ns: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { monotonic_ns: read(ClockId::Monotonic), realtime_ns: read(ClockId::Realtime) }
    }

    /// Local time with milliseconds.
    pub(super) fn iso(self) -> String {
        let since = i128::from(self.realtime_ns);
        jiff::Timestamp::from_nanosecond(since).map_or_else(
            |_| String::new(),
            |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
        )
    }

    /// Nanoseconds from `earlier` to this.
    pub(super) fn since(self, earlier: Self) -> u64 {
        self.monotonic_ns.saturating_sub(earlier.monotonic_ns)
    }
}

fn read(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// For people.
pub(super) fn duration(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// How far apart the earliest and the latest lie; `None` for fewer than two.
pub(super) fn spread(times: impl IntoIterator<Item = u64>) -> Option<u64> {
    let times: Vec<u64> = times.into_iter().collect();
    let (first, last) = (times.iter().min()?, times.iter().max()?);
    (times.len() > 1).then_some(last - first)
}
