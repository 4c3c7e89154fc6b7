//! The thread `stepscope-export`: work on captures that are over, one piece at a time, since the engine's cores are not
//! ours. It writes traces and removes what retention lets go.
//!
//! Told what to do by the manager, which keeps what waits; answers with [`Command`]s.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::export;
use super::handle::{Command, Shared};
use super::manifest::{CaptureId, Complete, Manifest, State};
use super::native::Native;
use super::native::files as engine_files;

/// A piece of work.
#[derive(Debug)]
pub(super) enum Work {
    /// Write the trace. Answered by [`Command::Exported`].
    Export(Arc<Manifest>),
    /// Remove the capture. Answered by [`Command::Removed`].
    Remove(CaptureId),
}

/// Until nobody has work any more.
pub(super) fn run(shared: &Shared, native: Option<&dyn Native>, answers: &SyncSender<Command>, work: &Receiver<Work>) {
    for work in work {
        let answer = match work {
            Work::Export(manifest) => {
                let manifest = finished(shared, native, &manifest);
                let bytes = shared.store.bytes(&manifest.capture_id);
                Command::Exported(Box::new(manifest), bytes)
            }
            Work::Remove(id) => {
                let removed = shared.store.delete(&id);
                Command::Removed(id, removed)
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// Writes the trace, takes what the engine's own profiler wrote, and writes the last manifest.
fn finished(shared: &Shared, native: Option<&dyn Native>, manifest: &Manifest) -> Manifest {
    let store = &shared.store;
    let mut manifest = manifest.clone();
    // In front of the trace: what is missing stands in that too.
    let taken = catch_unwind(AssertUnwindSafe(|| engine_files::take(&mut manifest, store, native)));
    if taken.is_err() {
        manifest.complete = Complete::No;
        manifest.missing.push("the engine's files could not be taken: it panicked".into());
    }
    let write = || {
        let files = store.trace_files(&manifest.capture_id)?;
        export::write_trace(&manifest, &store.folder(&manifest.capture_id), &files)
    };
    let written = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| Err(std::io::Error::other("it panicked")));
    match written {
        Ok(artifact) => {
            manifest.state = State::Done;
            manifest.artifacts.push(artifact);
        }
        Err(error) => {
            manifest.state = State::Failed;
            manifest.reason = Some(format!("the trace could not be written: {error}"));
        }
    }
    manifest.finished_at = Some(jiff::Timestamp::now().to_string());
    if let Err(error) = store.save_last(&manifest) {
        manifest.state = State::Failed;
        manifest.reason.get_or_insert_with(|| format!("the manifest could not be written: {error}"));
    }
    manifest
}
