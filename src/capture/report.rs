//! From a session to what is said of it: the manifest's groups and ranks, why it ended, and what is missing.

use super::manifest::{CallReport, ClosedBy, Complete, GroupReport, Manifest, ProfilerReport, RankReport, State};
use super::profiling::{code_name, describe_code};
use super::request::Profiler;
use super::session::{Group, Phase, Rank, Session};
use crate::wire::gate::Cause;

/// Brings the manifest up to what the session knows now.
pub(super) fn update(manifest: &mut Manifest, session: &Session) {
    manifest.groups = session.groups.iter().enumerate().map(|(i, g)| group(session, i, g)).collect();
    manifest.ranks = session.ranks.iter().map(|r| rank(r, &session.groups[r.group])).collect();
    manifest.records = manifest.ranks.iter().map(|r| r.records).sum();
    manifest.dropped = manifest.ranks.iter().fold(0, |sum: u64, r| sum.saturating_add(r.dropped));
    manifest.fragment_bytes = session.bytes();
    manifest.closed_by = session.is_over().then(|| closed_by(session)).flatten();
}

/// When it is over: how it ended, and the manifest's last words or, where a trace can be written, those before.
pub(super) fn conclude(manifest: &mut Manifest, session: &Session, failed: Option<String>) {
    update(manifest, session);
    if let Some(reason) = failed {
        manifest.state = State::Failed;
        manifest.closed_by = Some(ClosedBy::Failed);
        manifest.reason = Some(reason);
    } else if session.is_cancelled() {
        manifest.state = State::Cancelled;
    } else {
        manifest.state = State::Exporting;
        return judge(manifest, session);
    }
    manifest.finished_at = Some(jiff::Timestamp::now().to_string());
}

/// Whether all is there, and what is not.
fn judge(manifest: &mut Manifest, session: &Session) {
    let mut missing = Vec::new();
    for group in &manifest.groups {
        if !group.missing_ranks.is_empty() {
            let (job, name) = (&group.job, &group.group);
            missing.push(format!(
                "ranks {:?} of {} in group {name} of job {job} were not attached",
                group.missing_ranks, group.world_size
            ));
        }
    }
    for (report, rank) in manifest.ranks.iter().zip(&session.ranks) {
        let who = format!("rank {} of group {} of job {}", report.rank, report.group, report.job);
        missing.extend(missing_of(report, rank).into_iter().map(|what| format!("{who}: {what}")));
        if rank.calls.running {
            missing.push(format!(
                "{who}: its tool had not let go of the engine when the capture ended; look at what it wrote"
            ));
        }
        if manifest.profiler == Profiler::Cuda.as_str() && rank.lead.leads {
            missing.extend(uncalled(rank).into_iter().map(|what| format!("{who}: {what}")));
        }
    }
    for source in manifest.sources.iter().filter(|source| source.dropped > 0) {
        let who = if source.label.is_empty() { "a source" } else { &source.label };
        missing.push(format!(
            "{who} (pid {}) of job {}: {} records were dropped because there was no room for them",
            source.pid, source.job, source.dropped
        ));
    }
    if let Some(native) = &manifest.native {
        missing.extend(native.problems.iter().map(|problem| format!("the engine's own profiler: {problem}")));
    }
    if let Some(uneven) = uneven(manifest) {
        missing.push(uneven);
    }
    let cuda = manifest.profiler == Profiler::Cuda.as_str();
    let blind = cuda && !session.ranks.iter().any(|r| r.lead.tool);
    manifest.complete = match (missing.is_empty(), blind) {
        (false, _) => Complete::No,
        // What a tool that nobody sees recorded, nobody knows.
        (true, true) => Complete::Unknown,
        (true, false) => Complete::Yes,
    };
    manifest.missing.append(&mut missing);
}

fn group(session: &Session, index: usize, group: &Group) -> GroupReport {
    let mut ranks: Vec<u32> = session.ranks.iter().filter(|r| r.group == index).map(|r| r.identity.rank).collect();
    ranks.sort_unstable();
    GroupReport {
        job: group.key.0.clone(),
        group: group.key.1.clone(),
        accepted_iteration: group.opening.accepted_iteration,
        first_iteration: group.opening.first_iteration,
        last_iteration: group.last_iteration.filter(|&last| last >= group.opening.first_iteration),
        world_size: group.world_size,
        ranks,
        missing_ranks: group.missing_ranks.clone(),
        withdrawn: group.withdrawn,
    }
}

/// First iteration, last iteration and count of what one rank captured.
fn captured(rank: &Rank) -> Option<(u64, u64)> {
    let first = rank.facts.map(|f| f.first_iteration);
    match (rank.phase, rank.facts) {
        (Phase::Closed, Some(f)) => Some((f.first_iteration, f.last_iteration)),
        (Phase::Open | Phase::Gone(_), _) if rank.recorded.0 > 0 => {
            Some((first.unwrap_or(rank.recorded.1), rank.recorded.2))
        }
        _ => None,
    }
    .filter(|(first, last)| first <= last)
}

fn rank(rank: &Rank, group: &Group) -> RankReport {
    let captured = captured(rank);
    let facts = rank.facts;
    RankReport {
        job: rank.identity.job.clone(),
        group: rank.identity.group.clone(),
        rank: rank.identity.rank,
        label: rank.identity.label.clone(),
        engine: rank.identity.engine.clone(),
        pid: rank.identity.pid,
        state: match rank.phase {
            Phase::Waiting => "waiting",
            Phase::Open => "open",
            Phase::Closed => "closed",
            Phase::Missed => "missed",
            Phase::Cancelled => "cancelled",
            Phase::Gone(_) => "lost",
        }
        .into(),
        accepted_iteration: group.opening.accepted_iteration,
        first_iteration: captured.map(|c| c.0),
        last_iteration: captured.map(|c| c.1),
        iterations: captured.map_or(0, |(first, last)| (last - first).saturating_add(1)),
        records: rank.records,
        dropped: rank.dropped,
        lost: rank.lost,
        closed_by: rank_closed_by(rank),
        opened_at_ns: facts.map(|f| f.open.realtime_ns).filter(|&ns| ns != 0),
        closed_at_ns: facts.map(|f| f.close.realtime_ns).filter(|&ns| ns != 0),
        mid_iteration: facts.is_some_and(|f| f.mid_iteration),
        overlapped: facts.is_some_and(|f| f.overlapped),
        overrun_iterations: facts.map_or(0, |f| f.overrun),
        pace_before: rank.pace_before,
        pace_after: None,
        profiler: profiler(rank),
    }
}

fn profiler(rank: &Rank) -> Option<ProfilerReport> {
    let calls = &rank.calls;
    let call = |code: Option<u32>, duration_ns| {
        code.map(|code| CallReport { code, name: code_name(code).map(Into::into), duration_ns })
    };
    let report = ProfilerReport {
        leader: rank.lead.leads,
        session: Some(rank.identity.tool_session.clone()).filter(|s| !s.is_empty()),
        start_iteration: calls.iteration,
        start: call(calls.start_code, calls.start_ns),
        stop: call(calls.stop_code, calls.stop_ns),
        synchronize_open: call(calls.open_synchronize_code, calls.open_synchronize_ns),
        synchronize_close: call(calls.close_synchronize_code, calls.close_synchronize_ns),
        capture_range: calls.range && calls.range_ended,
        iteration_ranges: calls.iteration_ranges,
        stopped_by: calls.stopped.then(|| if calls.by_helper { "helper" } else { "engine" }.into()),
        no_context: calls.no_context,
        device_times_missed: calls.device_times_missed,
    };
    let nothing = ProfilerReport {
        leader: report.leader,
        start_iteration: report.start_iteration,
        stopped_by: report.stopped_by.clone(),
        ..ProfilerReport::default()
    };
    (report != nothing).then_some(report)
}

fn rank_closed_by(rank: &Rank) -> Option<ClosedBy> {
    match rank.phase {
        Phase::Waiting | Phase::Open | Phase::Cancelled => None,
        Phase::Missed => Some(ClosedBy::Missed),
        Phase::Gone(by) => Some(by),
        Phase::Closed => rank.facts.map(|f| match f.cause {
            Cause::MaxIterations => ClosedBy::MaxIterations,
            Cause::MaxDuration => ClosedBy::MaxDuration,
            Cause::MaxEvents => ClosedBy::MaxEvents,
            Cause::MaxBytes => ClosedBy::MaxBytes,
            Cause::Lease => ClosedBy::Lease,
            Cause::Exit => ClosedBy::Exit,
            Cause::Shutdown => ClosedBy::Shutdown,
            Cause::Failed => ClosedBy::Failed,
            Cause::Missed => ClosedBy::Missed,
            Cause::None | Cause::Stop | Cause::Superseded => ClosedBy::Stop,
        }),
    }
}

/// Why the capture as a whole ended: whoever stopped it, if that came before the ranks' own end; else the first cause
/// among them that is not the plain one.
fn closed_by(session: &Session) -> Option<ClosedBy> {
    let causes = || session.ranks.iter().filter_map(rank_closed_by);
    let plain = ClosedBy::MaxIterations;
    if let Some(by) = session.stopped_by()
        && causes().any(|c| c != plain) | causes().next().is_none()
    {
        return Some(by);
    }
    causes().find(|&c| c != plain).or_else(|| causes().next())
}

fn missing_of(report: &RankReport, rank: &Rank) -> Vec<String> {
    let mut missing = Vec::new();
    match rank_closed_by(rank) {
        Some(ClosedBy::Lease) => missing.push("closed by itself, because the sidecar did not renew its lease".into()),
        Some(ClosedBy::Exit) => missing.push("the engine exited inside the window".into()),
        Some(ClosedBy::Died) => missing.push("its process died".into()),
        Some(ClosedBy::Lost) => missing.push("it did not answer, or its segment's memory is gone".into()),
        Some(ClosedBy::Missed) => missing.push("it saw the window too late and did not open it".into()),
        Some(ClosedBy::Shutdown) => missing.push("closed because the sidecar shut down".into()),
        _ => {}
    }
    if report.mid_iteration {
        missing.push(format!("iteration {} is cut off", report.last_iteration.unwrap_or_default()));
    }
    if report.dropped > 0 {
        missing.push(format!("{} records were dropped because there was no room for them", report.dropped));
    }
    if report.lost > 0 {
        missing.push(format!(
            "{} records died with the sidecar, which had them in its memory alone because its disk stood still",
            report.lost
        ));
    }
    let unrecorded = report.iterations.saturating_add(report.overrun_iterations).saturating_sub(rank.recorded.0);
    if unrecorded > 0 {
        missing.push(format!("{unrecorded} iterations have no record"));
    }
    missing
}

/// Of a rank that was to make the profiler's calls: those that failed, or were not made.
fn uncalled(rank: &Rank) -> Vec<String> {
    let calls = &rank.calls;
    let say = |name, code: Option<u32>| match code {
        Some(0) => None,
        Some(code) => Some(format!("{name} answered {}", describe_code(code))),
        None => Some(format!("{name} was not called")),
    };
    if calls.start_code.is_none() {
        return say("cuProfilerStart", None).into_iter().collect();
    }
    let mut missing: Vec<String> = [say("cuProfilerStart", calls.start_code), say("cuProfilerStop", calls.stop_code)]
        .into_iter()
        .flatten()
        .collect();
    let waits = [calls.open_synchronize_code, calls.close_synchronize_code];
    missing.extend(waits.into_iter().flatten().filter_map(|code| say("cuCtxSynchronize", Some(code))));
    missing
}

fn uneven(manifest: &Manifest) -> Option<String> {
    for group in &manifest.groups {
        let mut spans: Vec<_> = manifest
            .ranks
            .iter()
            .filter(|r| (&r.job, &r.group) == (&group.job, &group.group))
            .map(|r| (r.first_iteration, r.last_iteration))
            .collect();
        spans.dedup();
        if spans.len() > 1 {
            return Some(format!(
                "the ranks of group {} of job {} did not cover the same iterations",
                group.group, group.job
            ));
        }
    }
    None
}
