//! Who started, stopped and removed what: a line in the log each, and one in a file of its own.
//!
//! The file is append-only JSON lines, mode 0600. It is written by a thread of its own behind a bounded queue, so that a
//! disk that is full or stalls never holds up a start: lines that do not fit, or can't be written, are counted, and the
//! count is in `status` and in the metrics. What was refused is written down [`REFUSALS_PER_SECOND`] times a second at
//! most, so that whoever has no token can't fill the disk; the next line says how many were left out. A request whose
//! caller hangs up before the answer has its line all the same.
//!
//! Called by [`super::guard`]; handlers add what they learn through [`Note`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::Reason;
use super::limit::StartLimit;
use super::values::shown;

/// Lines that wait for the disk.
const QUEUE: usize = 1024;
/// Refusals written down, per second; twice as many at once.
pub const REFUSALS_PER_SECOND: f64 = 20.0;
/// How long the last lines may take when the service ends.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What is audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A start.
    Start,
    /// The opening of a capture that was held.
    Open,
    /// A stop.
    Stop,
    /// A removal.
    Delete,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Open => "open",
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }
}

/// Where all lines go.
#[derive(Debug)]
pub struct Audit {
    file: Option<Writer>,
    refusals: StartLimit,
    left_out: AtomicU64,
    left_out_total: AtomicU64,
}

/// How the file fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditCounts {
    /// Whether there is one.
    pub has_file: bool,
    /// Lines written.
    pub written_total: u64,
    /// Lines that the disk did not take.
    pub lost_total: u64,
    /// Refusals of which no line was made.
    pub left_out_total: u64,
}

impl Audit {
    /// The log alone, or a file too.
    pub fn open(file: Option<&Path>, now: Instant) -> io::Result<Self> {
        Ok(Self {
            file: file.map(Writer::start).transpose()?,
            refusals: StartLimit::new(REFUSALS_PER_SECOND, now),
            left_out: AtomicU64::new(0),
            left_out_total: AtomicU64::new(0),
        })
    }

    /// After the file was moved away.
    pub fn reopen(&self) {
        if let Some(file) = &self.file {
            file.counts.reopen.store(true, Ordering::Relaxed); // a flag on its own
            file.send(String::new());
        }
    }

    /// How the file fares.
    pub fn counts(&self) -> AuditCounts {
        let left_out_total = self.left_out_total.load(Ordering::Relaxed);
        let Some(Writer { counts, .. }) = &self.file else {
            return AuditCounts { left_out_total, ..AuditCounts::default() };
        };
        let (written, lost) = (&counts.written_total, &counts.lost_total);
        let [written_total, lost_total] = [written, lost].map(|count| count.load(Ordering::Relaxed));
        AuditCounts { has_file: true, written_total, lost_total, left_out_total }
    }

    /// No line comes any more. Waits a moment for those that are on their way.
    pub fn close(&self) {
        if let Some(file) = &self.file {
            file.close();
        }
    }

    fn write(&self, line: Line) {
        let is_fine = line.status.is_some_and(|status| status.is_success());
        if !is_fine && self.refusals.take(Instant::now()).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            self.left_out_total.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        let Line { action, who, peer, asked, capture, status, reason } = line;
        let (action, status) = (action.name(), status.map(|status| status.as_u16()));
        let asked = Value::Object(asked);
        tracing::info!(
            target: "audit",
            action, who, peer = peer.map(tracing::field::display), %asked, capture, status, reason, left_out,
            "{action} by {who}"
        );
        if let Some(file) = &self.file {
            let at = jiff::Timestamp::now();
            let line = json!({
                "at": at.to_string(), "action": action, "who": who, "peer": peer.map(|peer| peer.to_string()),
                "asked": asked, "capture_id": capture, "status": status, "reason": reason, "left_out": left_out,
            });
            file.send(format!("{line}\n"));
        }
    }
}

#[derive(Debug)]
struct Line {
    action: Action,
    who: String,
    peer: Option<SocketAddr>,
    asked: Map<String, Value>,
    capture: Option<String>,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
}

/// What a handler adds to its line.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    asked: Map<String, Value>,
    capture: Option<String>,
}

impl Note {
    /// The parameters as they came; long ones are cut.
    pub fn asked(&self, parameters: Map<String, Value>) {
        const LONGEST: usize = 256;
        let cut = |value: Value| match value.to_string() {
            text if text.len() > LONGEST => Value::String(shown(&Value::String(text))),
            _ => value,
        };
        self.lock().asked = parameters.into_iter().map(|(name, value)| (name, cut(value))).collect();
    }

    /// Which capture it was about.
    pub fn capture(&self, id: &str) {
        self.lock().capture = Some(id.to_owned());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line that is written when its request is answered, or when nobody waits for the answer any more.
#[derive(Debug)]
pub struct Pending {
    audit: Arc<Audit>,
    line: Option<Line>,
    note: Note,
}

impl Pending {
    /// Of a request that is about to be handled.
    pub fn new(audit: Arc<Audit>, action: Action, who: String, peer: Option<SocketAddr>) -> Self {
        let line =
            Line { action, who, peer, asked: Map::new(), capture: None, status: None, reason: Some("caller_left") };
        Self { audit, line: Some(line), note: Note::default() }
    }

    /// For the handler.
    pub fn note(&self) -> Note {
        self.note.clone()
    }

    /// Writes the line.
    pub fn answered(mut self, response: &Response) {
        if let Some(line) = &mut self.line {
            line.status = Some(response.status());
            line.reason = response.extensions().get::<Reason>().map(|Reason(reason)| *reason);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            let mut noted = self.note.lock();
            (line.asked, line.capture) = (std::mem::take(&mut noted.asked), noted.capture.take());
            drop(noted);
            self.audit.write(line);
        }
    }
}

/// The thread that writes, and the way to it.
#[derive(Debug)]
struct Writer {
    lines: Mutex<Option<SyncSender<String>>>,
    ended: Mutex<Receiver<()>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    written_total: AtomicU64,
    lost_total: AtomicU64,
    reopen: AtomicBool,
}

impl Writer {
    fn start(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let (lines, incoming) = sync_channel::<String>(QUEUE);
        let (end, ended) = sync_channel(1);
        let counts = Arc::new(Counts::default());
        let mut writing =
            Writing { path: path.to_path_buf(), file: Some(file), is_torn: false, counts: counts.clone() };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            for line in incoming {
                writing.take(&line);
            }
            let _ = end.send(()); // nobody waits for it unless the service ends
        })?;
        Ok(Self { lines: Mutex::new(Some(lines)), ended: Mutex::new(ended), counts })
    }

    fn send(&self, line: String) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let is_line = !line.is_empty();
        let has_room = lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if is_line && !has_room {
            self.counts.lost_total.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn close(&self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(LAST_LINES).is_err() {
            tracing::warn!("the audit log's disk does not take its last lines");
        }
    }
}

/// The thread's own.
struct Writing {
    path: PathBuf,
    file: Option<File>,
    is_torn: bool,
    counts: Arc<Counts>,
}

impl Writing {
    /// Writes a line; an empty one only looks whether the file is to be opened again.
    fn take(&mut self, line: &str) {
        if self.counts.reopen.swap(false, Ordering::Relaxed) {
            match open(&self.path) {
                Ok(file) => (self.file, self.is_torn) = (Some(file), false),
                Err(error) => tracing::error!("the audit log can't be opened again: {error}"),
            }
        }
        if line.is_empty() {
            return;
        }
        match self.write(line) {
            Ok(()) => self.counts.written_total.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                // The 1st, 2nd, 4th, 8th loss and so on: a full disk is not to fill the log.
                if (self.counts.lost_total.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two() {
                    tracing::error!("a line of the audit log could not be written: {error}");
                }
                0
            }
        };
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        // A line that broke off is closed first, so that only that one can't be read.
        let torn = std::mem::replace(&mut self.is_torn, true);
        if torn {
            file.write_all(b"\n")?;
        }
        file.write_all(line.as_bytes())?;
        self.is_torn = false;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
