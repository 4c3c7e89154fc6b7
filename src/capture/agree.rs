//! Agreeing with a group on where its window opens: an opening is offered to every rank, and holds if all of them have seen
//! it before any of them got there.
//!
//! Called by `running` when a capture starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::collector::profiling::{Answer, ProfilerCalls};
use crate::collector::source::{Arming, Source, SourceId};
use crate::wire::layout::NONE;
use crate::wire::membarrier;

use super::native::driving;
use super::plan::Plan;
use super::profiling::Lead;
use super::request::{self, Profiler, StartError};
use super::session::{Group, Phase, Rank};
use super::window::{self, Opening};

/// Openings that are offered before a start is given up.
const ATTEMPTS: u32 = 8;
/// A group in which nothing runs or begins for this long is idle, and opens at its very next iteration. Being wrong does
/// no harm: the opening is then withdrawn and agreed anew. Not so where the engine's own profiler has to be asked before.
const QUIET: Duration = Duration::from_millis(20);
const QUIET_LOOK: Duration = Duration::from_micros(500);

/// Offers openings to one group until one holds: written to every rank, seen for certain, and not yet reached by any.
pub(super) fn agree(
    collector: &mut Collector,
    key: &(String, String),
    members: &[SourceId],
    idle: bool,
    plan: &Plan,
    lease_ns: u64,
) -> Result<(Group, Vec<Rank>), StartError> {
    for attempt in 0..ATTEMPTS {
        let mut sources: Vec<&mut Source> =
            collector.sources_mut().iter_mut().filter(|s| members.contains(&s.id())).collect();
        sources.sort_by_key(|s| (s.identity().rank, s.identity().pid));
        let begun = largest_begun(sources.iter().map(|s| &**s));
        let rate = sources.iter().map(|s| s.rate()).fold(0.0, f64::max);
        // The profiler starts earlier than the window, and that has to be seen in time too.
        let role_of = |s: &Source| plan.leads.get(&s.id()).copied().unwrap_or_default();
        let listens = sources.iter().any(|s| s.abilities().nvtx_tool == Answer::Yes);
        let lead = plan.profiling.lead_iterations(listens, sources.iter().any(|s| role_of(s).shared), rate);
        let mut ahead = window::ahead(idle, rate, attempt).saturating_add(lead);
        if plan.profiling.profiler == Profiler::Engine && !idle {
            ahead = ahead.max(driving::ahead(rate));
        }
        let opening = window::opening(plan.begin, begun, ahead).map_err(|past| StartError::Past {
            requested: if let request::Begin::At(at) = plan.begin { at } else { 0 },
            group: key.1.clone(),
            job: key.0.clone(),
            next: past.next,
        })?;
        let last = window::last(opening.first_iteration, plan.max_iterations);
        let mut ranks = Vec::new();
        for source in &mut sources {
            source.renew_lease(lease_ns);
            let role = role_of(source);
            let generation = source.arm(&Arming {
                first_iteration: opening.first_iteration,
                last_iteration: last.unwrap_or(NONE),
                profiler: plan.profiling.bits(role),
                profiler_iteration: opening.first_iteration.saturating_sub(lead),
            });
            ranks.push(new_rank(source, generation, role));
        }
        membarrier::heavy(sources.iter().all(|s| s.has_membarrier()));
        if sources.iter().all(|s| s.begun() < opening.first_iteration.saturating_sub(lead)) {
            return Ok((new_group(key, opening, last, attempt, &sources, plan, begun), ranks));
        }
    }
    Err(StartError::NotAgreed(ATTEMPTS))
}

fn largest_begun<'a>(sources: impl Iterator<Item = &'a Source>) -> u64 {
    sources.map(Source::begun).max().unwrap_or(0)
}

/// Looks for a moment, at all groups at once, in which of them nothing runs and nothing begins.
pub(super) fn idle_groups(
    collector: &Collector,
    groups: &BTreeMap<(String, String), Vec<SourceId>>,
    profiler: Profiler,
) -> Vec<bool> {
    let quiet = if profiler == Profiler::Engine { driving::CALL } else { QUIET };
    let of = |ids: &Vec<SourceId>| collector.sources().iter().filter(|s| ids.contains(&s.id())).collect();
    let members: Vec<Vec<&Source>> = groups.values().map(of).collect();
    let begun: Vec<u64> = members.iter().map(|m| largest_begun(m.iter().copied())).collect();
    let mut idle = vec![true; members.len()];
    let began = Instant::now();
    loop {
        for (idle, (sources, begun)) in idle.iter_mut().zip(members.iter().zip(&begun)) {
            let rests = sources.iter().all(|s| s.is_between_iterations());
            *idle &= rests && largest_begun(sources.iter().copied()) == *begun;
        }
        if !idle.contains(&true) || began.elapsed() >= quiet {
            return idle;
        }
        std::thread::sleep(QUIET_LOOK);
    }
}

fn new_group(
    key: &(String, String),
    opening: Opening,
    last: Option<u64>,
    withdrawn: u32,
    sources: &[&mut Source],
    plan: &Plan,
    begun: u64,
) -> Group {
    let world_size = sources.iter().map(|s| s.identity().world_size).max().unwrap_or(0);
    let present: BTreeSet<u32> = sources.iter().map(|s| s.identity().rank).collect();
    // A world size is a stranger's word: no list as long as it likes. Ranks that nobody asked for are not missing.
    let wanted = (0..world_size.min(65_536)).filter(|r| plan.ranks.as_ref().is_none_or(|ranks| ranks.contains(r)));
    let missing_ranks = wanted.filter(|r| !present.contains(r)).collect();
    Group::new(key.clone(), opening, last, withdrawn, world_size, missing_ranks, begun)
}

fn new_rank(source: &Source, generation: u64, lead: Lead) -> Rank {
    Rank {
        source: source.id(),
        identity: source.identity().clone(),
        group: 0,
        generation,
        phase: Phase::Waiting,
        facts: None,
        recorded: (0, 0, 0),
        records: 0,
        dropped: 0,
        lost: 0,
        pace_before: None,
        lead,
        calls: ProfilerCalls::default(),
    }
}
