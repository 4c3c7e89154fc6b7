//! What the captures became: waited for, fetched, and merged into one, phase by phase.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::spread;
use super::group;
use super::peer::{Peer, Started};
use super::phase::{Field, Phase};
use super::record::{ArtifactRecord, CaptureRecord, RankRecord};
use crate::client::types::{Capture, Rank};
use crate::client::{Wanted, protocol::Protocol};
use crate::merge;

/// How long a sidecar is asked to wait at a time.
const TURN: Duration = Duration::from_secs(5);
/// Before one that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often one that can't be reached is asked: it may have died, and then nothing is left on there.
const UNREACHABLE: u32 = 4;

/// Waits, fetches and merges. `stop`: nobody wants to wait any longer; what is known by then is what is told.
pub(super) async fn collect(
    field: &Field,
    phase: &mut Phase,
    several: bool,
    folder: &Path,
    merged: bool,
    stop: &CancellationToken,
) {
    let until = Instant::now() + field.wait;
    let number = phase.record.phase;
    let all = phase.started.iter().map(|(target, started)| async move {
        let peer = &field.peers[*target];
        let mut record = CaptureRecord {
            target: *target,
            url: peer.base.clone(),
            engine: started.protocol.name(),
            capture_id: started.capture_id.clone(),
            complete: Value::Null,
            warnings: started.words.clone(),
            ..CaptureRecord::default()
        };
        match started.protocol {
            Protocol::Stepscope => {
                one(peer, started, &mut record, folder, &name(peer, several.then_some(number)), until, stop).await
            }
            _ => record.warnings.push("the engine keeps its trace: its own output says where".into()),
        }
        record
    });
    phase.record.captures = join_all(all).await;
    group::say(&mut phase.record.captures, &phase.shared);
    let opened = |capture: &CaptureRecord| capture.ranks.iter().filter_map(|rank| rank.opened_at_ns).min();
    phase.record.skew.opened_ns = spread(phase.record.captures.iter().filter_map(opened));
    if merged && !stop.is_cancelled() {
        merge(phase, several.then_some(number), folder).await;
    }
}

/// What its trace is called, without endings: the merge calls it so too.
fn name(peer: &Peer, phase: Option<usize>) -> String {
    let place = peer.base.split_once("://").map_or(peer.base.as_str(), |(_, place)| place);
    let plain: String = place.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    match phase {
        Some(phase) => format!("phase{phase}-{}-{plain}", peer.index),
        None => format!("{}-{plain}", peer.index),
    }
}

async fn one(
    peer: &Peer,
    started: &Started,
    record: &mut CaptureRecord,
    folder: &Path,
    name: &str,
    until: Instant,
    stop: &CancellationToken,
) {
    let Some(id) = &started.capture_id else { return };
    let over = tokio::select! {
        over = until_over(peer, id, record, until) => over,
        () = stop.cancelled() => {
            record.warnings.push(format!("not waited for: `stepscope get {id} --url {}` fetches it", peer.base));
            return;
        }
    };
    if !over {
        return;
    }
    let wanted = Wanted { resource: "trace", format: "json.gz", extension: "json.gz", rank: None };
    let file = format!("{name}.json.gz");
    let path = folder.join(&file);
    let mut unseen = |_, _| ();
    let fetched = tokio::select! {
        fetched = peer.client.download(id, &wanted, &path, &mut unseen) => fetched,
        () = stop.cancelled() => {
            let _ = tokio::fs::remove_file(folder.join(format!("{file}.part"))).await;
            record.warnings.push(format!("not fetched: `stepscope get {id} --url {}` does", peer.base));
            return;
        }
    };
    match fetched {
        Ok(delivered) => {
            record.trace = Some(ArtifactRecord { file, bytes: delivered.bytes, about: "trace".into() });
        }
        Err(error) => record.warnings.push(format!("its trace could not be fetched: {}", line(&error.to_string()))),
    }
}

fn line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Asks until it is final; whether there is something to fetch.
async fn until_over(peer: &Peer, id: &str, record: &mut CaptureRecord, until: Instant) -> bool {
    let mut failures = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(TURN);
        let path = format!("stepscope/v1/captures/{id}?wait={:.3}", left.as_secs_f64());
        let problem = match peer.client.get(&path, left + TURN).await {
            Ok(answer) if answer.is_ok() => {
                let json = answer.json().unwrap_or_default();
                let capture: Capture = serde_json::from_value(json.clone()).unwrap_or_default();
                fill(record, &capture, &json);
                failures = 0;
                if capture.state == "cancelled" && capture.reason.is_none() {
                    record.warnings.push("it was stopped before its window opened".into());
                }
                if capture.is_final() {
                    return capture.state != "cancelled";
                }
                None
            }
            Ok(answer) => Some(answer.refusal()),
            Err(error) => Some(error.to_string()),
        };
        failures += u32::from(problem.is_some());
        if Instant::now() >= until || failures >= UNREACHABLE {
            record.warnings.push(match problem {
                Some(problem) => format!("it does not say how it went: {problem}"),
                None => format!(
                    "it is not over yet: `stepscope get {id} --url {}` fetches it later, and it ends by its caps at the latest",
                    peer.base
                ),
            });
            return false;
        }
        if problem.is_some() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn fill(record: &mut CaptureRecord, capture: &Capture, json: &Value) {
    record.state = Some(capture.state.clone());
    record.complete = json["complete"].clone();
    record.missing.clone_from(&capture.missing);
    record.ranks = capture.ranks.iter().map(rank).collect();
    for word in capture.warnings.iter().chain(&capture.reason) {
        if !record.warnings.contains(word) {
            record.warnings.push(word.clone());
        }
    }
}

fn rank(rank: &Rank) -> RankRecord {
    RankRecord {
        job: rank.job.clone(),
        group: rank.group.clone(),
        rank: rank.rank,
        state: rank.state.clone(),
        first_iteration: rank.first_iteration,
        last_iteration: rank.last_iteration,
        iterations: rank.iterations,
        opened_at_ns: rank.opened_at_ns,
        closed_at_ns: rank.closed_at_ns,
        closed_by: rank.closed_by.clone(),
    }
}

/// All traces of the phase into one. A merge that makes no sense is refused, and the single ones stay.
async fn merge(phase: &mut Phase, number: Option<usize>, folder: &Path) {
    let inputs: Vec<PathBuf> =
        phase.record.captures.iter().filter_map(|c| Some(folder.join(&c.trace.as_ref()?.file))).collect();
    if inputs.len() < 2 {
        phase.record.not_merged = Some(match inputs.len() {
            0 => "there is no trace".into(),
            _ => "there is one trace, which is all there is".into(),
        });
        return;
    }
    let file = number.map_or_else(|| "merged.json.gz".to_owned(), |number| format!("phase{number}-merged.json.gz"));
    let output = folder.join(&file);
    let wanted = merge::Wanted { inputs, output: output.clone(), ..merge::Wanted::default() };
    match tokio::task::spawn_blocking(move || merge::merge(&wanted)).await {
        Ok(Ok(report)) => {
            let bytes = std::fs::metadata(&output).map_or(0, |m| m.len());
            let about = json!({"events": report.events, "inputs": report.inputs.len(), "uncertainty_ns": report.uncertainty_ns});
            phase.record.merged = Some(ArtifactRecord { file, bytes, about: about.to_string() });
            let missing = report.refused.iter().map(|r| format!("merge: {} is not in it: {}", r.label, r.why));
            let twice = report.duplicates.iter().map(|words| format!("merge: {words}"));
            phase.warnings.extend(missing.chain(twice));
        }
        Ok(Err(error)) => phase.record.not_merged = Some(error.to_string()),
        Err(error) => phase.record.not_merged = Some(error.to_string()),
    }
}
