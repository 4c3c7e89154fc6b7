//! Log lines to stderr, for which nobody waits, and with `--self-trace FILE` the service's own spans as a Chrome trace.
//!
//! Set up once per process, by `cli`; what [`init`] gives has to live until the end, since dropping it writes out the
//! last lines and what the trace still holds.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use tracing_chrome::{ChromeLayerBuilder, FlushGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::lines::{Last, Lines};
use crate::config::{LogFormat, LogSettings};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The level is neither a level nor directives.
    #[error("log level {text:?}: {source}: try error, warn, info, debug or trace")]
    Level {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The trace file can't be made.
    #[error("self trace {}: {source}", path.display())]
    SelfTrace {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No thread can be started.
    #[error("log lines can't be written: {0}")]
    Thread(std::io::Error),
    /// Somebody else has set logging up in this process.
    #[error("logging is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps logging alive; dropping it writes out the last lines and finishes the self trace.
pub struct Logs {
    _self_trace: Option<FlushGuard>,
    _last: Last,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("self_trace", &self._self_trace.is_some()).finish()
    }
}

/// Sets up logging for the whole process.
pub fn init(settings: &LogSettings, self_trace: Option<&PathBuf>) -> Result<Logs, LogsError> {
    let filter = EnvFilter::try_new(&settings.level)
        .map_err(|source| LogsError::Level { text: settings.level.clone(), source })?;
    let (to_stderr, last) = Lines::start(std::io::stderr()).map_err(LogsError::Thread)?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Text => {
            let colours =
                std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            fmt::layer().with_writer(to_stderr).with_ansi(colours).with_filter(filter).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(to_stderr).with_filter(filter).boxed(),
    };
    let (spans, guard) = match self_trace {
        Some(path) => {
            let file = File::create(path).map_err(|source| LogsError::SelfTrace { path: path.clone(), source })?;
            let (layer, guard) = ChromeLayerBuilder::new().writer(BufWriter::new(file)).include_args(true).build();
            (Some(layer), Some(guard))
        }
        None => (None, None),
    };
    tracing_subscriber::registry().with(lines).with(spans).try_init()?;
    Ok(Logs { _self_trace: guard, _last: last })
}
