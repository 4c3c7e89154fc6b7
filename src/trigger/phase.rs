//! One phase: all targets started, as one, and stopped, as one.
//!
//! First every sidecar accepts a capture and holds it; then, when all that will be there are, every window is opened at
//! one moment, engines that can't be held among them. A target that is dead, slow or unwilling takes part in no more than
//! the timeouts, and is on record.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::{Moment, spread};
use super::group::{self, Groups};
use super::late::Late;
use super::peer::{Called, Failed, Peer, Ready, Started};
use super::record::{CallRecord, PhaseRecord, Skew};
use crate::client::StartBody;
use crate::client::protocol::Protocol;
use crate::client::types::Status;

/// How long a call that was given up is listened for.
const LISTEN: Duration = Duration::from_secs(600);
/// A held capture outlives the calls that lead to its opening by this.
const HOLD_SLACK: Duration = Duration::from_secs(10);

/// What every phase of a run has in common.
#[derive(Debug)]
pub(super) struct Field {
    pub peers: Vec<Arc<Peer>>,
    pub wanted: StartBody,
    /// For a start.
    pub timeout: Duration,
    /// For an engine's stop, and for captures to be done.
    pub wait: Duration,
    pub late: Late,
    /// Nobody wants to wait for starts any longer.
    pub hurry: CancellationToken,
}

/// A phase, open or over.
#[derive(Debug, Default)]
pub(super) struct Phase {
    pub record: PhaseRecord,
    pub starts: Vec<CallRecord>,
    pub stops: Vec<CallRecord>,
    /// With the place of its target.
    pub started: Vec<(usize, Started)>,
    pub warnings: Vec<String>,
    /// Groups that span targets.
    pub shared: Groups,
}

/// Starts all targets.
pub(super) async fn open(field: Arc<Field>, number: usize, name: Option<String>) -> Phase {
    let began = Moment::now();
    let mut phase = Phase::default();
    (phase.record.phase, phase.record.name) = (number, name);
    let ready = prepare(&field, number, began).await;
    let firsts = agree(&field, &ready, &mut phase).await;
    let deadline = Instant::now() + field.timeout;
    let calls = ready.into_iter().zip(&field.peers).enumerate().map(|(at, (ready, peer))| {
        let (peer, field, first) = (peer.clone(), field.clone(), firsts[at]);
        let task = ready.as_ref().ok().map(|ready| {
            let (peer, field, ready) = (peer.clone(), field.clone(), ready.clone());
            tokio::spawn(async move { peer.open(&ready, &field.wanted, first, LISTEN).await })
        });
        async move { opened(&field, number, &peer, ready, task, deadline, began).await }
    });
    // The calls go out when the tasks are made: all of them are, before any answer is waited for.
    let calls: Vec<_> = calls.collect();
    let called = join_all(calls).await;
    phase.record.start_duration_ns = Moment::now().since(began);
    let good = || called.iter().filter(|called| called.outcome.is_ok());
    phase.record.skew = Skew {
        calls_ns: spread(good().map(|called| called.sent.monotonic_ns)),
        answers_ns: spread(good().filter_map(|called| called.answered).map(|at| at.monotonic_ns)),
        agreed_ns: spread(good().filter_map(|called| called.outcome.as_ref().ok()?.agreed_at_ns)),
        opened_ns: None,
    };
    for (peer, called) in field.peers.iter().zip(called) {
        let mut record = record(peer, number, &called);
        if let Ok(started) = called.outcome {
            record.capture_id.clone_from(&started.capture_id);
            phase.started.push((peer.index, started));
        }
        phase.starts.push(record);
    }
    phase
}

/// Everybody at the edge, or why not.
async fn prepare(field: &Arc<Field>, number: usize, began: Moment) -> Vec<Result<Ready, Failed>> {
    let deadline = Instant::now() + field.timeout;
    let hold = field.timeout * 3 + HOLD_SLACK;
    let wanted = StartBody { hold_ms: Some(hold.as_millis() as u64), ..field.wanted.clone() };
    let tasks: Vec<_> = field
        .peers
        .iter()
        .map(|peer| {
            let (peer, wanted) = (peer.clone(), wanted.clone());
            tokio::spawn(async move { peer.prepare(&wanted, number > 1, deadline, LISTEN).await })
        })
        .collect();
    let waits = tasks.into_iter().zip(&field.peers).map(|(mut task, peer)| async move {
        match field.within(deadline, &mut task).await {
            Some(Ok(ready)) => ready,
            Some(Err(error)) => Err(Failed::new(error.to_string())),
            None => {
                field.late.preparing(peer, number, began, task);
                Err(field.too_late())
            }
        }
    });
    join_all(waits).await
}

impl Field {
    /// What the task gives by then.
    async fn within<T>(&self, deadline: Instant, task: &mut JoinHandle<T>) -> Option<Result<T, JoinError>> {
        tokio::select! {
            biased;
            outcome = task => Some(outcome),
            () = tokio::time::sleep_until(deadline) => None,
            () = self.hurry.cancelled() => None,
        }
    }

    fn too_late(&self) -> Failed {
        Failed::new(match self.hurry.is_cancelled() {
            true => "interrupted before it answered".into(),
            false => format!("no answer within {} s", self.timeout.as_secs_f64()),
        })
    }
}

/// For hosts of one group the iteration at which they all begin.
async fn agree(field: &Field, ready: &[Result<Ready, Failed>], phase: &mut Phase) -> Vec<Option<u64>> {
    let mut firsts = vec![None; ready.len()];
    let held = |(at, ready): (usize, &Result<Ready, Failed>)| match ready {
        Ok(Ready::Sidecar { status, held: true, .. }) => Some((at, status.as_ref().clone())),
        _ => None,
    };
    let seen: Vec<(usize, Status)> = ready.iter().enumerate().filter_map(held).collect();
    let seen: Vec<(usize, &Status)> = seen.iter().map(|(at, status)| (*at, status)).collect();
    phase.shared = group::shared(&seen);
    for (key, targets) in &phase.shared {
        // What they said before others were waited for is old by now.
        let now = join_all(targets.iter().map(|&at| field.peers[at].status(field.timeout))).await;
        let now: Vec<Status> = now.into_iter().flatten().collect();
        let first = group::first_iteration(key, &now.iter().collect::<Vec<_>>(), &field.wanted);
        for &at in targets {
            if firsts[at].replace(first).is_some_and(|other| other != first) {
                phase.warnings.push(format!(
                    "{} has ranks of several groups that span hosts: only one of them begins at one iteration; name it with --job",
                    field.peers[at].base
                ));
            }
        }
    }
    firsts
}

async fn opened(
    field: &Field,
    number: usize,
    peer: &Arc<Peer>,
    ready: Result<Ready, Failed>,
    task: Option<JoinHandle<Called<Started>>>,
    deadline: Instant,
    began: Moment,
) -> Called<Started> {
    let failed = |failed| Called {
        url: peer.url("start_profile"),
        sent: began,
        answered: None,
        body: None,
        outcome: Err(failed),
    };
    let (ready, mut task) = match (ready, task) {
        (Ok(ready), Some(task)) => (ready, task),
        (Err(error), _) => return failed(error),
        (Ok(_), None) => return failed(Failed::new("it was not called")),
    };
    let called = match field.within(deadline, &mut task).await {
        Some(Ok(called)) => called,
        Some(Err(error)) => failed(Failed::new(error.to_string())),
        None => {
            field.late.opening(peer, number, &ready, task);
            return failed(field.too_late());
        }
    };
    if let (Err(_), Ready::Sidecar { id, .. }) = (&called.outcome, ready) {
        field.late.refused(peer, number, id);
    }
    called
}

/// Stops what was started.
pub(super) async fn close(field: Arc<Field>, mut phase: Phase, reason: &'static str) -> Phase {
    let number = phase.record.phase;
    let stops = phase.started.iter().map(|(target, started)| {
        let peer = &field.peers[*target];
        let patience =
            if started.protocol == Protocol::Stepscope { field.timeout.max(STOP_PATIENCE) } else { field.wait };
        async move {
            let called = peer.stop(started, patience).await;
            let mut record = record(peer, number, &called);
            (record.stop_reason, record.capture_id) = (Some(reason), started.capture_id.clone());
            record
        }
    });
    phase.stops = join_all(stops).await;
    phase
}

/// A sidecar answers a stop at once; on a busy host that may be a moment.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

fn record<T>(peer: &Peer, phase: usize, called: &Called<T>) -> CallRecord {
    let failed = called.outcome.as_ref().err();
    CallRecord {
        url: called.url.clone(),
        sent_at_ns: called.sent.monotonic_ns,
        sent_at_iso: called.sent.iso(),
        status: failed.map_or(Some(200), |failed| failed.status),
        error: failed.map(|failed| match failed.missed {
            true => format!("missed: {}", failed.error),
            false => failed.error.clone(),
        }),
        stop_reason: None,
        target: peer.index,
        phase,
        engine: peer.protocol().map_or("unknown", Protocol::name),
        duration_ns: called.answered.map(|answered| answered.since(called.sent)),
        capture_id: None,
        body: called.body.clone(),
        late: None,
    }
}
