//! Answers that came too late. A start that was given up may have started all the same: it is listened for until the end
//! of the run, and what it started is stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::clock::{Moment, duration};
use super::peer::{Called, Failed, Peer, Ready, Started};

/// How long an answer that is of no use any more may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often one is called off that does not say that it heard.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(500);

/// What came of a call that was given up.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub target: usize,
    pub phase: usize,
    pub words: String,
}

/// All that is still listened for.
#[derive(Debug, Clone, Default)]
pub(super) struct Late {
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    target: usize,
    phase: usize,
    task: JoinHandle<String>,
}

impl Late {
    fn add(&self, peer: &Peer, phase: usize, task: JoinHandle<String>) {
        let waiting = Waiting { target: peer.index, phase, task };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
    }

    /// A target that was not at the edge in time.
    pub(super) fn preparing(
        &self,
        peer: &Arc<Peer>,
        phase: usize,
        began: Moment,
        task: JoinHandle<Result<Ready, Failed>>,
    ) {
        let there = peer.clone();
        let listen = async move {
            let ready = task.await;
            let after = duration(Moment::now().since(began));
            match ready {
                Ok(Ok(Ready::Sidecar { id, .. })) => off(&there, &id, &format!("it answered after {after}")).await,
                Ok(Ok(Ready::Engine(_))) => format!("it answered after {after}; nothing was started"),
                Ok(Err(failed)) => format!("after {after}: {}", failed.error),
                Err(error) => error.to_string(),
            }
        };
        self.add(peer, phase, tokio::spawn(listen));
    }

    /// A target whose opening call was not answered in time.
    pub(super) fn opening(&self, peer: &Arc<Peer>, phase: usize, ready: &Ready, task: JoinHandle<Called<Started>>) {
        let there = peer.clone();
        // A stop by its id ends a capture whether it opened before or not: its opening need not be listened for.
        let id = match ready {
            Ready::Sidecar { id, .. } => Some(id.clone()),
            Ready::Engine(_) => None,
        };
        let listen = async move {
            let Some(id) = id else {
                let Ok(Called { sent, outcome, .. }) = task.await else { return String::new() };
                let after = duration(Moment::now().since(sent));
                let Ok(started) = outcome else { return format!("after {after} it refused: nothing was started") };
                return match there.stop(&started, PATIENCE).await.outcome {
                    Ok(()) => format!("it started after {after} and was stopped"),
                    Err(failed) => format!("it started after {after} and could not be stopped: {}", failed.error),
                };
            };
            off(&there, &id, "whether it opened was not known").await
        };
        self.add(peer, phase, tokio::spawn(listen));
    }

    /// A target that is held and could not be opened.
    pub(super) fn refused(&self, peer: &Arc<Peer>, phase: usize, id: String) {
        let there = peer.clone();
        self.add(peer, phase, tokio::spawn(async move { off(&there, &id, "it was not opened").await }));
    }

    /// What has come by then; what has not is left, and said.
    pub(super) async fn settle(&self, until: Instant) -> Vec<Came> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut came = Vec::new();
        for Waiting { target, phase, mut task } in waiting {
            let words = match tokio::time::timeout_at(until, &mut task).await {
                Ok(Ok(words)) => words,
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    task.abort();
                    "no answer until the end of the run: a capture that is held lapses by itself, an open one ends by its caps".into()
                }
            };
            came.push(Came { target, phase, words });
        }
        came
    }
}

/// Until it is off, or nobody is there to be told.
async fn off(peer: &Peer, id: &str, why: &str) -> String {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let Err(failed) = peer.call_off(id, PATIENCE).await else {
            return format!("{why}: capture {id} was called off");
        };
        if tries == 0 || failed.status.is_some_and(|status| status < 500) {
            return format!("{why}, and capture {id} could not be called off: {}", failed.error);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
