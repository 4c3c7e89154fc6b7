//! Taking up a capture whose sidecar died: its fragments are reopened, its ranks are looked for, and it is ended in order.
//!
//! What the rings still hold is fetched; the absolute ring index of each block keeps anything from being kept twice. A
//! rank whose segment is gone ends where its fragment ends.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::collector::source::{SourceId, SourceIdentity};
use crate::trace::event::Event;
use crate::trace::fragment::{FragmentReader, FragmentWriter};
use crate::wire::clock::monotonic_ns;

use super::manifest::{ClosedBy, GroupReport, Manifest};
use super::running::Running;
use super::session::{Group, Limits, Phase, Rank, Session};
use super::store::Store;
use super::window::Opening;

/// How long a segment may take to be let go by the sidecar that died.
const ABSENT_NS: u64 = 2_500_000_000;

/// Rebuilds the session from manifest and fragments, already told to stop.
pub(super) fn resume(store: &Store, manifest: &Manifest, lease: Duration) -> Running {
    let mut manifest = manifest.clone();
    let groups: Vec<Group> = manifest.groups.iter().map(group).collect();
    let (mut ranks, mut fragments) = (Vec::new(), BTreeMap::new());
    for path in store.fragment_files(&manifest.capture_id).unwrap_or_default() {
        let (writer, recovered) = match FragmentWriter::append(&path) {
            Ok(opened) => opened,
            Err(error) => {
                manifest.missing.push(format!("a fragment could not be taken up: {error}"));
                continue;
            }
        };
        if recovered.cut_bytes > 0 {
            manifest.warnings.push(format!("{} bytes of a torn batch were cut", recovered.cut_bytes));
        }
        let identity = recovered.identity;
        let key = (identity.job.clone(), identity.group.clone());
        let Some(group) = groups.iter().position(|g| g.key == key) else { continue };
        let source = SourceId(identity.segment_instance);
        let (records, recorded) = recorded(&path);
        fragments.insert(source, writer);
        ranks.push(Rank {
            source,
            identity: SourceIdentity {
                job: identity.job,
                group: identity.group,
                rank: identity.rank,
                world_size: identity.world_size,
                is_rank: true,
                engine: identity.engine,
                label: identity.label,
                agent: String::new(),
                pid: identity.pid,
            },
            group,
            generation: identity.generation,
            phase: Phase::Waiting,
            facts: None,
            recorded,
            records,
            dropped: 0,
        });
    }
    let no_limits = Limits { duration_ns: u64::MAX, wait_ns: u64::MAX, events: 0, bytes: 0 };
    let now_ns = monotonic_ns();
    let mut session = Session::new(groups, ranks, no_limits, now_ns);
    session.expect_absent_until(now_ns + ABSENT_NS);
    session.stop(ClosedBy::SidecarDied, now_ns);
    manifest.warnings.push("the sidecar died while this capture ran; another one ended it".into());
    Running::new(session, manifest, fragments, lease)
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

/// All records of a fragment; and of its iterations how many, the first and the last.
fn recorded(path: &std::path::Path) -> (u64, (u64, u64, u64)) {
    let (mut records, mut iterations) = (0, (0, u64::MAX, 0));
    let Ok(mut reader) = FragmentReader::open(path) else { return (0, (0, 0, 0)) };
    while let Ok(Some(block)) = reader.next_block() {
        for event in block.events() {
            records += 1;
            if let Some(Event::Iteration(i)) = event {
                iterations = (iterations.0 + 1, iterations.1.min(i.iteration), iterations.2.max(i.iteration));
            }
        }
    }
    (records, if iterations.0 == 0 { (0, 0, 0) } else { iterations })
}
