//! What is drained for a capture, and what its fragments begin with. Called by `running`.

use crate::collector::Collector;
use crate::collector::source::SourceIdentity;
use crate::trace::fragment::{FragmentIdentity, SOURCE};

use super::events::Events;
use super::lanes::RankRings;
use super::manifest::CaptureId;
use super::session::Session;
use super::store::Unfinished;

/// What is to be drained, and what the fragments begin with: ranks, then processes that run no iterations.
pub(super) fn to_record(
    collector: &Collector,
    id: &CaptureId,
    session: &Session,
    events: &Events,
) -> Vec<(RankRings, Unfinished)> {
    let source = |id| collector.sources().iter().find(|s| s.id() == id);
    let ranks = session.ranks.iter().map(|rank| {
        let first_iteration = session.groups[rank.group].opening.first_iteration;
        (rank.source, rank.generation, "rank", first_iteration)
    });
    let others = events.sources().map(|(id, generation)| (id, generation, SOURCE, 0));
    let all = ranks.chain(others);
    all.filter_map(|(at, generation, role, first_iteration)| {
        let source = source(at)?;
        let SourceIdentity { job, group, rank, world_size, label, engine, pid, .. } = source.identity().clone();
        let identity = FragmentIdentity {
            capture_id: id.0.clone(),
            job,
            group,
            rank,
            world_size,
            label,
            engine,
            pid,
            role: role.into(),
            segment_instance: at.0,
            generation,
            first_iteration,
            ticks_per_second: source.ticks_per_second(),
            gpus: Vec::new(),
        };
        let a = source.anchor();
        let anchor = (a.ticks, a.monotonic_ns, a.realtime_ns);
        Some((source.rings(), Unfinished { identity, anchor, dropped_total: source.dropped_total() }))
    })
    .collect()
}
