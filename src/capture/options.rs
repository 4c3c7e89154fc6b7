//! What the session is set to; the service makes it out of its settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::native::Native;
use super::request::Profiler;
use super::store::Retention;

/// Settings of the capture room.
#[derive(Debug, Clone)]
pub struct Options {
    /// The segment folder.
    pub dir: PathBuf,
    /// Where captures are kept.
    pub data: PathBuf,
    /// Take segments of the folder's group too.
    pub trust_group: bool,
    /// For a start that does not say.
    pub default_delay_iterations: u64,
    /// For a start that does not say; 0 is until stop.
    pub default_max_iterations: u64,
    /// For a start that does not say.
    pub default_profiler: Profiler,
    /// Longest window, and the default.
    pub max_duration: Duration,
    /// Longest wait for a window to open.
    pub max_wait: Duration,
    /// Most records of a capture; 0: no limit.
    pub max_events: u64,
    /// Most bytes of a capture; 0: no limit.
    pub max_bytes: u64,
    /// Most bytes of a capture's records that wait in memory for a disk that does not take them; 0: none.
    pub buffer_bytes: u64,
    /// How long an agent goes on without a sign of the sidecar.
    pub lease: Duration,
    /// Which captures are kept.
    pub retention: Retention,
    /// The engine's own profiler, where there is one to be asked.
    pub native: Option<Arc<dyn Native>>,
}
