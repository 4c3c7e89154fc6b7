//! The thread `stepscope-files`: it alone puts on the disk what a running capture makes, its records and its manifest.
//!
//! A disk may stall for as long as it likes. Then this thread waits and nobody else: the one that answers goes on
//! answering and renewing leases, and what the engines record meanwhile waits in their rings, and when those are half full
//! in memory, where the one that answers moves it ([`super::memory`]); once that is full too, records are dropped and
//! counted. While the disk keeps up, records are freed in the rings when they are written.
//!
//! Before a start is answered, its folder and its manifest are made and nothing else; the manifest names the fragments
//! to come ([`Unfinished`]). They are made with their first record, since a file costs a disk a millisecond.
//!
//! Told what to do by [`Job`]s in a bounded queue; answers with [`Command`]s.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::beside::gpus::GpuCounters;
use super::beside::proxied::Proxied;
use super::clocks;
use super::handle::{Command, Shared};
use super::lanes::{Lane, RankRings, Recording, lock};
use super::manifest::{Manifest, State};
use super::progress::Progress;
use super::recover::{self, Resumed};
use super::report;
use super::session::Session;
use super::store::Unfinished;

/// Jobs that may wait; a capture never has more than a handful.
pub(super) const QUEUE: usize = 16;
/// How full a ring should be found, of 1: each look takes an engine's core away, and a burst needs room.
const AIM: f64 = 1.0 / 16.0;
/// The shortest turn; a consumer that looks every millisecond costs the producer nothing.
const HOT_TURN: Duration = Duration::from_millis(1);
/// A turn while no records come.
const TURN: Duration = Duration::from_millis(5);
/// The longest turn.
const CALM_TURN: Duration = Duration::from_millis(20);
/// Slots of a ring from which on a turn may be that long; with fewer it is shorter, since a burst is as many records.
const CALM_SLOTS: u64 = 4096;

/// What this thread is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Make the folder and manifest of a capture that is held. Answered by [`Command::Begun`].
    Hold(Box<Manifest>),
    /// Write the last manifest of one that was held to its end. Answered by [`Command::Finished`].
    CallOff(Box<Manifest>),
    /// Make a capture's folder and manifest, and fetch its records from now on. Answered by [`Command::Begun`].
    Begin(Box<Begin>),
    /// Rebuild a capture whose sidecar died. Answered by [`Command::Resumed`].
    Resume(Arc<Manifest>),
    /// A rank of a resumed capture was found.
    Attach(usize, RankRings),
    /// Write the manifest, if the capture still runs.
    Save(Arc<Manifest>),
    /// Fetch what is left, and write the last manifest. Answered by [`Command::Finished`].
    Finish(Box<(Manifest, Session)>),
}

/// A capture that begins.
#[derive(Debug)]
pub(super) struct Begin {
    pub manifest: Manifest,
    /// Its folder is there.
    pub was_held: bool,
    /// In the session's order, and behind them the processes that run no iterations.
    pub ranks: Vec<(RankRings, Unfinished)>,
    pub progress: Arc<Progress>,
    /// How many windows were announced to whoever samples GPUs before this capture's.
    pub windows: u64,
}

/// The thread's own.
pub(super) struct Files {
    shared: Arc<Shared>,
    answers: SyncSender<Command>,
    recording: Option<Recording>,
}

impl Files {
    pub(super) fn new(shared: Arc<Shared>, answers: SyncSender<Command>) -> Self {
        Self { shared, answers, recording: None }
    }

    /// Until nobody has a job any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let (mut due, mut looked, mut turn) = (Instant::now(), Instant::now(), TURN);
        loop {
            let job = match &self.recording {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            let asked = match job {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if asked.is_err() {
                return;
            }
            if let Some(recording) = &mut self.recording
                && Instant::now() >= due
            {
                let (now, (fullest, slots)) = (Instant::now(), recording.rings());
                turn = next_turn(turn, now.duration_since(looked), fullest, slots);
                looked = now;
                recording.progress.set_turn(turn);
                recording.drain(&self.shared.store);
                due = Instant::now() + turn;
            }
        }
    }

    /// `Err`: nobody wants to know any more.
    fn work(&mut self, job: Job) -> Result<(), ()> {
        let answer = match job {
            Job::Begin(begin) => Command::Begun(self.begin(*begin)),
            Job::Hold(manifest) => Command::Begun(self.create(&manifest, &[])),
            Job::CallOff(mut manifest) => {
                self.save_last(&mut manifest);
                let bytes = self.shared.store.bytes(&manifest.capture_id);
                Command::Finished(manifest, bytes)
            }
            Job::Resume(manifest) => {
                let Resumed { session, manifest, recording } = recover::resume(&self.shared.store, &manifest);
                let progress = recording.progress.clone();
                self.recording = Some(recording);
                Command::Resumed(Box::new((session, manifest, progress)))
            }
            Job::Attach(rank, rings) => {
                if let Some(recording) = &mut self.recording {
                    recording.attach(rank, rings, &self.shared.store);
                }
                return Ok(());
            }
            Job::Save(manifest) => {
                if let Some(recording) = self.recording.as_mut().filter(|r| r.id == manifest.capture_id) {
                    let saved = self.shared.store.save(&manifest, &recording.unfinished());
                    if let Err(error) = saved {
                        recording.fail(format!("the manifest could not be written: {error}"));
                    }
                }
                return Ok(());
            }
            Job::Finish(over) => {
                let (manifest, session) = *over;
                let manifest = self.finish(manifest, session);
                let bytes = if manifest.state.is_final() { self.shared.store.bytes(&manifest.capture_id) } else { 0 };
                Command::Finished(Box::new(manifest), bytes)
            }
        };
        self.answers.send(answer).map_err(drop)
    }

    fn begin(&mut self, begin: Begin) -> Result<(), String> {
        let Begin { manifest, was_held, ranks, progress, windows } = begin;
        let lanes: Vec<Lane> =
            ranks.into_iter().map(|(rings, unfinished)| Lane::new(Some(rings), unfinished)).collect();
        // Of a capture that is long over.
        lanes.iter().filter_map(|lane| lane.rings.as_ref()).for_each(|rings| lock(rings).forget_lost());
        let id = manifest.capture_id.clone();
        let gpus = GpuCounters::new(self.shared.counters.clone(), windows, &self.shared.store, &id);
        let job = manifest.groups.first().map_or("", |group| &group.job);
        let proxied = Proxied::new(self.shared.passed.clone(), &id, job);
        let recording = Recording { id, lanes, gpus, proxied, progress, failed: None };
        match was_held {
            false => self.create(&manifest, &recording.unfinished())?,
            true => self.shared.store.save(&manifest, &recording.unfinished()).map_err(|e| e.to_string())?,
        }
        self.recording = Some(recording);
        Ok(())
    }

    fn create(&self, manifest: &Manifest, unfinished: &[Unfinished]) -> Result<(), String> {
        self.shared.store.create(manifest, unfinished).map_err(|error| {
            let _ = self.shared.store.delete(&manifest.capture_id);
            error.to_string()
        })
    }

    fn save_last(&self, manifest: &mut Manifest) {
        if let Err(error) = self.shared.store.save_last(manifest) {
            manifest.state = State::Failed;
            manifest.reason.get_or_insert_with(|| format!("the manifest could not be written: {error}"));
        }
    }

    /// The last records and anchors are written, and the manifest says what came out.
    fn finish(&mut self, mut manifest: Manifest, mut session: Session) -> Manifest {
        let store = &self.shared.store;
        let Some(mut recording) = self.recording.take() else { return manifest };
        recording.drain(store);
        if !session.is_cancelled() {
            recording.end(store);
        }
        let clocks: Vec<_> =
            recording.lanes.iter().map(|lane| (lane.clocks, lane.unfinished.identity.ticks_per_second)).collect();
        clocks::settle(&mut manifest, &mut session, &clocks);
        session.kept(&recording.progress.kept());
        recording.gpus.finish();
        recording.proxied.finish(store);
        session.kept_bytes(recording.gpus.bytes() + recording.proxied.bytes());
        manifest.sources.extend(recording.proxied.report());
        manifest.gpus = recording.gpus.report().clone();
        report::conclude(&mut manifest, &session, recording.failed.take());
        // Let go of before it is said to be over: a segment must not be opened twice in one process.
        drop(recording);
        self.save_last(&mut manifest);
        manifest
    }
}

/// How long until the next look, after a turn of this length `took` so long and found rings this full, of so many slots: as
/// long as it takes to fill one as far as is aimed at, but at most twice as long as the last, since a rate is a guess.
fn next_turn(last: Duration, took: Duration, fullest: f64, slots: u64) -> Duration {
    if fullest == 0.0 {
        return TURN;
    }
    let longest = CALM_TURN.mul_f64(slots as f64 / CALM_SLOTS as f64).clamp(TURN, CALM_TURN);
    took.mul_f64((AIM / fullest).min(2.0)).min(2 * last).clamp(HOT_TURN, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_as_long_as_the_fullest_ring_allows() {
        let ms = Duration::from_millis;
        let next_turn = |last, took, fullest| super::next_turn(last, took, fullest, 8192);
        assert_eq!(next_turn(ms(5), ms(5), 0.0), ms(5));
        // Half of what is aimed at: twice as long; from 20 ms on no longer.
        assert_eq!(next_turn(ms(5), ms(5), AIM / 2.0), ms(10));
        assert_eq!(next_turn(ms(5), ms(5), AIM / 1000.0), ms(10));
        assert_eq!(next_turn(ms(20), ms(20), AIM / 1000.0), ms(20));
        // Four times: a quarter, and never less than a millisecond. A stall is no turn of that length.
        assert_eq!(next_turn(ms(20), ms(20), 4.0 * AIM), ms(5));
        assert_eq!(next_turn(ms(1), ms(1), 1.0), ms(1));
        assert_eq!(next_turn(ms(1), ms(900), AIM), ms(2));
        // Small rings are looked at more often.
        assert_eq!(super::next_turn(ms(20), ms(20), AIM / 1000.0, 2048), ms(10));
        assert_eq!(super::next_turn(ms(20), ms(20), AIM / 1000.0, 64), ms(5));
    }
}
