//! Setting up the session: the data folder, what an earlier sidecar left in it, and the three threads.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use super::exporter;
use super::files::{self, Files};
use super::handle::{Captures, Shared};
use super::manager::{Manager, QUEUE};
use super::options::Options;
use super::store::Store;
use super::threads;

/// Why the session could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error("data folder {folder}: {source}")]
    Data {
        /// Which.
        folder: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A thread.
    #[error("the session's threads could not be started: {0}")]
    Thread(std::io::Error),
}

/// Opens the data folder, finishes what an earlier sidecar left, and starts the threads.
///
/// # Errors
/// See [`OpenError`].
pub fn open(options: Options) -> Result<Captures, OpenError> {
    let data = |source| OpenError::Data { folder: options.data.clone(), source };
    let store = Store::open(&options.data).map_err(data)?;
    let manifests = store.load().map_err(data)?;
    let shared = Arc::new(Shared::new(store));
    for manifest in manifests {
        shared.publish(Arc::new(manifest));
    }
    let (commands, inbox) = mpsc::sync_channel(QUEUE);
    let (native, default_profiler) = (options.native.clone(), options.default_profiler);
    let (files, jobs) = mpsc::sync_channel(files::QUEUE);
    let (exporter, work) = mpsc::sync_channel(1);
    let manager = Manager::new(options, shared.clone(), files, exporter);
    let writer = Files::new(shared.clone(), commands.clone());
    let (written, answers, reader) = (shared.clone(), commands.clone(), native.clone());
    threads::start("stepscope-files", move || writer.run(&jobs)).map_err(OpenError::Thread)?;
    threads::start("stepscope-export", move || exporter::run(&written, reader.as_deref(), &answers, &work))
        .map_err(OpenError::Thread)?;
    threads::start("stepscope-capture", move || manager.run(&inbox)).map_err(OpenError::Thread)?;
    Ok(Captures { commands, shared, native, default_profiler })
}
