//! The engine's own profiler beside a running capture: when it is asked to start, what it is told, and whether it has let go.
//!
//! It is asked late, some iterations before the window, so that little can come between: engines count from the moment at
//! which the call reaches them. And only once the capture's manifest is on the disk: whoever finds that will send the stop.
//!
//! Called by `running`, once in each of its turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::port::{Native, Phase, Talk, Told, Wanted};
use crate::capture::manifest::{Complete, Manifest, NativeReport};
use crate::capture::session::{Group, Phase as RankPhase, Session};

/// How far in front of the window the engine is asked at the latest, of a group that runs: a call takes it that long. And
/// for how long a group has to be quiet so that it is not taken for one that runs.
pub(in crate::capture) const CALL: Duration = Duration::from_millis(250);
/// And at the earliest: what is nearer than this is near, whatever the rate is.
const NEAR_ITERATIONS: u64 = 64;
/// Longest name that vLLM takes for a prefix.
const PREFIX_BYTES: usize = 128;

/// How far ahead of a running group a window has to lie so that the engine can be asked in time.
pub(in crate::capture) fn ahead(iterations_per_second: f64) -> u64 {
    (iterations_per_second * CALL.as_secs_f64()).ceil() as u64 + 2
}

/// The profiler of one capture.
#[derive(Debug)]
pub(in crate::capture) struct Driving {
    stage: Stage,
    /// What is not changed by what the engine says.
    prefix: String,
    accepted_at_ns: u64,
    max_iterations: u64,
    stopping_since: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    /// Nobody wants it.
    Nobody,
    /// The window is not near.
    Waiting(Arc<dyn Native>),
    /// It was asked.
    Asked(Arc<Talk>),
    /// It was never asked, and will not be.
    Unused(Option<String>),
}

impl Driving {
    /// A capture that does not want it.
    pub(in crate::capture) fn nobody() -> Self {
        let prefix = String::new();
        Self { stage: Stage::Nobody, prefix, accepted_at_ns: 0, max_iterations: 0, stopping_since: None }
    }

    /// For a capture that begins.
    pub(in crate::capture) fn new(native: Arc<dyn Native>, manifest: &Manifest) -> Self {
        Self::at(Stage::Waiting(native), manifest)
    }

    /// For one that a sidecar that died had running: what it switched on is switched off.
    pub(in crate::capture) fn take_up(native: Option<&Arc<dyn Native>>, manifest: &Manifest) -> Self {
        let Some(report) =
            manifest.native.as_ref().filter(|report| !["over", "unused"].contains(&report.state.as_str()))
        else {
            return Self::nobody();
        };
        if manifest.held {
            return Self::at(Stage::Unused(None), manifest); // nothing was asked for it
        }
        let Some(native) = native else {
            let words =
                "this sidecar knows no --engine-url: the engine's profiler may still be on, POST its /stop_profile";
            return Self::at(Stage::Unused(Some(words.into())), manifest);
        };
        let talk = Talk::new(0);
        let driving = Self::at(Stage::Asked(talk.clone()), manifest);
        {
            let mut facts = talk.facts();
            facts.sent.clone_from(&report.sent);
            facts.start.clone_from(&report.start);
            facts.problems.clone_from(&report.problems);
        }
        native.begin(driving.wanted(0, 0, 0.0), talk);
        driving
    }

    fn at(stage: Stage, manifest: &Manifest) -> Self {
        let id = &manifest.capture_id.0;
        let given = manifest.profile_prefix.as_deref().map_or(String::new(), |prefix| {
            let end = prefix.len().min(PREFIX_BYTES.saturating_sub(id.len() + 1)); // ASCII, by what callers may ask
            format!("{}-", prefix.get(..end).unwrap_or_default())
        });
        Self {
            stage,
            prefix: format!("{given}{id}"),
            accepted_at_ns: manifest.accepted_at_ns,
            max_iterations: manifest.window.max_iterations,
            stopping_since: None,
        }
    }

    /// First iteration 0: one that was taken up.
    fn wanted(&self, first_iteration: u64, begun: u64, iterations_per_second: f64) -> Wanted {
        Wanted {
            first_iteration,
            max_iterations: self.max_iterations,
            begun,
            call_iterations: ahead(iterations_per_second),
            prefix: self.prefix.clone(),
            accepted_at_ns: self.accepted_at_ns,
            taken_up: first_iteration == 0,
        }
    }

    /// One turn, behind the session's.
    pub(in crate::capture) fn turn(&mut self, session: &Session, rates: &[f64]) {
        // One engine has one profiler: of several groups the first one's numbers are what it is told.
        let Some(group) = session.groups.first() else { return };
        let (first, begun) = (group.opening.first_iteration, group.begun());
        let is_over = session.is_over();
        match &self.stage {
            Stage::Waiting(_) if is_over => {
                let words = "it was not asked: the window had passed before the sidecar came to it; start again, with a \
                             larger delay_iterations, and leave the sidecar a core";
                let has_closed = session.ranks.iter().any(|rank| rank.phase == RankPhase::Closed);
                self.stage = Stage::Unused(has_closed.then(|| words.into()));
            }
            Stage::Waiting(native) => {
                let rate = rates.first().copied().unwrap_or(0.0);
                let near = NEAR_ITERATIONS.max(2 * ahead(rate));
                if first.saturating_sub(begun) <= near {
                    let talk = Talk::new(begun);
                    native.begin(self.wanted(first, begun, rate), talk.clone());
                    self.stage = Stage::Asked(talk);
                }
            }
            Stage::Asked(talk) => {
                talk.tell(Told { begun, stop: is_over });
                if is_over {
                    self.stopping_since.get_or_insert_with(Instant::now);
                }
            }
            Stage::Nobody | Stage::Unused(_) => {}
        }
    }

    /// The engine has not answered the start, and its next iteration but one may lie in the window.
    pub(in crate::capture) fn is_pressing(&self, session: &Session) -> bool {
        let is_next = |group: &Group| group.opening.first_iteration.saturating_sub(group.begun()) <= 2;
        let is_awaited = match &self.stage {
            Stage::Nobody | Stage::Unused(_) => false,
            Stage::Waiting(_) => true,
            Stage::Asked(talk) => talk.facts().phase == Phase::Starting,
        };
        is_awaited && session.groups.first().is_some_and(is_next)
    }

    /// It is on, or nobody wants it: a turn may come late.
    pub(in crate::capture) fn is_at_ease(&self) -> bool {
        match &self.stage {
            Stage::Nobody | Stage::Unused(_) => true,
            Stage::Waiting(_) => false,
            Stage::Asked(talk) => talk.facts().phase == Phase::On,
        }
    }

    /// It has nothing of ours any more.
    pub(in crate::capture) fn has_let_go(&self) -> bool {
        match &self.stage {
            Stage::Nobody | Stage::Unused(_) => true,
            Stage::Waiting(_) => false,
            Stage::Asked(talk) => talk.facts().phase == Phase::Over,
        }
    }

    /// Where it stands, in the manifest's word.
    pub(in crate::capture) fn word(&self) -> &'static str {
        match &self.stage {
            Stage::Nobody => "",
            Stage::Waiting(_) => "waiting",
            Stage::Unused(_) => "unused",
            Stage::Asked(talk) => match talk.facts().phase {
                Phase::Starting => "starting",
                Phase::On => "on",
                Phase::Stopping => "stopping",
                Phase::Collecting => "collecting",
                Phase::Over => "over",
            },
        }
    }

    /// Says in the manifest how it stands.
    pub(in crate::capture) fn tell(&self, manifest: &mut Manifest) {
        let mut report = NativeReport { state: self.word().into(), ..NativeReport::default() };
        match &self.stage {
            Stage::Nobody => return,
            Stage::Waiting(_) => {}
            Stage::Unused(problem) => report.problems.extend(problem.clone()),
            Stage::Asked(talk) => {
                let facts = talk.facts().clone();
                for warning in &facts.warnings {
                    if !manifest.warnings.contains(warning) {
                        manifest.warnings.push(warning.clone());
                    }
                }
                report.kind = facts.kind;
                report.version = facts.version;
                report.sent = facts.sent;
                report.start = facts.start;
                report.stopping_ms = match (&facts.stop, self.stopping_since) {
                    (Some(stop), _) => stop.duration_ms,
                    (None, Some(since)) => u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
                    (None, None) => 0,
                };
                report.stop = facts.stop;
                report.bytes = facts.bytes;
                report.folder = facts.folder.map(|folder| folder.display().to_string());
                report.files = facts.files;
                report.problems = facts.problems;
            }
        }
        report.exact = Complete::Unknown;
        manifest.native = Some(report);
    }
}
