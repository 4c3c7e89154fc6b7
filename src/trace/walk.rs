//! A capture's iterations and counters for whoever computes something of them: the merge of trace and ledger, without a
//! format.
//!
//! Same clock map, same trimming, same clamping, so that what is computed agrees with what is shown. Memory is bounded by
//! the number of ranks. Called by the report.

use std::path::PathBuf;

use super::counter::{Counter, GpuIdentity};
use super::event::Iteration;
use super::export::ExportSummary;
use super::fragment::FragmentIdentity;
use super::merge::Merge;
use super::meta::ExportMeta;

/// An iteration with its times, nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What was recorded.
    pub iteration: Iteration,
    /// When it began.
    pub begin_ns: u64,
    /// When it ended; not behind the begin of the next one.
    pub end_ns: u64,
    /// The end was moved.
    pub clamped: bool,
}

/// All fragments of a capture, read once.
#[derive(Debug)]
pub struct Walk {
    merge: Merge,
}

impl Walk {
    /// Opens them. What can't be used is named in [`Self::summary`].
    pub fn open(fragments: &[PathBuf], meta: &ExportMeta) -> Self {
        Self { merge: Merge::open(fragments, meta, false) }
    }

    /// Whose fragments there are; [`Self::next`] gives places in this list.
    pub fn identities(&self) -> Vec<FragmentIdentity> {
        self.merge.lanes.iter().map(|lane| lane.identity.clone()).collect()
    }

    /// The next iteration by begin time, and whose it is.
    #[expect(
        clippy::should_implement_trait,
        reason = "the walk is asked for its summary between steps and behind them"
    )]
    pub fn next(&mut self) -> Option<(usize, Step)> {
        let (at, placed) = self.merge.next()?;
        let step = Step {
            iteration: placed.iteration,
            begin_ns: placed.begin_ns,
            end_ns: placed.end_ns,
            clamped: placed.clamped,
        };
        Some((at, step))
    }

    /// Hands on every value of every counter, with its GPU, in the order in which they were read.
    pub fn each_counter(&mut self, take: &mut dyn FnMut(&GpuIdentity, &Counter)) {
        for counters in &mut self.merge.counters {
            counters.each(take);
        }
    }

    /// How far the wall clock was set while this was recorded; times are by the clock as it was at the end.
    pub fn wall_clock_stepped_ns(&self) -> i64 {
        self.merge.stepped_ns
    }

    /// What was read so far, and what was left out.
    pub fn summary(&self) -> ExportSummary {
        ExportSummary::of(&self.merge, |_| true)
    }
}
