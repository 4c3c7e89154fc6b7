//! What becomes of one request: begun, sent on, answered, over, or broken off by one side.
//!
//! It goes with the request from [`super::forward`] into the answer's body. Dropped before the end, it was the client that
//! went: nobody else drops one.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::counts::Counts;
use super::flights::{Flight, Flights};
use crate::capture::beside::passed::Ending;

/// One request.
#[derive(Debug)]
pub(super) struct Exchange {
    counts: Arc<Counts>,
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    ending: Ending,
    _room: OwnedSemaphorePermit,
}

impl Exchange {
    pub(super) fn begin(
        counts: &Arc<Counts>,
        flights: &Arc<Flights>,
        flight: Arc<Flight>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        counts.began();
        Self { counts: counts.clone(), flights: flights.clone(), flight, ending: Ending::ClientLeft, _room: room }
    }

    /// It goes out to the engine.
    pub(super) fn forwarded(&self) {
        self.flight.forwarded();
    }

    /// The head of the answer is there.
    pub(super) fn answered(&self, status: u16) {
        self.counts.answered(status);
        self.flight.answered(status);
    }

    /// So many bytes of the answer's body.
    pub(super) fn received(&self, bytes: usize) {
        self.counts.received(bytes);
        self.flight.received(bytes);
    }

    /// It was refused here, and the engine never knew of it.
    pub(super) fn refused(&mut self) {
        self.ending = Ending::Refused;
    }

    /// The whole answer went through.
    pub(super) fn finished(&mut self) {
        self.ending = Ending::Finished;
    }

    /// The engine was not there, or broke off.
    pub(super) fn upstream_failed(&mut self) {
        self.ending = Ending::EngineFailed;
        self.counts.upstream_failed();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.counts.ended();
        if self.ending == Ending::ClientLeft {
            self.counts.client_aborted();
        }
        self.flights.end(&self.flight, self.ending);
    }
}
