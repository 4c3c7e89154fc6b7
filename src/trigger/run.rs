//! All of it, in order: check, start, run the command, stop, fetch, write down.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::child::{Ended, Running};
use super::clock::Moment;
use super::collect::collect;
use super::control::{Control, Said, Word};
use super::late::Late;
use super::peer::Peer;
use super::phase::{self, Field, Phase};
use super::record::{CommandRecord, Record};
use super::signals::{self, Arrived, Signals};
use super::targets::{Target, TargetError};
use super::{folder, text};
use crate::client::StartBody;
use crate::client::protocol::Protocol;

/// How a start that the command had not asked to end is said to have ended.
const PHASE_END: &str = "phase_end";
const ABORT: &str = "abort";
/// What answers after the command is over is waited for this long.
const LATE: Duration = Duration::from_secs(5);

/// What is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// Whom to call.
    pub targets: Vec<Target>,
    /// The window, as a sidecar is told it.
    pub window: StartBody,
    /// How long a start may take.
    pub timeout: Duration,
    /// How long captures may take to be done, and an engine to stop.
    pub wait: Duration,
    /// Certificates, PEM, that are trusted instead of the system's.
    pub trusted: Option<PathBuf>,
    /// Where to leave it all; `None`: a new folder here.
    pub out: Option<PathBuf>,
    /// The benchmark says where its phases are.
    pub by_phase: bool,
    /// Whether traces become one.
    pub merge: bool,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Why the command was not even started.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// A target can't be meant.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The folder.
    #[error("{what}: {source}\nthe command was not run")]
    Place {
        /// What could not be made.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What is left.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended.
    pub ended: Ended,
    /// The section of `profiling.txt`.
    pub text: String,
    /// Where everything lies.
    pub folder: PathBuf,
}

/// Runs the command with a capture around it. `say` gets few words, for standard error.
///
/// # Errors
/// See [`TriggerError`]: only what keeps the command from being started.
pub async fn run(wanted: Wanted, say: &(dyn Fn(&str) + Sync)) -> Result<Outcome, TriggerError> {
    let place = |what: &str| {
        let what = what.to_owned();
        move |source| TriggerError::Place { what, source }
    };
    let peers = wanted
        .targets
        .iter()
        .enumerate()
        .map(|(at, target)| Peer::new(at, target, wanted.trusted.as_deref()).map(Arc::new));
    let field = Arc::new(Field {
        peers: peers.collect::<Result<_, _>>()?,
        wanted: wanted.window.clone(),
        timeout: wanted.timeout,
        wait: wanted.wait,
        late: Late::default(),
        hurry: CancellationToken::new(),
    });
    let shown = wanted.out.as_ref().map_or_else(|| "a folder here".into(), |out| out.display().to_string());
    let folder = folder::make(wanted.out.as_deref()).map_err(place(&format!("can't write into {shown}")))?;
    let signals = Signals::take().map_err(place("signals can't be taken"))?;
    let control = match wanted.by_phase {
        true => Some(Control::open().map_err(place("no socket for phases"))?),
        false => None,
    };
    let (command, stage) = (wanted.command.clone(), Stage::Idle);
    let mut trigger = Trigger {
        field,
        signals,
        control,
        stage,
        phases: Vec::new(),
        started: 0,
        interrupted: false,
        say,
        answer: None,
    };
    let (ended, command) = trigger.command(&command).await;
    Ok(trigger.end(ended, command, wanted.merge, folder).await)
}

/// Where the captures stand.
enum Stage {
    Idle,
    Opening(JoinHandle<Phase>),
    Open(Box<Phase>),
    Closing(JoinHandle<Phase>),
}

struct Trigger<'a> {
    field: Arc<Field>,
    signals: Signals,
    control: Option<Control>,
    stage: Stage,
    phases: Vec<Phase>,
    started: usize,
    interrupted: bool,
    say: &'a (dyn Fn(&str) + Sync),
    /// Who waits for what is under way.
    answer: Option<tokio::sync::oneshot::Sender<Result<String, String>>>,
}

impl Trigger<'_> {
    /// Runs the command, and whatever it asks for meanwhile.
    async fn command(&mut self, command: &[OsString]) -> (Ended, CommandRecord) {
        let mut record = CommandRecord {
            arguments: command.first().map(|program| program.to_string_lossy().into_owned()).into_iter().collect(),
            ..CommandRecord::default()
        };
        if self.control.is_none() {
            self.open(None);
            if let Some(Arrived { signal, .. }) = self.settle_or_signal().await {
                self.interrupted = true;
                record.signal = Some(signal);
                (self.say)(&format!("{} before the command was started: it is not run", signals::name(signal)));
                return (Ended::Signal(signal), record);
            }
        }
        let variables = self.control.as_ref().map(Control::variables).unwrap_or_default();
        let began = Moment::now();
        let running = Running::start(command, variables);
        if let Some(control) = &mut self.control {
            control.handed_over();
        }
        let mut running = match running {
            Ok(running) => running,
            Err(error) => {
                (self.say)(&format!("can't run {}: {error}", record.arguments.join(" ")));
                let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                record.exit_code = Some(code);
                return (Ended::Code(code as u8), record);
            }
        };
        record.started_at_iso = Some(began.iso());
        let ended = self.until_ended(&mut running).await;
        record.duration_ns = Some(Moment::now().since(began));
        match ended {
            Ended::Code(code) => record.exit_code = Some(code.into()),
            Ended::Signal(signal) => record.signal = Some(signal),
        }
        (ended, record)
    }

    async fn until_ended(&mut self, running: &mut Running) -> Ended {
        loop {
            tokio::select! {
                ended = running.ended() => match ended {
                    Ok(ended) => return ended,
                    Err(error) => {
                        (self.say)(&format!("nobody knows how the command ended: {error}"));
                        return Ended::Code(1);
                    }
                },
                arrived = self.signals.next() => {
                    if arrived.was_sent {
                        running.pass_on(arrived.signal);
                    }
                    self.interrupt(arrived.signal);
                }
                phase = under_way(&mut self.stage) => self.arrived(phase),
                said = said(&mut self.control), if self.is_at_rest() => self.hear(said),
            }
        }
    }

    /// Nothing is under way.
    fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Open(_))
    }

    fn hear(&mut self, (word, reply): Said) {
        let refusal = match (&word, &self.stage) {
            (Word::Start(_), Stage::Open(_)) => Some("a phase is open: stop it first"),
            (Word::Start(_), _) if self.interrupted => Some("the run was interrupted"),
            (Word::Stop, Stage::Idle) => Some("no phase is open"),
            _ => None,
        };
        if let Some(refusal) = refusal {
            let _ = reply.send(Err(refusal.to_owned()));
            return;
        }
        self.answer = Some(reply);
        match word {
            Word::Start(name) => self.open(name),
            Word::Stop => self.close(PHASE_END),
        }
    }

    fn open(&mut self, name: Option<String>) {
        self.started += 1;
        self.stage = Stage::Opening(tokio::spawn(phase::open(self.field.clone(), self.started, name)));
    }

    fn close(&mut self, reason: &'static str) {
        if let Stage::Open(phase) = std::mem::replace(&mut self.stage, Stage::Idle) {
            self.stage = Stage::Closing(tokio::spawn(phase::close(self.field.clone(), *phase, reason)));
        }
    }

    /// What was under way is done.
    fn arrived(&mut self, phase: Phase) {
        let was_opening = matches!(self.stage, Stage::Opening(_));
        let (started, all) = (phase.started.len(), phase.starts.len());
        let answer = if was_opening {
            for call in phase.starts.iter().filter(|call| call.error.is_some()) {
                (self.say)(&format!("{}: {}", call.url, call.error.as_deref().unwrap_or_default()));
            }
            (self.say)(&format!("profiling {started} of {all} targets"));
            self.stage = Stage::Open(Box::new(phase));
            if self.interrupted {
                self.close(ABORT);
            }
            if started > 0 {
                Ok(format!("{started} of {all} targets are armed"))
            } else {
                Err("no target started".into())
            }
        } else {
            for call in phase.stops.iter().filter(|call| call.error.is_some()) {
                (self.say)(&format!("{}: the stop failed: {}", call.url, call.error.as_deref().unwrap_or_default()));
            }
            self.stage = Stage::Idle;
            self.phases.push(phase);
            Ok(format!("{started} of {all} targets were stopped"))
        };
        if let Some(reply) = self.answer.take() {
            let _ = reply.send(answer);
        }
    }

    /// No capture goes on, whatever the command does.
    fn interrupt(&mut self, signal: i32) {
        if !std::mem::replace(&mut self.interrupted, true) && !matches!(self.stage, Stage::Idle) {
            (self.say)(&format!("{}: the capture is stopped", signals::name(signal)));
        }
        self.field.hurry.cancel();
        if matches!(self.stage, Stage::Open(_)) {
            self.close(ABORT);
        }
    }

    /// Waits for what is under way; a signal meanwhile cuts it short.
    async fn settle_or_signal(&mut self) -> Option<Arrived> {
        let mut first = None;
        while !self.is_at_rest() {
            tokio::select! {
                phase = under_way(&mut self.stage) => self.arrived(phase),
                arrived = self.signals.next() => {
                    first.get_or_insert(arrived);
                    self.interrupt(arrived.signal);
                }
            }
        }
        first.or_else(|| self.signals.arrived())
    }

    /// Waits for what is under way.
    async fn settle(&mut self) {
        while !self.is_at_rest() {
            let phase = under_way(&mut self.stage).await;
            self.arrived(phase);
        }
    }

    /// Stops what is open, fetches, writes down.
    async fn end(mut self, ended: Ended, command: CommandRecord, merge: bool, folder: PathBuf) -> Outcome {
        self.settle().await;
        let aborted = self.interrupted || !ended.is_success();
        self.close(if aborted { ABORT } else { PHASE_END });
        self.settle().await;
        let mut phases = std::mem::take(&mut self.phases);
        let stop = CancellationToken::new();
        let several = phases.len() > 1;
        let (field, signals, say) = (self.field.clone(), &mut self.signals, self.say);
        let came = {
            let collecting = async {
                for phase in &mut phases {
                    collect(&field, phase, several, &folder, merge, &stop).await;
                }
                field.late.settle(Instant::now() + if stop.is_cancelled() { Duration::ZERO } else { LATE }).await
            };
            tokio::pin!(collecting);
            loop {
                tokio::select! {
                    came = &mut collecting => break came,
                    arrived = signals.next() => {
                        say(&format!("{}: traces are not waited for", signals::name(arrived.signal)));
                        stop.cancel();
                    }
                }
            }
        };
        let say = self.say;
        let mut record = self.record(command, &mut phases);
        for came in came {
            let call = record.starts.iter_mut().find(|call| (call.target, call.phase) == (came.target, came.phase));
            if let Some(call) = call {
                call.late = Some(came.words);
            }
        }
        let text = text::text(&record, &folder);
        let json = serde_json::to_string_pretty(&record).unwrap_or_default();
        for (name, content) in [("profiling.json", json + "\n"), ("profiling.txt", text.clone())] {
            if let Err(error) = folder::write(&folder, name, &content) {
                say(&format!("{} could not be written: {error}", folder.join(name).display()));
            }
        }
        Outcome { ended, text, folder }
    }

    fn record(&self, command: CommandRecord, phases: &mut [Phase]) -> Record {
        let mut record = Record {
            engine: engine(&self.field.peers),
            schema: 1,
            stepscope_version: env!("CARGO_PKG_VERSION").into(),
            command,
            window: serde_json::to_value(&self.field.wanted).unwrap_or_default(),
            ..Record::default()
        };
        for phase in phases {
            record.starts.append(&mut phase.starts);
            record.stops.append(&mut phase.stops);
            record.warnings.append(&mut phase.warnings);
            record.phases.push(std::mem::take(&mut phase.record));
        }
        record
    }
}

/// One name for all that were called.
fn engine(peers: &[Arc<Peer>]) -> String {
    let mut names: Vec<&str> = peers.iter().map(|peer| peer.protocol().map_or("unknown", Protocol::name)).collect();
    names.sort_unstable();
    names.dedup();
    match names[..] {
        [one] => one.into(),
        [one, "unknown"] => one.into(),
        _ => "mixed".into(),
    }
}

/// The phase that is being opened or closed. Never returns where none is.
async fn under_way(stage: &mut Stage) -> Phase {
    match stage {
        Stage::Opening(task) | Stage::Closing(task) => task.await.unwrap_or_default(),
        Stage::Idle | Stage::Open(_) => std::future::pending().await,
    }
}

async fn said(control: &mut Option<Control>) -> Said {
    match control {
        Some(control) => control.next().await,
        None => std::future::pending().await,
    }
}
