//! What `status` shows of the collector.

use crate::collector::Collector;
use crate::collector::source::Source;
use crate::wire::gate::State;

use super::handle::{RankStatus, Refused, Snapshot};
use super::profiling;

/// The collector's part of a snapshot.
pub(super) fn of(collector: &Collector) -> Snapshot {
    let (departed_records_total, departed_dropped_total) = collector.departed_totals();
    let mut ranks: Vec<RankStatus> =
        collector.sources().iter().filter(|s| s.is_alive() && s.problem().is_none()).map(rank).collect();
    ranks.sort_by(|a, b| (&a.job, &a.group, a.rank, a.pid).cmp(&(&b.job, &b.group, b.rank, b.pid)));
    let mut refused: Vec<Refused> = collector
        .refused()
        .map(|(path, reason)| Refused { segment: path.to_owned(), reason: reason.to_owned() })
        .collect();
    // One of a running capture is held on to, but it is of no more use than the others here.
    let broken = collector.sources().iter().filter_map(|s| Some((s.path(), s.problem()?)));
    refused.extend(broken.map(|(path, why)| Refused { segment: path.to_owned(), reason: why.to_owned() }));
    if let Some(problem) = collector.folder_problem() {
        refused.push(Refused { segment: collector.folder().to_owned(), reason: problem.to_owned() });
    }
    Snapshot {
        dir: collector.folder().to_owned(),
        ranks,
        refused,
        departed_records_total,
        departed_dropped_total,
        ..Snapshot::default()
    }
}

fn rank(source: &Source) -> RankStatus {
    let (identity, seen) = (source.identity(), source.observe());
    RankStatus {
        job: identity.job.clone(),
        group: identity.group.clone(),
        rank: identity.rank,
        world_size: identity.world_size,
        role: if identity.is_rank { "rank" } else { "source" },
        label: identity.label.clone(),
        engine: identity.engine.clone(),
        agent: identity.agent.clone(),
        pid: identity.pid,
        begun: seen.begun,
        ended: seen.ended,
        iterations_per_second: source.rate(),
        gate: match seen.gate.1 {
            State::Idle => "idle",
            State::Armed => "armed",
            State::Opening => "opening",
            State::Open => "open",
            State::Closing => "closing",
            State::Closed => "closed",
        },
        dropped_total: seen.dropped_total,
        records_total: source.records_total(),
        segment: source.path().to_owned(),
        capabilities: profiling::capabilities(source),
        pid_here: source.pid_here(),
    }
}
