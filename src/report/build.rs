//! From fragments and what the manifest says to a report: reads everything once, then puts the tables together.

use std::path::PathBuf;

use super::about::About;
use super::distribution::rounded;
use super::gpus::{GpuRecorder, utilization};
use super::measure::{Measure, SHARE, Tokens};
use super::model::{
    CaptureFacts, Loss, LossRow, PERCENTILES, Phase, PhaseRow, RankRow, Report, SCHEMA, Throughput, WindowFacts,
};
use super::overhead::overhead;
use super::proxied::ProxiedRecorder;
use super::requests::{RequestRecorder, Requests, STAGES};
use super::thresholds as limit;
use super::verdict::{Evidence, Thresholds, judge};
use crate::trace::export::{ExportSummary, RankSummary};
use crate::trace::fragment::FragmentIdentity;
use crate::trace::lifecycle::each_lifecycle;
use crate::trace::passed::each_passed;
use crate::trace::walk::Walk;

/// The report of a capture. A file that can't be used is named in it.
pub fn build(fragments: &[PathBuf], about: &About) -> Report {
    let mut walk = Walk::open(fragments, &about.meta);
    let identities = walk.identities();
    let mut measure = Measure::new(identities.clone());
    while let Some((at, step)) = walk.next() {
        measure.add(at, step);
    }
    measure.finish();
    let mut gpus = GpuRecorder::default();
    walk.each_counter(&mut |gpu, counter| gpus.add(gpu, counter));
    let mut requests = RequestRecorder::default();
    let recorded = each_lifecycle(fragments, &about.meta, &mut |lifecycle| requests.add(&lifecycle));
    let requests = requests.finish(recorded);
    let mut proxied = ProxiedRecorder::default();
    let passed = each_passed(fragments, &about.meta, &mut |passed| proxied.add(passed));
    let gpus = gpus.rows();
    let window = WindowFacts { wall_clock_stepped_ns: walk.wall_clock_stepped_ns(), ..window(&measure) };
    let ranks = window.ranks as usize;
    let utilization = utilization(&gpus, ranks, window.wall_ns);
    let verdict = judge(&evidence(&measure, &requests, utilization, about));
    let points = measure.points();
    Report {
        schema: SCHEMA,
        stepscope_version: about.meta.stepscope_version.clone(),
        capture: capture(&measure, about),
        window,
        verdict,
        phases: phases(&measure),
        throughput: throughput(&measure),
        ranks: rank_rows(&measure),
        groups: measure.groups.iter().map(|group| group.lockstep.row(&group.job, &group.group)).collect(),
        requests,
        proxied: proxied.finish(passed),
        gpus,
        overhead: overhead(&measure, about),
        loss: loss(&measure, &identities, &walk.summary(), about),
        kernels: None,
        thresholds: Thresholds::default(),
        percentiles: PERCENTILES.into(),
        points,
        slowest: measure.slowest,
        longest_gaps: measure.longest_gaps,
    }
}

fn capture(measure: &Measure, about: &About) -> CaptureFacts {
    let mut engines: Vec<String> = measure.lanes.iter().map(|lane| lane.identity.engine.clone()).collect();
    engines.sort_unstable();
    engines.dedup();
    CaptureFacts {
        capture_id: about.meta.capture_id.clone(),
        accepted_at: about.accepted_at.clone(),
        profiler: about.profiler.clone(),
        closed_by: about.closed_by.clone(),
        engines,
    }
}

fn window(measure: &Measure) -> WindowFacts {
    let recorded = || measure.lanes.iter().filter(|lane| lane.iterations > 0);
    let mut groups: Vec<usize> = recorded().map(|lane| lane.group).collect();
    groups.sort_unstable();
    groups.dedup();
    WindowFacts {
        ranks: recorded().count() as u64,
        groups: groups.len() as u64,
        first_iteration: recorded().filter_map(|lane| lane.first.map(|step| step.iteration.iteration)).min(),
        last_iteration: recorded().filter_map(|lane| lane.last.map(|step| step.iteration.iteration)).max(),
        iterations: recorded().map(|lane| lane.iterations).sum(),
        begin_ns: measure.begin_ns,
        wall_ns: measure.begin_ns.map_or(0, |begin_ns| measure.end_ns.saturating_sub(begin_ns)),
        ..WindowFacts::default()
    }
}

/// Ranks that work on batches of their own; those of a group that share theirs are one.
fn streams(measure: &Measure) -> f64 {
    let of =
        |group: &super::measure::Group| if group.lockstep.has_own_batches() { group.lockstep.members.len() } else { 1 };
    measure.groups.iter().map(of).sum::<usize>() as f64
}

fn phases(measure: &Measure) -> Vec<PhaseRow> {
    let all_ns = measure.all.time.sum();
    let streams = streams(measure);
    let kinds = Phase::KINDS.iter().zip(&measure.phases).filter(|(_, phase)| !phase.is_empty());
    let mut rows: Vec<PhaseRow> = kinds.map(|(&kind, phase)| phase.row(kind, all_ns, streams)).collect();
    rows.push(measure.all.row(Phase::All, all_ns, streams));
    rows
}

fn throughput(measure: &Measure) -> Throughput {
    let mut throughput = Throughput::default();
    let mut own = 0;
    for group in measure.groups.iter().filter(|group| group.end_ns > group.begin_ns) {
        let seconds = (group.end_ns - group.begin_ns) as f64 / 1e9;
        let is_own = group.lockstep.has_own_batches();
        own += usize::from(is_own);
        let Tokens { context, generation, .. } = if is_own { group.of_all } else { group.of_first };
        throughput.context_tokens_per_second += context as f64 / seconds;
        throughput.generation_tokens_per_second += generation as f64 / seconds;
        throughput.iterations_per_second =
            throughput.iterations_per_second.max(group.of_first.iterations as f64 / seconds);
    }
    throughput.context_tokens_per_second = rounded(throughput.context_tokens_per_second);
    throughput.generation_tokens_per_second = rounded(throughput.generation_tokens_per_second);
    throughput.iterations_per_second = rounded(throughput.iterations_per_second);
    throughput.counted = match (own, own == measure.groups.len()) {
        (0, _) => "once a group: its ranks share their batches".into(),
        (_, true) => "once a rank: the ranks of a group have batches of their own".into(),
        (_, false) => "once a rank in groups whose ranks have batches of their own, once a group in others".into(),
    };
    throughput
}

fn rank_rows(measure: &Measure) -> Vec<RankRow> {
    let row = |(at, lane): (usize, &super::measure::Lane)| {
        let lockstep = &measure.groups[lane.group].lockstep;
        let place = lockstep.members.iter().position(|&member| member == at).filter(|_| lockstep.compared > 0);
        let late = place.map(|place| &lockstep.lateness[place]);
        let id = &lane.identity;
        RankRow {
            job: id.job.clone(),
            group: id.group.clone(),
            rank: id.rank,
            label: id.label.clone(),
            pid: id.pid,
            first_iteration: lane.first.map(|step| step.iteration.iteration),
            last_iteration: lane.last.map(|step| step.iteration.iteration),
            iterations: lane.iterations,
            duration_ns: lane.duration.distribution(),
            slowest_share: place.and_then(|place| lockstep.share_last(place)),
            begin_late_p50_ns: late.and_then(|late| late.begin_late.quantile(0.5)),
            longer_p50_ns: late.and_then(|late| late.longer.quantile(0.5)),
        }
    };
    measure.lanes.iter().enumerate().map(row).collect()
}

fn evidence(measure: &Measure, requests: &Requests, utilization: Result<f64, String>, about: &About) -> Evidence {
    let [prefill, decode, mixed, ..] = &measure.phases;
    let ns = |recorder: &super::phases::PhaseRecorder| recorder.time.sum() as f64;
    // What a mixed iteration takes beyond a decode iteration is prefill; without such a median nobody can say.
    let typical = decode.time.quantile(0.5).filter(|_| decode.time.count() >= limit::MIN_COUNT);
    let (mixed_prefill, mixed_decode) = match typical {
        Some(typical) => {
            let beyond = (mixed.time.sum_above(typical) as f64).min(ns(mixed));
            (beyond, ns(mixed) - beyond)
        }
        None => (0.0, 0.0),
    };
    let (prefill_ns, decode_ns) = (ns(prefill) + mixed_prefill, ns(decode) + mixed_decode);
    let share = |recorder: &super::distribution::Recorder| Some(recorder.quantile(0.5)? as f64 / SHARE);
    let name = |at: usize| {
        let id = &measure.lanes[at].identity;
        if measure.groups.len() > 1 {
            format!("rank {} of group {}", id.rank, id.group)
        } else {
            format!("rank {}", id.rank)
        }
    };
    let queue = requests.stages.iter().find(|row| row.stage == STAGES[1]).map_or(0.0, |row| row.share);
    Evidence {
        iterations: measure.all.time.count(),
        prefill_ns,
        decode_ns,
        other_ns: (measure.all.time.sum() as f64 - prefill_ns - decode_ns).max(0.0),
        device: share(&measure.device_share).map(|share| (measure.device_share.count(), share)),
        gap_share: share(&measure.gap_share),
        utilization,
        groups: measure.groups.iter().filter_map(|group| group.lockstep.evidence(name)).collect(),
        queue: requests.recorded.then_some((requests.complete, queue)),
        profiler: about.profiler.clone(),
    }
}

fn loss(measure: &Measure, identities: &[FragmentIdentity], summary: &ExportSummary, about: &About) -> Loss {
    let row = |(i, (id, read)): (usize, (&FragmentIdentity, &RankSummary))| {
        let lane = measure.places.get(i).copied().flatten().map(|place| &measure.lanes[place]);
        let window = about.meta.ranks.iter().find(|w| w.job == id.job && w.group == id.group && w.rank == id.rank);
        let told = about.ranks.iter().find(|r| r.job == id.job && r.group == id.group && r.rank == id.rank);
        let (window, told) = (window.filter(|_| lane.is_some()), told.filter(|_| lane.is_some()));
        let recorded = lane.map_or(0, |lane| lane.iterations);
        LossRow {
            job: id.job.clone(),
            group: id.group.clone(),
            rank: id.rank,
            role: id.role.clone(),
            label: id.label.clone(),
            expected: told.map_or(recorded, |told| told.iterations),
            recorded,
            dropped: window.map_or(read.dropped_total, |window| window.dropped),
            cut_bytes: read.cut_bytes,
            disordered: read.disordered,
            unknown: read.unknown,
            without_end: lane.map_or(0, |lane| lane.without_end),
            closed_by: window.and_then(|window| window.closed_by.clone()),
        }
    };
    Loss {
        complete: about.meta.complete,
        missing: about.meta.missing.clone(),
        ranks: identities.iter().zip(&summary.ranks).enumerate().map(row).collect(),
        refused: summary.refused.clone(),
        gpu_values_dropped: about.gpu_values_dropped,
        gpus_absent: about.gpus_absent.clone(),
    }
}
