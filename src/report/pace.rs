//! How fast ranks stepped around a window: before and behind it by what the sidecar counted while nothing was recorded, within
//! by what was. Side by side they say what the capture itself took.

use serde::{Deserialize, Serialize};

use super::about::About;
use super::measure::{Lane, Measure};

/// How fast one rank stepped around its window.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PaceRow {
    /// Place in `ranks`.
    pub rank: u32,
    /// In the seconds before anything was switched on, by the count of iterations.
    pub before: Option<Pace>,
    /// In the window, by what was recorded.
    pub within: Option<Pace>,
    /// When all was switched off, by the count again.
    pub after: Option<Pace>,
}

/// How fast a rank stepped; where nothing was recorded, by its count of iterations. A capture's manifest says it so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Iterations.
    pub iterations: u64,
    /// From the begin of one to the begin of the next, mean, nanoseconds; the time in which nothing ran too.
    pub mean_ns: u64,
    /// How far off that may be, where the count is looked at now and then.
    pub uncertainty_ns: u64,
}

/// How fast each rank stepped, as far as anything is known.
pub(super) fn paces(measure: &Measure, about: &About) -> Vec<PaceRow> {
    let rows = measure.lanes.iter().enumerate().map(|(at, lane)| {
        let id = &lane.identity;
        let told = about.ranks.iter().find(|r| r.job == id.job && r.group == id.group && r.rank == id.rank);
        let (before, after) = told.map_or((None, None), |told| (told.before, told.after));
        PaceRow { rank: at as u32, before, within: within(lane), after }
    });
    rows.filter(|row| row.before.is_some() || row.after.is_some()).collect()
}

/// From the begin of a rank's first iteration to that of its last one, lost records or not.
fn within(lane: &Lane) -> Option<Pace> {
    let (first, last) = (lane.first?, lane.last?);
    let iterations = last.iteration.iteration.checked_sub(first.iteration.iteration).filter(|&more| more > 0)?;
    let mean_ns = last.begin_ns.checked_sub(first.begin_ns)? / iterations;
    Some(Pace { iterations, mean_ns, uncertainty_ns: 0 })
}
