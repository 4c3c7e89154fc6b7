//! The engine's own profiler, as a capture needs it: a port. Capture says which iterations are wanted and when the window has
//! closed; whoever stands behind [`Native`] speaks with the engine and says what came of it.
//!
//! * A session of it runs beside a capture, in a task of its own: nothing here waits for an engine.
//! * Capture tells it [`Told`]; it tells capture [`Facts`]. Both are values behind a lock that nobody holds for long.
//! * It is over ([`Phase::Over`]) when the engine has let go, or is not waited for any longer. Until then no other capture
//!   starts.
//!
//! Implemented by the room `native`, handed in by `service`. Used by `driving` and the exporter.

use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::capture::manifest::{NativeCall, NativeFile};

/// What will be known.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An engine's own profiler.
pub trait Native: Debug + Send + Sync {
    /// Whether a session can be started, as far as the engine says within some ten milliseconds; nothing is switched on.
    /// An error says what mends it.
    fn check(&self) -> Later<Result<(), String>>;

    /// Begins a session; returns at once. It goes on until it is told to stop, and says so in the facts.
    fn begin(&self, wanted: Wanted, talk: Arc<Talk>);

    /// The iterations that a file of the profiler's shows. Reads it whole, however long it is.
    ///
    /// # Errors
    /// Why it can't be read, in words.
    fn iterations(&self, file: &Path) -> Result<Shown, String>;
}

/// What a session is to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// First iteration of the window.
    pub first_iteration: u64,
    /// Iterations of the window; 0 is until stop.
    pub max_iterations: u64,
    /// Largest iteration begun by now.
    pub begun: u64,
    /// How many iterations a call to the engine may take, at the rate at which it runs.
    pub call_iterations: u64,
    /// What its files are to be called by, where the engine lets us.
    pub prefix: String,
    /// When the capture was accepted, nanoseconds since the epoch.
    pub accepted_at_ns: u64,
    /// A session that a sidecar that died left behind: nothing is started, only stopped.
    pub taken_up: bool,
}

/// What a session is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Largest iteration begun.
    pub begun: u64,
    /// The window has closed.
    pub stop: bool,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The engine has not answered the start.
    Starting,
    /// It has; the window is waited for.
    On,
    /// The engine was told to stop and has not answered.
    Stopping,
    /// Its files are looked for.
    Collecting,
    /// The engine has let go.
    Over,
}

/// What came of a session by now.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where it stands.
    pub phase: Phase,
    /// Which engine, as far as it is known.
    pub kind: String,
    /// Its version, where it says so.
    pub version: Option<String>,
    /// What was sent with the start.
    pub sent: Option<serde_json::Value>,
    /// The last start that was sent.
    pub start: Option<NativeCall>,
    /// The stop that ended it.
    pub stop: Option<NativeCall>,
    /// What it wrote.
    pub files: Vec<NativeFile>,
    /// Bytes that it has written so far, as far as can be seen.
    pub bytes: u64,
    /// Where its files are looked for; `None`: nowhere.
    pub folder: Option<PathBuf>,
    /// What went wrong.
    pub problems: Vec<String>,
    /// Words for the caller.
    pub warnings: Vec<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            phase: Phase::Starting,
            kind: String::new(),
            version: None,
            sent: None,
            start: None,
            stop: None,
            files: Vec::new(),
            bytes: 0,
            folder: None,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// The two sides' words to each other.
#[derive(Debug)]
pub struct Talk {
    told: watch::Sender<Told>,
    facts: Mutex<Facts>,
}

impl Talk {
    /// Of a session that begins.
    pub fn new(begun: u64) -> Arc<Self> {
        let (told, _) = watch::channel(Told { begun, stop: false });
        Arc::new(Self { told, facts: Mutex::default() })
    }

    /// Capture's side: what is known now.
    pub fn tell(&self, told: Told) {
        self.told.send_if_modified(|known| std::mem::replace(known, told) != told);
    }

    /// The other side: what is told, and when it changes.
    pub fn listen(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// What came of it.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The iterations that a file shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Events in the file.
    pub events: u64,
    /// When each iteration began, nanoseconds since the epoch, in order.
    pub begins_ns: Vec<i64>,
    /// Steps in which nothing was computed: they are no iterations.
    pub empty: u64,
    /// Why it ends too early, if it does.
    pub cut: Option<String>,
}
