//! What the capture itself took, as far as the data carries it: the profiler's calls, the time between the gate and the
//! iterations, and the window's first and last iteration beside the others of their phase.
//!
//! Nothing is recorded outside a window. What is known of iterations before and behind it is how many there were in how long.

use super::about::About;
use super::measure::{Lane, Measure};
use super::model::{Edge, Overhead, Phase};
use super::pace::{Pace, PaceRow, paces};
use super::phases::phase_of;
use super::thresholds as limit;
use crate::trace::event::Flags;
use crate::trace::meta::RankWindow;
use crate::trace::walk::Step;

/// Says it.
pub(super) fn overhead(measure: &Measure, about: &About) -> Overhead {
    let calls: Vec<_> = about.ranks.iter().filter_map(|rank| rank.calls.clone()).collect();
    let windows = || measure.lanes.iter().filter_map(|lane| Some((lane, window(lane, about)?)));
    let opening = windows().filter_map(|(lane, window)| lane.first?.begin_ns.checked_sub(window.opened_at_ns?));
    let closing = windows().filter_map(|(lane, window)| window.closed_at_ns?.checked_sub(lane.last?.end_ns));
    let paces = paces(measure, about);
    let mut not_known = Vec::new();
    for (side, of) in [("before", (|row| row.before) as fn(&PaceRow) -> Option<Pace>), ("behind", |row| row.after)] {
        if paces.iter().all(|row| of(row).is_none()) {
            not_known.push(format!("iteration times {side} the window: no rank was seen to make two iterations there"));
        }
    }
    if calls.is_empty() && about.profiler != "steps" {
        not_known.push("what the profiler's calls took: no rank made any".into());
    }
    Overhead {
        profiler_total_ns: calls.iter().map(super::model::ProfilerCalls::total_ns).max().unwrap_or(0),
        profiler_calls: calls,
        open_to_first_begin_ns: opening.max(),
        last_end_to_close_ns: closing.max(),
        edges: edges(measure),
        paces,
        not_known,
    }
}

fn window<'a>(lane: &Lane, about: &'a About) -> Option<&'a RankWindow> {
    let id = &lane.identity;
    about.meta.ranks.iter().find(|w| w.job == id.job && w.group == id.group && w.rank == id.rank)
}

/// Of the first and of the last iterations of all ranks the longest.
fn edges(measure: &Measure) -> Vec<Edge> {
    let longest = |of: fn(&Lane) -> Option<Step>| {
        let known =
            |step: &Step| !step.iteration.flags.has(Flags::MID_ITERATION) && !step.iteration.flags.has(Flags::UNENDED);
        let steps = measure.lanes.iter().enumerate().filter_map(|(at, lane)| Some((at, of(lane).filter(known)?)));
        steps.max_by_key(|(at, step)| (step.end_ns - step.begin_ns, std::cmp::Reverse(*at)))
    };
    let edge = |name: &str, found: Option<(usize, Step)>| {
        let (at, step) = found?;
        let phase = phase_of(&step.iteration);
        let others = Phase::KINDS.iter().position(|&kind| kind == phase).map(|kind| &measure.phases[kind].duration);
        let others = others.filter(|others| others.count() >= limit::MIN_COUNT);
        Some(Edge {
            edge: name.into(),
            rank: at as u32,
            iteration: step.iteration.iteration,
            phase,
            duration_ns: step.end_ns - step.begin_ns,
            typical_ns: others.and_then(|others| others.quantile(0.5)),
            p99_ns: others.and_then(|others| others.quantile(0.99)),
        })
    };
    [edge("first", longest(|lane| lane.first)), edge("last", longest(|lane| lane.last))].into_iter().flatten().collect()
}
