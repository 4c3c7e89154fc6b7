//! Taking up a capture whose sidecar died: its fragments are reopened, its ranks are looked for, and it is ended in order.
//!
//! What the rings still hold is fetched; the absolute ring index of each block keeps anything from being kept twice. A
//! rank whose segment is gone ends where its fragment ends. The manifest names the fragments that were still to come; one
//! of them is made as ever, if its rank has records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::collector::profiling::ProfilerCalls;
use crate::collector::source::{SourceId, SourceIdentity};
use crate::trace::fragment::{FragmentError, FragmentIdentity, FragmentReader, FragmentWriter, SOURCE};
use crate::wire::clock::monotonic_ns;

use super::beside::gpus::GpuCounters;
use super::beside::proxied::Proxied;
use super::clocks::Clocks;
use super::lanes::{Lane, Recording};
use super::manifest::{ClosedBy, GroupReport, Manifest, SourceReport};
use super::profiling::Lead;
use super::progress::{Kept, Progress};
use super::session::{Group, Limits, Phase, Rank, Session};
use super::store::{Store, Unfinished};
use super::window::Opening;

/// How long a segment may take to be let go by the sidecar that died.
const ABSENT_NS: u64 = 2_500_000_000;

/// An interrupted capture, ready to be ended.
pub(super) struct Resumed {
    pub session: Session,
    pub manifest: Manifest,
    /// Its lanes are in the order of the session's ranks, and none is attached.
    pub recording: Recording,
}

/// Rebuilds the session from manifest and fragments, already told to stop. Reads all fragments.
pub(super) fn resume(store: &Store, manifest: &Manifest) -> Resumed {
    let mut manifest = manifest.clone();
    let id = manifest.capture_id.clone();
    let groups: Vec<Group> = manifest.groups.iter().map(group).collect();
    let unfinished = store.unfinished(&id).into_iter().filter(|u| u.identity.capture_id == id.0);
    let mut to_come: BTreeMap<PathBuf, Unfinished> = unfinished.map(|u| (store.fragment(&u.identity), u)).collect();
    let (mut ranks, mut lanes, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    manifest.request_moments = 0;
    for path in store.fragment_files(&id).unwrap_or_default() {
        let (fragment, recovered) = match FragmentWriter::append(&path) {
            Ok(opened) => opened,
            // Torn while it was made: nothing was in it, and it is made anew.
            Err(FragmentError::NotAFragment { .. }) if to_come.contains_key(&path) => {
                let _ = std::fs::remove_file(&path);
                continue;
            }
            Err(error) => {
                manifest.missing.push(format!("a fragment could not be taken up: {error}"));
                continue;
            }
        };
        let unfinished = to_come.remove(&path);
        if recovered.cut_bytes > 0 {
            manifest.warnings.push(format!("{} bytes of a torn batch were cut", recovered.cut_bytes));
        }
        let identity = recovered.identity;
        let (kept, clocks) = found(&path, fragment.bytes());
        manifest.request_moments += kept.moments;
        if !identity.runs_iterations() {
            // Its rings are not looked for: what it told stands in its fragment as far as it was fetched.
            sources.push(source(&identity, kept));
            continue;
        }
        let Some(group) = group_of(&groups, &identity) else { continue };
        ranks.push(rank(&identity, group, kept));
        // It has its first anchor: what is said of that here is not used.
        let unfinished = unfinished.unwrap_or(Unfinished { identity, anchor: (0, 0, 0), dropped_total: 0 });
        lanes.push(Lane { rings: None, unfinished, fragment: Some(fragment), kept, clocks });
    }
    if !sources.is_empty() || to_come.values().any(|unfinished| unfinished.identity.role == SOURCE) {
        let said = "what processes that run no iterations told is in it as far as the sidecar that died had written it";
        manifest.warnings.push(said.into());
    }
    for unfinished in to_come.into_values().filter(|unfinished| unfinished.identity.runs_iterations()) {
        let Some(group) = group_of(&groups, &unfinished.identity) else { continue };
        ranks.push(rank(&unfinished.identity, group, Kept::default()));
        lanes.push(Lane::new(None, unfinished));
    }
    manifest.sources = sources;
    let no_limits = Limits { duration_ns: u64::MAX, wait_ns: u64::MAX, events: 0, bytes: 0 };
    let now_ns = monotonic_ns();
    let mut session = Session::new(groups, ranks, no_limits, now_ns);
    session.expect_absent_until(now_ns + ABSENT_NS);
    session.stop(ClosedBy::SidecarDied, now_ns);
    manifest.warnings.push("the sidecar died while this capture ran; another one ended it".into());
    let progress = Arc::new(Progress::new(lanes.iter().map(|lane| lane.kept).collect()));
    let gpus = GpuCounters::left_over(store, &id);
    let proxied = Proxied::nothing(&id, "");
    progress.set_gpus(gpus.report(), 0);
    Resumed { session, manifest, recording: Recording { id, lanes, gpus, proxied, progress, failed: None } }
}

/// What is said of a process that runs no iterations. How much it dropped nobody knows any more.
fn source(identity: &FragmentIdentity, kept: Kept) -> SourceReport {
    SourceReport {
        job: identity.job.clone(),
        label: identity.label.clone(),
        engine: identity.engine.clone(),
        pid: identity.pid,
        records: kept.records,
        dropped: 0,
    }
}

fn group_of(groups: &[Group], identity: &FragmentIdentity) -> Option<usize> {
    groups.iter().position(|g| g.key.0 == identity.job && g.key.1 == identity.group)
}

fn rank(identity: &FragmentIdentity, group: usize, kept: Kept) -> Rank {
    Rank {
        source: SourceId(identity.segment_instance),
        identity: SourceIdentity {
            job: identity.job.clone(),
            group: identity.group.clone(),
            rank: identity.rank,
            world_size: identity.world_size,
            is_rank: true,
            engine: identity.engine.clone(),
            label: identity.label.clone(),
            agent: String::new(),
            pid: identity.pid,
            tool_session: String::new(),
        },
        group,
        generation: identity.generation,
        phase: Phase::Waiting,
        facts: None,
        recorded: kept.iterations,
        records: kept.records,
        dropped: 0,
        lost: kept.lost,
        pace_before: None,
        lead: Lead::default(),
        calls: ProfilerCalls::default(),
    }
}

fn group(report: &GroupReport) -> Group {
    let opening = Opening { first_iteration: report.first_iteration, accepted_iteration: report.accepted_iteration };
    let key = (report.job.clone(), report.group.clone());
    Group::new(
        key,
        opening,
        report.last_iteration,
        report.withdrawn,
        report.world_size,
        report.missing_ranks.clone(),
        0,
    )
}

/// What is in a fragment.
fn found(path: &Path, bytes: u64) -> (Kept, Clocks) {
    let (mut kept, mut clocks) = (Kept { bytes, ..Kept::default() }, Clocks::default());
    let Ok(mut reader) = FragmentReader::open(path) else { return (kept, clocks) };
    while let Ok(Some(block)) = reader.next_block() {
        kept.add(block.events(), 0);
        clocks.see(block.anchor);
    }
    (kept, clocks)
}
