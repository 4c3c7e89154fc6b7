//! Ranks that step together, compared iteration by iteration: who begins late, who ends last, by how much, how often.
//!
//! The straggler is who *ends* last: the others could have gone on by then. How long a call took does not tell, since
//! waiting for others inside a call takes time too. All ranks of a host share a clock, so begins and ends compare.
//!
//! Iterations wait in a bounded table until every rank has brought them; what is pushed out is counted.

use std::collections::BTreeMap;

use super::distribution::{Recorder, rounded};
use super::model::GroupRow;
use super::verdict::GroupEvidence;
use crate::trace::event::{Batch, Flags};
use crate::trace::walk::Step;

/// Iterations of a group that wait for a rank.
const WAITING: usize = 4096;

/// What one rank brings of an iteration.
#[derive(Debug, Clone, Copy)]
struct Brought {
    /// Place in the group.
    at: usize,
    begin_ns: u64,
    end_ns: u64,
    batch: Option<Batch>,
}

/// What the comparison says of one rank.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// Iterations in which it ended last.
    pub(super) last: u64,
    pub(super) begin_late: Recorder,
    pub(super) longer: Recorder,
    /// How much later than the first it ended, where it ended last.
    excess: Recorder,
}

/// One group.
#[derive(Debug, Default)]
pub(super) struct Lockstep {
    /// Its ranks: places in the list of all.
    pub(super) members: Vec<usize>,
    pub(super) lateness: Vec<Lateness>,
    waiting: BTreeMap<u64, Vec<Brought>>,
    pub(super) compared: u64,
    not_compared: u64,
    unlike_batches: u64,
    begin_skew: Recorder,
    spread: Recorder,
    /// The longest call of an iteration, and its interval.
    calls: Recorder,
    intervals: Recorder,
}

impl Lockstep {
    pub(super) fn join(&mut self, rank: usize) {
        self.members.push(rank);
        self.lateness.push(Lateness::default());
    }

    /// One iteration of one rank, whose end is known.
    pub(super) fn add(&mut self, rank: usize, step: &Step) {
        let Some(at) = self.members.iter().position(|&member| member == rank).filter(|_| self.members.len() > 1) else {
            return;
        };
        let flags = step.iteration.flags;
        let batch = (!flags.has(Flags::NO_BATCH) && !flags.has(Flags::DUMMY)).then_some(step.iteration.batch);
        let brought = Brought { at, begin_ns: step.begin_ns, end_ns: step.end_ns, batch };
        let all = self.waiting.entry(step.iteration.iteration).or_default();
        // Told of twice: the first counts.
        if all.iter().any(|other| other.at == at) {
            return;
        }
        all.push(brought);
        if all.len() == self.members.len() {
            if let Some(all) = self.waiting.remove(&step.iteration.iteration) {
                self.compare(&all);
            }
        } else if self.waiting.len() > WAITING {
            self.waiting.pop_first();
            self.not_compared += 1;
        }
    }

    /// The interval of one iteration of one rank, in which there was work.
    pub(super) fn interval(&mut self, interval_ns: u64) {
        self.intervals.add(interval_ns);
    }

    fn compare(&mut self, all: &[Brought]) {
        let first_begin = all.iter().map(|b| b.begin_ns).min().unwrap_or_default();
        let last_begin = all.iter().map(|b| b.begin_ns).max().unwrap_or_default();
        let first_end = all.iter().map(|b| b.end_ns).min().unwrap_or_default();
        let shortest = all.iter().map(|b| b.end_ns - b.begin_ns).min().unwrap_or_default();
        let longest = all.iter().map(|b| b.end_ns - b.begin_ns).max().unwrap_or_default();
        let Some(last) = all.iter().max_by_key(|b| b.end_ns) else { return };
        self.compared += 1;
        self.unlike_batches += u64::from(all.iter().any(|b| b.batch != all[0].batch));
        self.begin_skew.add(last_begin - first_begin);
        self.spread.add(last.end_ns - first_end);
        self.calls.add(longest);
        for brought in all {
            let lateness = &mut self.lateness[brought.at];
            lateness.begin_late.add(brought.begin_ns - first_begin);
            lateness.longer.add(brought.end_ns - brought.begin_ns - shortest);
        }
        // Who ends last together with another is not told apart from it.
        if all.iter().filter(|b| b.end_ns == last.end_ns).count() == 1 {
            self.lateness[last.at].last += 1;
            self.lateness[last.at].excess.add(last.end_ns - first_end);
        }
    }

    pub(super) fn share_last(&self, at: usize) -> Option<f64> {
        (self.compared > 0).then(|| rounded(self.lateness[at].last as f64 / self.compared as f64))
    }

    /// Place in the group of who ended last most often.
    fn slowest(&self) -> Option<usize> {
        let most = self.lateness.iter().enumerate().max_by_key(|(at, l)| (l.last, std::cmp::Reverse(*at)))?;
        (most.1.last > 0).then_some(most.0)
    }

    /// An interval; where there is none, the longest call stands for it.
    fn typical_ns(&self) -> f64 {
        let typical = self.intervals.quantile(0.5).or_else(|| self.calls.quantile(0.5));
        typical.unwrap_or_default().max(1) as f64
    }

    fn excess(&self, at: usize) -> f64 {
        rounded(self.lateness[at].excess.quantile(0.5).unwrap_or_default() as f64 / self.typical_ns())
    }

    /// For the verdict; `None`: there is nobody to compare.
    pub(super) fn evidence(&self, name: impl Fn(usize) -> String) -> Option<GroupEvidence> {
        if self.members.len() < 2 {
            return None;
        }
        let at = self.slowest().unwrap_or_default();
        Some(GroupEvidence {
            rank: name(self.members[at]),
            compared: self.compared,
            share: self.share_last(at).unwrap_or_default(),
            excess: self.excess(at),
            covered: (self.calls.quantile(0.5).unwrap_or_default() as f64 / self.typical_ns()).min(1.0),
        })
    }

    pub(super) fn row(&self, job: &str, group: &str) -> GroupRow {
        let slowest = self.slowest();
        let waiting = if self.members.len() > 1 { self.waiting.len() as u64 } else { 0 };
        GroupRow {
            job: job.into(),
            group: group.into(),
            ranks: self.members.len() as u64,
            compared: self.compared,
            not_compared: self.not_compared + waiting,
            unlike_batches: self.unlike_batches,
            begin_skew_ns: self.begin_skew.distribution(),
            spread_ns: self.spread.distribution(),
            slowest_rank: slowest.map(|at| self.members[at] as u32),
            slowest_share: slowest.and_then(|at| self.share_last(at)).unwrap_or_default(),
            slowest_excess: slowest.map(|at| self.excess(at)).unwrap_or_default(),
        }
    }

    /// Whether its ranks have batches of their own: data parallel.
    pub(super) fn has_own_batches(&self) -> bool {
        self.unlike_batches * 10 > self.compared
    }
}
