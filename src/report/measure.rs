//! One pass over a capture's iterations: every table and every plot of the report at once, in constant memory.
//!
//! An iteration is measured when the next one of its rank is known: only then is its interval, and whether there was work
//! to go on with. What is not known is left out of the distribution it would spoil: the duration of an iteration that was
//! cut off or never ended, the interval in front of a missing record.

use super::distribution::Recorder;
use super::lockstep::Lockstep;
use super::model::{BatchFacts, IterationRow, Phase};
use super::phases::{Measured, PhaseRecorder, phase_of};
use super::points::{Chooser, Point};
use crate::trace::event::{Flags, Iteration};
use crate::trace::fragment::FragmentIdentity;
use crate::trace::walk::Step;

/// Iterations in the list of the longest.
pub(super) const SLOWEST: usize = 10;
/// Gaps in the list of the longest.
pub(super) const LONGEST_GAPS: usize = 5;

/// One rank, as it is read.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) identity: FragmentIdentity,
    /// Place in the list of groups.
    pub(super) group: usize,
    pub(super) iterations: u64,
    pub(super) without_end: u64,
    pub(super) duration: Recorder,
    pub(super) first: Option<Step>,
    pub(super) last: Option<Step>,
    /// Waits for the next one.
    held: Option<Step>,
}

/// One group, as it is read.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) job: String,
    pub(super) group: String,
    pub(super) lockstep: Lockstep,
    pub(super) begin_ns: u64,
    pub(super) end_ns: u64,
    /// Tokens by phase of its first rank, and of all.
    pub(super) of_first: Tokens,
    pub(super) of_all: Tokens,
}

/// Tokens, and iterations that had them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tokens {
    pub(super) iterations: u64,
    pub(super) context: u64,
    pub(super) generation: u64,
}

/// All of a capture.
#[derive(Debug)]
pub(super) struct Measure {
    /// Ranks; fragments of others, which run no iterations, have none.
    pub(super) lanes: Vec<Lane>,
    /// Of each fragment its place among the ranks.
    pub(super) places: Vec<Option<usize>>,
    pub(super) groups: Vec<Group>,
    /// In the order of [`Phase::KINDS`], and all.
    pub(super) phases: [PhaseRecorder; 5],
    pub(super) all: PhaseRecorder,
    /// The device's share of intervals with work, in hundredths of a percent.
    pub(super) device_share: Recorder,
    /// The gap's share of them, likewise.
    pub(super) gap_share: Recorder,
    pub(super) slowest: Vec<IterationRow>,
    pub(super) longest_gaps: Vec<IterationRow>,
    pub(super) begin_ns: Option<u64>,
    pub(super) end_ns: u64,
    points: Chooser,
}

/// The role of who runs iterations.
const RANK: &str = "rank";
/// What a share is counted in.
pub(super) const SHARE: f64 = 10_000.0;

impl Measure {
    pub(super) fn new(identities: Vec<FragmentIdentity>) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut lanes = Vec::new();
        let mut places = Vec::new();
        for identity in identities {
            if identity.role != RANK {
                places.push(None);
                continue;
            }
            let at = lanes.len();
            places.push(Some(at));
            let is_its = |group: &Group| group.job == identity.job && group.group == identity.group;
            let group = groups.iter().position(is_its).unwrap_or_else(|| {
                groups.push(Group::new(&identity));
                groups.len() - 1
            });
            groups[group].lockstep.join(at);
            lanes.push(Lane::new(identity, group));
        }
        Self {
            lanes,
            places,
            groups,
            phases: Default::default(),
            all: PhaseRecorder::default(),
            device_share: Recorder::default(),
            gap_share: Recorder::default(),
            slowest: Vec::new(),
            longest_gaps: Vec::new(),
            begin_ns: None,
            end_ns: 0,
            points: Chooser::default(),
        }
    }

    /// The next iteration by begin time, and whose it is.
    pub(super) fn add(&mut self, fragment: usize, step: Step) {
        let Some(at) = self.places.get(fragment).copied().flatten() else { return };
        self.begin_ns.get_or_insert(step.begin_ns);
        self.end_ns = self.end_ns.max(step.end_ns);
        let lane = &mut self.lanes[at];
        lane.iterations += 1;
        lane.first.get_or_insert(step);
        lane.last = Some(step);
        let group = &mut self.groups[lane.group];
        group.span(&step, group.lockstep.members[0] == at);
        if ends(&step.iteration) {
            group.lockstep.add(at, &step);
        }
        if let Some(before) = self.lanes[at].held.replace(step) {
            self.measure(at, &before, Some(&step));
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) {
        for at in 0..self.lanes.len() {
            if let Some(last) = self.lanes[at].held.take() {
                self.measure(at, &last, None);
            }
        }
    }

    pub(super) fn points(&mut self) -> super::points::Points {
        std::mem::take(&mut self.points).finish()
    }

    fn measure(&mut self, at: usize, step: &Step, next: Option<&Step>) {
        let measured = measured(step, next);
        let lane = &mut self.lanes[at];
        match measured.duration_ns {
            Some(duration_ns) => lane.duration.add(duration_ns),
            None => lane.without_end += 1,
        }
        if let Some(kind) = Phase::KINDS.iter().position(|&kind| kind == measured.phase) {
            self.phases[kind].add(&measured);
        }
        self.all.add(&measured);
        if let Some(interval_ns) = measured.interval_ns.filter(|&ns| ns > 0 && measured.is_followed) {
            self.groups[lane.group].lockstep.interval(interval_ns);
            if let Some(device_ns) = measured.device_ns {
                self.device_share.add(share(device_ns, interval_ns));
            }
            if let Some(gap_ns) = measured.gap_ns() {
                self.gap_share.add(share(gap_ns, interval_ns));
            }
        }
        let start_ns = step.begin_ns - self.begin_ns.unwrap_or_default().min(step.begin_ns);
        self.points.add(Point {
            rank: at as u32,
            iteration: step.iteration.iteration,
            start_ns,
            duration_ns: measured.duration_ns,
            interval_ns: measured.interval_ns,
            device_ns: measured.device_ns,
            phase: measured.phase,
            batch: measured.batch.unwrap_or_default(),
        });
        let row = || IterationRow {
            rank: at as u32,
            iteration: step.iteration.iteration,
            start_ns,
            phase: measured.phase,
            duration_ns: measured.duration_ns.unwrap_or_default(),
            gap_ns: measured.gap_ns(),
            device_ns: measured.device_ns,
            batch: measured.batch,
        };
        if let Some(duration_ns) = measured.duration_ns {
            keep_longest(&mut self.slowest, SLOWEST, duration_ns, |row| row.duration_ns, row);
        }
        if let Some(gap_ns) = measured.gap_ns().filter(|&ns| ns > 0) {
            keep_longest(&mut self.longest_gaps, LONGEST_GAPS, gap_ns, |row| row.gap_ns.unwrap_or_default(), row);
        }
    }
}

impl Lane {
    fn new(identity: FragmentIdentity, group: usize) -> Self {
        Self {
            identity,
            group,
            iterations: 0,
            without_end: 0,
            duration: Recorder::default(),
            first: None,
            last: None,
            held: None,
        }
    }
}

impl Group {
    fn new(identity: &FragmentIdentity) -> Self {
        Self {
            job: identity.job.clone(),
            group: identity.group.clone(),
            lockstep: Lockstep::default(),
            begin_ns: u64::MAX,
            end_ns: 0,
            of_first: Tokens::default(),
            of_all: Tokens::default(),
        }
    }

    fn span(&mut self, step: &Step, is_first: bool) {
        self.begin_ns = self.begin_ns.min(step.begin_ns);
        self.end_ns = self.end_ns.max(step.end_ns);
        self.of_all.add(&step.iteration);
        if is_first {
            self.of_first.add(&step.iteration);
        }
    }
}

impl Tokens {
    fn add(&mut self, iteration: &Iteration) {
        self.iterations += 1;
        if batch_of(iteration).is_some() {
            self.context += u64::from(iteration.batch.context_tokens);
            self.generation += u64::from(iteration.batch.generation_tokens);
        }
    }
}

/// Whether its end is one that the engine told.
fn ends(iteration: &Iteration) -> bool {
    !iteration.flags.has(Flags::MID_ITERATION) && !iteration.flags.has(Flags::UNENDED)
}

/// Tokens of a dummy batch are nobody's.
fn batch_of(iteration: &Iteration) -> Option<BatchFacts> {
    let none = iteration.flags.has(Flags::NO_BATCH) || iteration.flags.has(Flags::DUMMY);
    let batch = iteration.batch;
    (!none).then_some(BatchFacts {
        context_requests: batch.context_requests,
        context_tokens: batch.context_tokens,
        generation_requests: batch.generation_requests,
        generation_tokens: batch.generation_tokens,
    })
}

pub(super) fn measured(step: &Step, next: Option<&Step>) -> Measured {
    let next = next.filter(|next| Some(next.iteration.iteration) == step.iteration.iteration.checked_add(1));
    Measured {
        phase: phase_of(&step.iteration),
        duration_ns: ends(&step.iteration).then(|| step.end_ns - step.begin_ns),
        interval_ns: next.map(|next| next.begin_ns.saturating_sub(step.begin_ns)),
        device_ns: step.iteration.device_ns,
        is_followed: next.and_then(|next| batch_of(&next.iteration)).is_some_and(|batch| batch.generation_requests > 0),
        batch: batch_of(&step.iteration),
    }
}

#[expect(clippy::cast_sign_loss, reason = "a share of two counts is not below zero")]
fn share(part_ns: u64, whole_ns: u64) -> u64 {
    (part_ns as f64 / whole_ns as f64 * SHARE).round() as u64
}

/// Keeps the `most` longest, longest first; of equals the earlier.
fn keep_longest(
    rows: &mut Vec<IterationRow>,
    most: usize,
    length: u64,
    of: impl Fn(&IterationRow) -> u64,
    row: impl FnOnce() -> IterationRow,
) {
    let at = rows.partition_point(|row| of(row) >= length);
    if at < most {
        rows.insert(at, row());
        rows.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Batch;

    fn step(number: u64, begin_ns: u64, end_ns: u64, generation_requests: u32, flags: Flags) -> Step {
        let batch = Batch { generation_requests, generation_tokens: generation_requests, ..Batch::default() };
        let iteration = Iteration { iteration: number, batch, flags, device_ns: Some(3), ..Iteration::default() };
        Step { iteration, begin_ns, end_ns, clamped: false }
    }

    #[test]
    fn an_interval_is_known_only_where_the_next_number_follows() {
        let this = step(7, 100, 140, 1, Flags::default());
        let followed = measured(&this, Some(&step(8, 150, 160, 2, Flags::default())));
        assert_eq!((followed.interval_ns, followed.gap_ns(), followed.time_ns()), (Some(50), Some(10), Some(50)));
        let lost = measured(&this, Some(&step(9, 150, 160, 2, Flags::default())));
        assert_eq!((lost.interval_ns, lost.gap_ns(), lost.time_ns()), (None, None, Some(40)));
    }

    #[test]
    fn without_work_to_go_on_with_the_time_is_the_calls() {
        let this = step(7, 100, 140, 1, Flags::default());
        let prefill = measured(&this, Some(&step(8, 9000, 9100, 0, Flags::default())));
        assert_eq!((prefill.interval_ns, prefill.time_ns()), (Some(8900), Some(40)));
        let dummy = measured(&this, Some(&step(8, 9000, 9100, 4, Flags::DUMMY)));
        assert_eq!((dummy.is_followed, dummy.time_ns()), (false, Some(40)));
    }

    #[test]
    fn an_end_that_nobody_told_is_no_duration() {
        for flags in [Flags::MID_ITERATION, Flags::UNENDED] {
            let cut = measured(&step(7, 100, 140, 1, flags), Some(&step(8, 150, 160, 2, Flags::default())));
            assert_eq!((cut.duration_ns, cut.interval_ns, cut.time_ns()), (None, Some(50), Some(50)));
        }
    }

    #[test]
    fn the_longest_are_kept_in_order_and_of_equals_the_earlier() {
        let mut rows = Vec::new();
        for (iteration, duration_ns) in [(1, 5), (2, 9), (3, 9), (4, 1), (5, 7)] {
            let row = IterationRow { iteration, duration_ns, ..IterationRow::default() };
            keep_longest(&mut rows, 3, duration_ns, |row| row.duration_ns, || row);
        }
        assert_eq!(rows.iter().map(|row| row.iteration).collect::<Vec<_>>(), [2, 3, 5]);
    }
}
