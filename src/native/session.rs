//! One session of an engine's profiler, beside a capture: started so that its first iteration is the window's, stopped when
//! the window has closed, and its files looked for.
//!
//! ```text
//! start ─► on ─► stop ─► collect ─► over
//!   │ 409: the session of an earlier start is still set: stop, then once more
//! ```
//!
//! A start that failed is followed by a stop all the same: an answer that did not come says nothing of what the engine did. One
//! that was never sent is not: the session that such a stop would end is somebody else's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::capture::manifest::NativeCall;
use crate::capture::native::{Facts, Phase, Talk, Told, Wanted};
use crate::client::Client;

use super::engine::{self, Identity};
use super::folder::{self, Listing};
use super::kind::Kind;

/// How long a start may take: an engine looks at it between two iterations.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// An engine that takes no delay is started at the latest so many iterations before the window: rather too many in its files
/// than too few.
const LEAST_AHEAD: u64 = 16;
/// How often the folder is looked at while the engine writes.
const LOOK: Duration = Duration::from_millis(250);
/// How long after the stop's answer files may take to be seen: a shared file system may be late.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

/// All that a session needs.
pub(super) struct Session {
    pub(super) http: Client,
    pub(super) given: Option<Kind>,
    pub(super) folder: Option<PathBuf>,
    /// How long the engine may take to stop and to write.
    pub(super) patience: Duration,
    pub(super) wanted: Wanted,
    pub(super) talk: Arc<Talk>,
}

impl Session {
    /// From start to files. Never fails: what went wrong is in the facts.
    pub(super) async fn run(self, known: Option<Identity>) {
        self.talk.facts().folder.clone_from(&self.folder);
        let identity = match known {
            Some(identity) => Ok(identity),
            None => engine::identify(&self.http, self.given).await,
        };
        match identity {
            Ok(identity) => self.go_through(&identity).await,
            Err(problem) => {
                self.talk.facts().problems.push(problem);
                // Whoever it is, a stop is the same call.
                if self.wanted.taken_up {
                    self.end(None).await;
                }
            }
        }
        self.enter(Phase::Over);
    }

    async fn go_through(&self, identity: &Identity) {
        {
            let mut facts = self.talk.facts();
            facts.kind = identity.kind.as_str().into();
            facts.version.clone_from(&identity.version);
        }
        let mut told = self.talk.listen();
        let before = if self.wanted.taken_up {
            None
        } else {
            // At the same time: nothing is written before an iteration has gone by.
            let (before, ()) = tokio::join!(self.listed(), self.start(identity.kind, &told));
            before
        };
        let told_to_stop = self.wanted.taken_up || told.wait_for(|told| told.stop).await.is_ok();
        if !told_to_stop {
            return; // the sidecar goes down: the next one stops it
        }
        let was_asked = self.wanted.taken_up || self.talk.facts().sent.is_some();
        if was_asked {
            self.end(before.as_ref()).await;
        }
    }

    async fn end(&self, before: Option<&Listing>) {
        self.stop(before).await;
        self.collect(before).await;
    }

    fn enter(&self, phase: Phase) {
        self.talk.facts().phase = phase;
    }

    async fn listed(&self) -> Option<Listing> {
        let folder = self.folder.clone()?;
        let listed = tokio::task::spawn_blocking(move || folder::list(&folder)).await;
        listed.ok()?.ok()
    }

    async fn start(&self, kind: Kind, told: &watch::Receiver<Told>) {
        let mut begun = self.wanted.begun.max(told.borrow().begun); // who it is may have taken a while
        if !kind.takes_a_delay() {
            let ahead = self.wanted.call_iterations.max(LEAST_AHEAD);
            let is_near = |told: &Told| told.stop || told.begun.saturating_add(ahead) >= self.wanted.first_iteration;
            begun = told.clone().wait_for(is_near).await.map_or(begun, |told| told.begun);
        }
        let mut call = self.send_start(kind, told, begun).await;
        if call.status == Some(409) {
            self.talk.facts().warnings.push(
                "the engine's profiler still had a session of somebody's: it was stopped, and what it wrote is not in this \
                 capture"
                    .into(),
            );
            let stop = engine::call(&self.http, "stop_profile", None, self.patience).await;
            if let Some(problem) = stop.problem {
                self.talk.facts().problems.push(format!("the stop of the engine's earlier session: {problem}"));
            }
            begun = told.borrow().begun;
            call = self.send_start(kind, told, begun).await;
        }
        let mut facts = self.talk.facts();
        if let Some(problem) = &call.problem {
            facts.problems.push(format!("the engine's start_profile: {problem}"));
        }
        facts.start = Some(call);
        facts.phase = Phase::On;
    }

    async fn send_start(&self, kind: Kind, told: &watch::Receiver<Told>, begun: u64) -> NativeCall {
        let Wanted { first_iteration, max_iterations, .. } = self.wanted;
        let is_past = max_iterations > 0 && begun >= first_iteration.saturating_add(max_iterations - 1);
        if is_past || told.borrow().stop {
            let problem =
                "it was not sent: the window was over, or called off, before the engine could be asked".to_owned();
            return NativeCall { status: None, duration_ms: 0, problem: Some(problem) };
        }
        let body = kind.start_body(&self.wanted, begun);
        self.talk.facts().sent = Some(body.clone());
        engine::call(&self.http, "start_profile", Some(&body), START_PATIENCE).await
    }

    /// Until the engine has let go.
    async fn stop(&self, before: Option<&Listing>) {
        self.enter(Phase::Stopping);
        let call = engine::call(&self.http, "stop_profile", None, self.patience);
        tokio::pin!(call);
        let call = loop {
            tokio::select! {
                call = &mut call => break call,
                () = tokio::time::sleep(LOOK) => {
                    if let Some(now) = self.listed().await {
                        self.talk.facts().bytes = folder::bytes(&self.fresh(&now, before));
                    }
                }
            }
        };
        let mut facts = self.talk.facts();
        let started = facts.start.as_ref().is_none_or(|start| start.problem.is_none());
        // One that never started has nothing to stop, and some engines call that an error.
        if let Some(problem) = call.problem.as_ref().filter(|_| started) {
            facts.problems.push(format!("the engine's stop_profile: {problem}"));
        }
        facts.stop = Some(call);
    }

    fn fresh(&self, now: &Listing, before: Option<&Listing>) -> Listing {
        folder::new_files(now, before, &self.wanted.prefix, self.wanted.accepted_at_ns)
    }

    /// Its files, once they are there and grow no more.
    async fn collect(&self, before: Option<&Listing>) {
        self.enter(Phase::Collecting);
        let Some(shown) = &self.folder else { return };
        let (failed, wrote_nothing) = {
            let facts: &Facts = &self.talk.facts();
            (!facts.problems.is_empty(), facts.start.as_ref().is_some_and(|start| start.problem.is_some()))
        };
        // After a failure there may be some, and nobody waits long for them.
        let patience = if failed || wrote_nothing { 4 * LOOK } else { FILE_PATIENCE };
        let began = Instant::now();
        let mut last = Listing::new();
        loop {
            let folder = shown.clone();
            let listed = tokio::task::spawn_blocking(move || folder::list(&folder)).await;
            let now = match listed.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(now) => self.fresh(&now, before),
                Err(problem) => return self.talk.facts().problems.push(problem),
            };
            let is_still = now == last;
            if is_still && (!now.is_empty() || began.elapsed() >= patience) {
                break;
            }
            self.talk.facts().bytes = folder::bytes(&now);
            last = now;
            if began.elapsed() >= self.patience {
                self.talk.facts().problems.push("its files grew until nobody waited any longer".into());
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let mut facts = self.talk.facts();
        facts.files = folder::files(&last, &self.wanted.prefix);
        if last.is_empty() && !wrote_nothing {
            let problem = format!(
                "the engine wrote no file into {} within {} s of its stop: is that its profiler's folder, as the sidecar sees it \
                 (--engine-profile-dir)?",
                shown.display(),
                patience.as_secs_f64()
            );
            facts.problems.push(problem);
        }
    }
}
