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
    wait: Wait,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    until_ns: u64,
    called_off: Option<ClosedBy>,
}

impl Wait {
    fn new(until_ns: u64) -> Self {
        Self { until_ns, called_off: None }
    }

    fn goes_on(self) -> bool {
        self.called_off.is_none()
    }

    fn lapses(self, now_ns: u64) -> bool {
        self.goes_on() && now_ns >= self.until_ns
    }

    /// Whether this is what ended it.
    fn call_off(&mut self, by: ClosedBy) -> bool {
        let first = self.goes_on();
        self.called_off.get_or_insert(by);
        first
    }
}

impl Held {
    pub(super) fn new(request: StartRequest, manifest: Manifest, until_ns: u64) -> Self {
        Self { request, manifest, wait: Wait::new(until_ns) }
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
        self.wait.goes_on()
    }

    /// Nobody opened it in time.
    pub(super) fn lapses(&self, now_ns: u64) -> bool {
        self.wait.lapses(now_ns)
    }

    /// Ends it: its last manifest, the first time.
    pub(super) fn call_off(&mut self, by: ClosedBy) -> Option<Manifest> {
        if !self.wait.call_off(by) {
            return None;
        }
        let manifest = &mut self.manifest;
        manifest.held = false;
        if let Some(native) = &mut manifest.native {
            native.state = "unused".into();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lapses_at_its_time_and_not_once_it_is_called_off() {
        let mut wait = Wait::new(100);
        assert!(wait.goes_on() && !wait.lapses(99) && wait.lapses(100) && wait.lapses(u64::MAX));
        assert!(wait.call_off(ClosedBy::Stop));
        assert!(!wait.goes_on() && !wait.lapses(100));
    }

    #[test]
    fn the_first_word_ends_it_and_later_ones_change_nothing() {
        for first in [ClosedBy::Stop, ClosedBy::MaxWait, ClosedBy::Shutdown, ClosedBy::Failed] {
            let mut wait = Wait::new(100);
            assert!(wait.call_off(first));
            assert!(!wait.call_off(ClosedBy::Shutdown));
            assert_eq!(wait.called_off, Some(first));
        }
    }
}
