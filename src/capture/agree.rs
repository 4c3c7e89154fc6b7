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
    look: Look,
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
        let mut ahead = window::ahead(look.idle, rate, attempt).saturating_add(lead);
        if plan.profiling.profiler == Profiler::Engine && !look.idle {
            ahead = ahead.max(driving::ahead(rate.max(look.iterations_per_second)));
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

/// What was seen of a group while it was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Nothing ran in it and nothing began.
    idle: bool,
    /// How fast it stepped meanwhile: one that has just begun to run has no rate yet.
    iterations_per_second: f64,
}

/// Looks for a moment, at all groups at once, in which of them nothing runs and nothing begins.
pub(super) fn look_at(
    collector: &Collector,
    groups: &BTreeMap<(String, String), Vec<SourceId>>,
    profiler: Profiler,
) -> Vec<Look> {
    let of = |ids: &Vec<SourceId>| collector.sources().iter().filter(|s| ids.contains(&s.id())).collect();
    let members: Vec<Vec<&Source>> = groups.values().map(of).collect();
    let begun_of = |sources: &Vec<&Source>| largest_begun(sources.iter().copied());
    let begun: Vec<u64> = members.iter().map(begun_of).collect();
    let began = Instant::now();
    let needs_quiet = |sources: &Vec<&Source>| match profiler {
        // Most of it may have gone by already.
        Profiler::Engine => {
            let known = sources.iter().map(|source| source.quiet_for(began)).min().unwrap_or_default();
            QUIET.max(driving::CALL.saturating_sub(known))
        }
        Profiler::Steps | Profiler::Cuda => QUIET,
    };
    let quiet: Vec<Duration> = members.iter().map(needs_quiet).collect();
    let mut idle = vec![true; members.len()];
    let elapsed = loop {
        for (idle, (sources, begun)) in idle.iter_mut().zip(members.iter().zip(&begun)) {
            let rests = sources.iter().all(|s| s.is_between_iterations());
            *idle &= rests && begun_of(sources) == *begun;
        }
        let elapsed = began.elapsed();
        let is_awaited = |(&idle, &quiet): (&bool, &Duration)| idle && elapsed < quiet;
        let is_measured = profiler != Profiler::Engine || elapsed >= QUIET;
        if is_measured && !idle.iter().zip(&quiet).any(is_awaited) {
            break elapsed;
        }
        std::thread::sleep(QUIET_LOOK);
    };
    let look = |(idle, (sources, begun)): (bool, (&Vec<&Source>, &u64))| Look {
        idle,
        iterations_per_second: begun_of(sources).saturating_sub(*begun) as f64 / elapsed.as_secs_f64().max(1e-3),
    };
    idle.into_iter().zip(members.iter().zip(&begun)).map(look).collect()
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
