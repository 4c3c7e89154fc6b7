//! A capture that is accepted and waits to be opened: a state machine without clock or thread.
//!
//! ```text
//! waiting ──open──► (a running capture)
//!    └──stop, lapse, shutdown──► called off, once
//! ```
//!
//! Nothing of it is in an engine, so nothing has to be taken back. `now_ns` is CLOCK_MONOTONIC. Called by
//! `manager::starts`.

use std::sync::Arc;

use super::manifest::{CaptureId, ClosedBy, Manifest, State};
use super::request::StartRequest;

/// The capture, and what was asked for.
#[derive(Debug)]
pub(super) struct Held {
    request: StartRequest,
    manifest: Manifest,
    until_ns: u64,
    called_off: bool,
}

impl Held {
    pub(super) fn new(request: StartRequest, manifest: Manifest, until_ns: u64) -> Self {
        Self { request, manifest, until_ns, called_off: false }
    }

    pub(super) fn id(&self) -> &CaptureId {
        &self.manifest.capture_id
    }

    pub(super) fn request(&self) -> &StartRequest {
        &self.request
    }

    pub(super) fn manifest(&self) -> Arc<Manifest> {
        Arc::new(self.manifest.clone())
    }

    /// It can still be opened.
    pub(super) fn is_waiting(&self) -> bool {
        !self.called_off
    }

    /// Nobody opened it in time.
    pub(super) fn lapses(&self, now_ns: u64) -> bool {
        self.is_waiting() && now_ns >= self.until_ns
    }

    /// Ends it: its last manifest, the first time.
    pub(super) fn call_off(&mut self, by: ClosedBy) -> Option<Manifest> {
        if std::mem::replace(&mut self.called_off, true) {
            return None;
        }
        let manifest = &mut self.manifest;
        manifest.held = false;
        manifest.closed_by = Some(by);
        manifest.finished_at = Some(jiff::Timestamp::now().to_string());
        manifest.state = if by == ClosedBy::Failed { State::Failed } else { State::Cancelled };
        manifest.reason = match by {
            ClosedBy::MaxWait => Some("it was held, and nobody opened it in time".into()),
            ClosedBy::Failed => Some("its files could not be written".into()),
            _ => None,
        };
        Some(manifest.clone())
    }
}
