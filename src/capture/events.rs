//! What a running capture asks of an engine's processes besides iterations: their recorder is switched on some
//! milliseconds before the window opens, and off some milliseconds after it has closed, so that what surrounds its first and last iteration is
//! there. Processes that run no iterations are asked like ranks.
//!
//! Under load it sheds requests: when records are dropped, only one request in two, four, … is recorded, the same ones in
//! every process, so that what is kept is complete.
//!
//! Called by `running`, once in each of its turns.

use crate::collector::Collector;
use crate::collector::source::{Source, SourceId, SourceIdentity};
use crate::wire::clock::{monotonic_ns, realtime_ns};
use crate::wire::wanted::MAX_SHIFT;

use super::manifest::{Sampling, SourceReport};
use super::progress::Kept;
use super::request::Level;
use super::session::{Group, Session};

/// How long before a window the recorder is switched on, at the rate at which its group runs.
const AHEAD_NS: u64 = 200_000_000;
/// And how long it stays on: what an engine does with the last iteration's tokens comes behind that iteration.
const LINGER_NS: u64 = 50_000_000;
/// How often it is looked whether records are dropped.
const SHED_EVERY_NS: u64 = 300_000_000;
/// Looks without a new drop until twice as many requests are recorded.
const CLEAN_LOOKS: u32 = 10;
/// Changes of the rate that are kept.
const MAX_CHANGES: usize = 1024;

/// One process that is asked.
#[derive(Debug, Clone)]
struct Asked {
    id: SourceId,
    generation: u64,
    /// `None`: it is a rank, of which the session tells.
    source: Option<SourceIdentity>,
    /// Drops when it was asked.
    dropped_before: u64,
    dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    On,
    Lingering(u64),
    Off,
}

/// The recorders of one capture.
#[derive(Debug)]
pub(super) struct Events {
    level: Level,
    asked: Vec<Asked>,
    stage: Stage,
    shedding: Shedding,
}

impl Events {
    /// Asks nobody, as for a capture that was taken up.
    pub(super) fn none() -> Self {
        Self { level: Level::Off, asked: Vec::new(), stage: Stage::Off, shedding: Shedding::default() }
    }

    /// Gives every process of these jobs that runs no iterations a generation; ranks have theirs.
    pub(super) fn new(level: Level, collector: &mut Collector, session: &Session) -> Self {
        if level == Level::Off {
            return Self::none();
        }
        let mut asked: Vec<Asked> = Vec::new();
        for source in collector.sources_mut() {
            let dropped = source.dropped_total();
            let identity = source.identity();
            let rank = session.ranks.iter().find(|rank| rank.source == source.id());
            let of_job = session.groups.iter().any(|group| group.key.0 == identity.job);
            let (generation, source_identity) = match rank {
                Some(rank) => (rank.generation, None),
                None if of_job && !identity.is_rank && source.is_alive() && source.problem().is_none() => {
                    let identity = identity.clone();
                    (source.begin_generation(), Some(identity))
                }
                None => continue,
            };
            let (id, source) = (source.id(), source_identity);
            asked.push(Asked { id, generation, source, dropped_before: dropped, dropped: 0 });
        }
        Self { level, asked, stage: Stage::Waiting, shedding: Shedding::default() }
    }

    /// Processes that run no iterations, and their generations.
    pub(super) fn sources(&self) -> impl Iterator<Item = (SourceId, u64)> {
        self.asked.iter().filter(|asked| asked.source.is_some()).map(|asked| (asked.id, asked.generation))
    }

    /// Whether this process runs no iterations and is asked.
    pub(super) fn uses(&self, id: SourceId) -> bool {
        self.sources().any(|(source, _)| source == id)
    }

    /// Whether nobody is asked.
    pub(super) fn is_nobody(&self) -> bool {
        self.asked.is_empty()
    }

    /// Nothing more is to come.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Off
    }

    /// One turn; `told`: something was recorded, so that more may come behind the window.
    pub(super) fn turn(
        &mut self,
        now_ns: u64,
        collector: &mut Collector,
        session: &Session,
        rates: &[f64],
        told: bool,
    ) {
        match self.stage {
            Stage::Waiting if session.is_over() => self.stage = Stage::Off,
            Stage::Waiting if is_near(collector, session, rates) => {
                self.shedding.begin(now_ns);
                self.order(collector, true);
                self.stage = Stage::On;
            }
            Stage::On if session.is_over() => {
                let linger_ns = if told && !session.is_cancelled() { LINGER_NS } else { 0 };
                self.stage = Stage::Lingering(now_ns.saturating_add(linger_ns));
                self.turn(now_ns, collector, session, rates, told);
            }
            Stage::On => self.shed(now_ns, collector),
            Stage::Lingering(until_ns) if now_ns >= until_ns => {
                self.order(collector, false);
                self.count_drops(collector);
                self.stage = Stage::Off;
            }
            Stage::Waiting | Stage::Lingering(_) | Stage::Off => {}
        }
    }

    fn order(&self, collector: &mut Collector, on: bool) {
        for asked in &self.asked {
            if let Some(source) = collector.get_mut(asked.id) {
                let generation = if on { asked.generation } else { 0 };
                source.want_events(generation, self.level.number(), self.shedding.shift);
            }
        }
    }

    fn count_drops(&mut self, collector: &mut Collector) -> u64 {
        for asked in &mut self.asked {
            if let Some(source) = collector.get_mut(asked.id) {
                asked.dropped = source.dropped_total().saturating_sub(asked.dropped_before);
            }
        }
        self.asked.iter().fold(0, |sum, asked| sum.saturating_add(asked.dropped))
    }

    fn shed(&mut self, now_ns: u64, collector: &mut Collector) {
        if !self.shedding.is_due(now_ns) {
            return;
        }
        let dropped = self.count_drops(collector);
        if self.shedding.look(now_ns, dropped) {
            self.order(collector, true);
        }
    }

    /// What is said of processes that run no iterations; `kept` is in the order of [`Self::sources`].
    pub(super) fn report(&self, kept: &[Kept]) -> Vec<SourceReport> {
        let kept = kept.iter().copied().chain(std::iter::repeat(Kept::default()));
        let sources = self.asked.iter().filter_map(|asked| Some((asked, asked.source.as_ref()?)));
        sources
            .zip(kept)
            .map(|((asked, identity), kept)| SourceReport {
                job: identity.job.clone(),
                label: identity.label.clone(),
                engine: identity.engine.clone(),
                pid: identity.pid,
                records: kept.records,
                dropped: asked.dropped,
            })
            .collect()
    }

    /// How many of the requests were recorded, and since when.
    pub(super) fn sampling(&self) -> Vec<Sampling> {
        // By the wall clock as it is now, as all else of a capture.
        let since_boot_ns = realtime_ns().saturating_sub(monotonic_ns());
        let said = |&(at_ns, one_in): &(u64, u64)| Sampling { at_ns: since_boot_ns.saturating_add(at_ns), one_in };
        self.shedding.changes.iter().map(said).collect()
    }
}

/// Whether a window is open, or near enough that everything has to be ready for it.
pub(super) fn is_near(collector: &Collector, session: &Session, rates: &[f64]) -> bool {
    let near = |(index, group): (usize, &Group)| {
        let members = session.ranks.iter().filter(|rank| rank.group == index);
        let begun = members.filter_map(|rank| collector.sources().iter().find(|s| s.id() == rank.source));
        let begun = begun.map(Source::begun).max().unwrap_or(0);
        let ahead = rates.get(index).copied().unwrap_or(0.0) * AHEAD_NS as f64 / 1e9;
        // An engine that stands still may go on at any moment, and fast.
        group.opening.first_iteration.saturating_sub(begun) <= (ahead.ceil() as u64).max(64)
    };
    session.groups.iter().enumerate().any(near)
}

/// The rate at which requests are recorded.
#[derive(Debug, Default)]
struct Shedding {
    shift: u32,
    looked_ns: u64,
    clean_looks: u32,
    dropped: u64,
    /// When by CLOCK_MONOTONIC, and one in how many from then on.
    changes: Vec<(u64, u64)>,
}

impl Shedding {
    fn begin(&mut self, now_ns: u64) {
        self.looked_ns = now_ns;
        self.changed(now_ns);
    }

    fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.looked_ns) >= SHED_EVERY_NS
    }

    /// Looks at how many records were dropped since the capture began; `true`: the rate is another one now.
    fn look(&mut self, now_ns: u64, dropped: u64) -> bool {
        self.looked_ns = now_ns;
        let more = dropped > self.dropped;
        self.dropped = dropped;
        self.clean_looks = if more { 0 } else { self.clean_looks + 1 };
        let shift = if more {
            (self.shift + 1).min(MAX_SHIFT as u32)
        } else if self.clean_looks >= CLEAN_LOOKS {
            self.clean_looks = 0;
            self.shift.saturating_sub(1)
        } else {
            self.shift
        };
        let changes = shift != self.shift;
        self.shift = shift;
        if changes {
            self.changed(now_ns);
        }
        changes
    }

    fn changed(&mut self, now_ns: u64) {
        if self.changes.len() < MAX_CHANGES {
            self.changes.push((now_ns, 1 << self.shift));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_halve_the_requests_and_ten_clean_looks_double_them() {
        let mut shedding = Shedding::default();
        shedding.begin(0);
        let mut shifts = Vec::new();
        let mut dropped = 0;
        for look in 1..=40 {
            dropped += if look <= 12 { 5 } else { 0 };
            assert!(shedding.is_due(look * SHED_EVERY_NS));
            shedding.look(look * SHED_EVERY_NS, dropped);
            shifts.push(shedding.shift);
        }
        assert_eq!(shifts[..10], [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]);
        assert_eq!((shifts[20], shifts[21], shifts[31]), (8, 7, 6));
        let one_in: Vec<u64> = shedding.changes.iter().map(|change| change.1).collect();
        assert_eq!(one_in, [1, 2, 4, 8, 16, 32, 64, 128, 256, 128, 64]);
    }
}
