//! How fast ranks stepped before a window and behind it, when nothing was recorded: by the count of iterations begun, which
//! an engine keeps all the time. What a window costs an engine is what differs within.
//!
//! * **Before**: over the last seconds before the recorders are switched on, some 200 ms before the window.
//! * **Behind**: from the moment at which all is switched off, for a quarter of a second or [`ENOUGH`] iterations, while the
//!   capture is `exporting`. A start ends it at once: it keeps nobody waiting.
//!
//! Called by `running` and `manager`. Counts of idle engines are counts all the same: a pace holds the time in which nothing ran.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::collector::source::{Source, SourceId};
use crate::wire::clock::monotonic_ns;

use super::manifest::{Manifest, Pace};

/// How long ranks are watched behind a window.
const PATIENCE: Duration = Duration::from_millis(250);
/// No longer than it takes each of them to make so many iterations.
const ENOUGH: u64 = 200;

/// How fast a rank has stepped lately. `None`: hardly at all.
pub(super) fn before(source: &Source, now: Instant) -> Option<Pace> {
    let (elapsed, iterations) = source.paced(now);
    // Either end lies somewhere in an iteration.
    pace(iterations, u64::try_from(elapsed.as_nanos()).ok()?, elapsed.as_nanos() as u64 / iterations.max(1))
}

/// `iterations` in so many nanoseconds, of which so many are not certain.
fn pace(iterations: u64, elapsed_ns: u64, uncertain_ns: u64) -> Option<Pace> {
    let each = |ns: u64| ns.checked_div(iterations);
    (iterations >= 2).then_some(Pace { iterations, mean_ns: each(elapsed_ns)?, uncertainty_ns: each(uncertain_ns)? })
}

/// One rank's count of iterations, as it is seen to grow: each look that finds more is an iteration's begin, a little late.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// When it was looked last, and at what.
    looked: Option<(u64, u64)>,
    /// The first begin that was seen and the last one: when, how late at most, and its number.
    first: Option<(u64, u64, u64)>,
    last: (u64, u64, u64),
}

impl Counted {
    fn look(&mut self, now_ns: u64, begun: u64) {
        if let Some((before_ns, before)) = self.looked
            && begun > before
        {
            self.last = (now_ns, now_ns.saturating_sub(before_ns), begun);
            self.first.get_or_insert(self.last);
        }
        self.looked = Some((now_ns, begun));
    }

    fn iterations(&self) -> u64 {
        self.first.map_or(0, |(.., begun)| self.last.2 - begun)
    }

    fn pace(&self) -> Option<Pace> {
        let (began_ns, late_ns, _) = self.first?;
        pace(self.iterations(), self.last.0 - began_ns, late_ns.max(self.last.1))
    }
}

/// A capture that is over but for what its ranks do behind it.
#[derive(Debug)]
pub(super) struct Aftermath {
    manifest: Manifest,
    /// In the manifest's order.
    ranks: Vec<(SourceId, Counted)>,
    until: Instant,
    is_over: bool,
}

impl Aftermath {
    /// Of a capture with these ranks, from now on.
    pub(super) fn new(manifest: Manifest, ranks: Vec<SourceId>, now: Instant) -> Self {
        let ranks = ranks.into_iter().map(|id| (id, Counted::default())).collect();
        Self { manifest, ranks, until: now + PATIENCE, is_over: false }
    }

    /// Looks at all ranks; `true`: there is nothing more to see.
    pub(super) fn look(&mut self, collector: &Collector, now: Instant) -> bool {
        let now_ns = monotonic_ns();
        let mut is_awaited = false;
        for (id, counted) in &mut self.ranks {
            let source = collector.sources().iter().find(|source| source.id() == *id && source.is_alive());
            if let Some(source) = source {
                counted.look(now_ns, source.begun());
                is_awaited |= counted.iterations() < ENOUGH;
            }
        }
        self.is_over |= !is_awaited || now >= self.until;
        self.is_over
    }

    /// The manifest, with what was seen.
    pub(super) fn end(self) -> Arc<Manifest> {
        let mut manifest = self.manifest;
        for (report, (_, counted)) in manifest.ranks.iter_mut().zip(&self.ranks) {
            report.pace_after = counted.pace();
        }
        Arc::new(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_from_the_first_begin_that_was_seen_to_the_last_one() {
        let mut counted = Counted::default();
        assert_eq!(counted.pace(), None);
        // Iterations begin every 10 ms, the 7th at 3 ms; it is looked every 4 ms.
        for look in 0..=25 {
            let now_ms = look * 4;
            counted.look(now_ms * 1_000_000, 6 + (now_ms + 7) / 10);
        }
        // Seen at 4 ms (7) and at 96 ms (16).
        let pace = counted.pace().expect("nine iterations");
        assert_eq!((pace.iterations, pace.mean_ns, pace.uncertainty_ns), (9, 10_222_222, 444_444));
    }

    #[test]
    fn of_one_iteration_or_none_nothing_is_said() {
        let mut counted = Counted::default();
        for (now_ns, begun) in [(0, 5), (10, 5), (20, 6), (30, 7)] {
            counted.look(now_ns, begun);
        }
        assert_eq!((counted.iterations(), counted.pace()), (1, None));
    }
}
