//! What becomes of one request: begun, sent on, answered, over, or broken off by one side.
//!
//! It goes with the request from [`super::forward`] into the answer's body. Dropped before the end, it was the client that
//! went: nobody else drops one. Cost: a few additions.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::counts::Counts;

/// One request.
#[derive(Debug)]
pub(super) struct Exchange {
    counts: Arc<Counts>,
    is_over: bool,
    _room: OwnedSemaphorePermit,
}

impl Exchange {
    pub(super) fn begin(counts: &Arc<Counts>, room: OwnedSemaphorePermit) -> Self {
        counts.began();
        Self { counts: counts.clone(), is_over: false, _room: room }
    }

    pub(super) fn answered(&self, status: u16) {
        self.counts.answered(status);
    }

    /// So many bytes of the answer's body.
    pub(super) fn received(&self, bytes: usize) {
        self.counts.received(bytes);
    }

    /// The whole answer went through.
    pub(super) fn finished(&mut self) {
        self.is_over = true;
    }

    /// It was refused here, and the engine never knew of it.
    pub(super) fn refused(&mut self) {
        self.is_over = true;
    }

    /// The engine was not there, or broke off.
    pub(super) fn upstream_failed(&mut self) {
        self.is_over = true;
        self.counts.upstream_failed();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.counts.ended();
        if !self.is_over {
            self.counts.client_aborted();
        }
    }
}
