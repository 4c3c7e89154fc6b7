//! What an earlier sidecar left: captures that are over, that wait for their trace, and that it had running.

use std::sync::{Arc, mpsc};

use super::Manager;
use crate::capture::exporter::Work;
use crate::capture::files::Job;
use crate::capture::manifest::{Manifest, State};

impl Manager {
    /// What an earlier sidecar left, finished or not.
    pub(super) fn take_up(&mut self) {
        let manifests: Vec<Arc<Manifest>> = self.shared.manifests().values().cloned().collect();
        for manifest in manifests {
            match manifest.state {
                State::Exporting => self.work.push_back(Work::Export(manifest)),
                state if state.is_final() => {
                    let bytes = self.shared.store.bytes(&manifest.capture_id);
                    self.keep(manifest, bytes);
                }
                _ => self.interrupted.push(manifest),
            }
        }
        self.apply_retention();
        self.tell_holder();
    }

    pub(super) fn resume(&mut self, manifest: Arc<Manifest>) {
        let id = manifest.capture_id.clone();
        tracing::warn!(capture = %id, state = manifest.state.as_str(), "finishing an interrupted capture");
        match self.files.try_send(Job::Resume(manifest)) {
            Ok(()) => self.resuming = Some(id),
            Err(mpsc::TrySendError::Full(Job::Resume(manifest))) => self.interrupted.push(manifest),
            Err(_) => {}
        }
    }
}
