//! How a capture begins: at once, or held until it is told to open.
//!
//! A capture that is held has a folder and a manifest, keeps others from starting, and asks nothing of an engine. So
//! several sidecars can be brought to the edge one after the other, and open at one moment.
//!
//! A start right behind a stop waits for the capture that ends: whoever wrote the benchmark does not know that one drains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capture::files::Job;
use crate::capture::hold::Held;
use crate::capture::manifest::{CaptureId, ClosedBy, Manifest};
use crate::capture::native::driving::Driving;
use crate::capture::plan::{self, Plan};
use crate::capture::request::{Begin, Profiler, StartError, StartRequest};
use crate::capture::running::Running;
use crate::wire::clock::monotonic_ns;

use super::{ENGINE_PATIENCE, Manager, START_PATIENCE, StartReply, Starting, WAITING_EXPORTS};

impl Manager {
    /// Whether a start that comes now is better off waiting. One at a time: the second one is refused.
    pub(super) fn may_follow(&self) -> bool {
        self.following.is_none() && self.leaving.is_empty() && self.is_ending()
    }

    /// Whether what keeps others from starting is about to let them.
    pub(super) fn is_ending(&self) -> bool {
        match (&self.running, &self.held) {
            (Some(running), _) => running.is_ending(),
            (None, Some(held)) => !held.is_waiting(),
            (None, None) => false,
        }
    }

    /// The start that waited has its turn, be it to be refused. One whose caller has gone is none: nobody would stop it.
    pub(super) fn follow(&mut self) {
        if let Some(following) = self.following.take().filter(|following| !following.reply.is_closed()) {
            let started = self.start(following.request);
            self.answer_start(started, following.reply);
        }
    }

    /// It has waited long enough, or for something that went otherwise than it should have.
    pub(super) fn turn_following(&mut self, now: Instant) {
        let Some(following) = &self.following else { return };
        let is_free = self.holder().is_none() && self.starting.is_none();
        if is_free || now >= following.until || following.reply.is_closed() {
            self.follow();
        }
    }

    /// An accepted start is answered when its files are there.
    pub(super) fn answer_start(&mut self, started: Result<(), StartError>, reply: StartReply) {
        match started {
            Ok(()) => self.starting = Some(Starting { reply, until: Instant::now() + START_PATIENCE, begun: false }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    pub(super) fn start(&mut self, request: StartRequest) -> Result<(), StartError> {
        if !self.leaving.is_empty() {
            return Err(StartError::ShuttingDown);
        }
        if let Some(id) = self.holder() {
            return Err(StartError::Running(id));
        }
        if self.starting.is_some() || self.work.len() >= WAITING_EXPORTS {
            return Err(StartError::Busy);
        }
        self.end_aftermath();
        self.collector.scan(Instant::now());
        let (plan, window) = plan::make(&self.options, &request, &self.collector)?;
        let manifest = plan::manifest(&request, &plan, window);
        let Some(hold_ms) = request.hold_ms else { return self.begin(&plan, manifest) };
        if self.files.try_send(Job::Hold(Box::new(manifest.clone()))).is_err() {
            return Err(StartError::Busy);
        }
        // Never longer than a window is waited for.
        let hold = Duration::from_millis(hold_ms).min(self.options.max_wait);
        let until_ns = monotonic_ns().saturating_add(u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX));
        self.held = Some(Held::new(request, manifest, until_ns));
        self.tell_holder();
        Ok(())
    }

    fn begin(&mut self, plan: &Plan, manifest: Manifest) -> Result<(), StartError> {
        let driving = match (&self.options.native, plan.profiling.profiler) {
            (Some(native), Profiler::Engine) => Some(Driving::new(native.clone(), &manifest)),
            _ => None,
        };
        let (mut running, begin) = Running::start(&mut self.collector, plan, manifest, &self.shared)?;
        if let Some(driving) = driving {
            running.drive(driving);
        }
        if self.files.try_send(Job::Begin(Box::new(begin))).is_err() {
            running.let_go(&mut self.collector);
            return Err(StartError::Busy);
        }
        self.renewed = Instant::now();
        self.running = Some(running);
        self.tell_holder();
        Ok(())
    }

    /// What was checked when it was accepted is checked again: the ranks may be others by now.
    pub(super) fn open_held(&mut self, id: &CaptureId, first: Option<u64>) -> Result<(), StartError> {
        let Some(held) = self.held.as_ref().filter(|held| held.id() == id && held.is_waiting()) else {
            let state = self.shared.find(&id.0).map_or("gone", |known| known.state.as_str());
            return Err(StartError::NotHeld(id.clone(), state));
        };
        if self.starting.is_some() {
            return Err(StartError::Busy);
        }
        let (mut request, mut manifest) = (held.request().clone(), (*held.manifest()).clone());
        if let Some(first) = first {
            request.begin = Some(Begin::At(first));
        }
        self.collector.scan(Instant::now());
        let (plan, window) = plan::make(&self.options, &request, &self.collector)?;
        manifest.window = window;
        self.begin(&plan, manifest)?;
        self.held = None;
        Ok(())
    }

    /// A held capture that nobody opens ends by itself.
    pub(super) fn turn_held(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.lapses(monotonic_ns())) {
            self.call_off_held(ClosedBy::MaxWait);
        }
    }

    /// The held capture will not be opened any more. It goes when its last manifest is written.
    pub(super) fn call_off_held(&mut self, by: ClosedBy) {
        if let Some(manifest) = self.held.as_mut().and_then(|held| held.call_off(by)) {
            tracing::info!(capture = %manifest.capture_id, "a held capture is called off");
            self.shared.publish(Arc::new(manifest.clone()));
            if self.files.try_send(Job::CallOff(Box::new(manifest.clone()))).is_err() {
                // Its first manifest is there: the next sidecar ends it too.
                self.finished(manifest, 0);
            }
            self.tell_holder();
        }
    }

    /// The files of the capture that starts are there, or can't be made.
    pub(super) fn begun(&mut self, begun: Result<(), String>) {
        let answer = match (begun, &mut self.running, &mut self.held) {
            (Ok(()), Some(running), _) => {
                running.has_begun();
                let manifest = running.refresh();
                tracing::info!(capture = %manifest.capture_id, ranks = manifest.ranks.len(), "capture accepted");
                // Somebody may have stopped it already.
                running.turn(&mut self.collector, &self.files);
                self.publish(Instant::now());
                if self.running.as_ref().is_some_and(|running| !running.may_be_answered())
                    && let Some(starting) = &mut self.starting
                {
                    starting.begun = true;
                    starting.until = Instant::now() + ENGINE_PATIENCE;
                    return;
                }
                Ok(manifest)
            }
            (Ok(()), None, Some(held)) => {
                let manifest = held.manifest();
                tracing::info!(capture = %manifest.capture_id, "capture held");
                self.publish(Instant::now());
                self.shared.publish(manifest.clone());
                Ok(manifest)
            }
            (Ok(()), None, None) => return,
            (Err(reason), ..) => {
                self.held = None;
                self.let_go();
                // Who stopped it is told of what there was before.
                self.answer_stops();
                Err(StartError::Store(reason))
            }
        };
        if let Some(starting) = self.starting.take() {
            let _ = starting.reply.send(answer);
        }
    }

    /// Nobody waits for a disk for ever.
    pub(super) fn lose_patience(&mut self, now: Instant) {
        let answered = self.running.as_ref().is_none_or(Running::may_be_answered);
        if let Some(starting) = self.starting.take_if(|s| s.begun && (answered || now >= s.until)) {
            let manifest = self.running.as_mut().map(Running::refresh).or_else(|| self.shared.find("latest"));
            let _ = starting.reply.send(manifest.ok_or(StartError::ShuttingDown));
        }
        if let Some(starting) = self.starting.take_if(|s| now >= s.until) {
            let reason = format!("the data folder has not answered for {} s", START_PATIENCE.as_secs());
            let _ = starting.reply.send(Err(StartError::Store(reason)));
            if let Some(running) = &mut self.running {
                running.stop(ClosedBy::Failed);
            }
            self.call_off_held(ClosedBy::Failed);
        }
        if self.stopping.iter().any(|s| now >= s.until) {
            self.answer_stops();
        }
    }
}
