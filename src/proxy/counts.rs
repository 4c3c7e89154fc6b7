//! What is counted of requests that are passed on. Called by [`super::exchange`]; read by `service` for `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counted since the start. Each number stands for itself: nothing is published through it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answered, by the hundreds of the status: 1xx to 5xx.
    answered: [AtomicU64; 5],
    in_flight: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    upstream_errors: AtomicU64,
    client_aborts: AtomicU64,
    tunnels: AtomicU64,
    connections: AtomicU64,
    retried: AtomicU64,
    is_absent: AtomicBool,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Answers of the engine by the hundreds of their status: 1xx to 5xx.
    pub answered_total: [u64; 5],
    /// Requests that are with the engine.
    pub in_flight: u64,
    /// Bytes of bodies to the engine, tunnels included.
    pub sent_bytes_total: u64,
    /// Bytes of bodies to the clients, tunnels included.
    pub received_bytes_total: u64,
    /// Requests that the engine could not be given, or whose answer broke off.
    pub upstream_errors_total: u64,
    /// Requests whose client went before their end.
    pub client_aborts_total: u64,
    /// Connections that became tunnels (WebSocket, say).
    pub tunnels_total: u64,
    /// Connections made to the engine.
    pub connections_total: u64,
    /// Requests sent a second time, since their connection had been closed meanwhile.
    pub retried_total: u64,
}

fn add(count: &AtomicU64, n: u64) {
    count.fetch_add(n, Ordering::Relaxed);
}

impl Counts {
    pub(super) fn began(&self) {
        add(&self.in_flight, 1);
    }

    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: u16) {
        if let Some(class) = self.answered.get(usize::from(status / 100).wrapping_sub(1)) {
            add(class, 1);
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes as u64);
    }

    pub(super) fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes as u64);
    }

    pub(super) fn upstream_failed(&self) {
        add(&self.upstream_errors, 1);
    }

    pub(super) fn client_aborted(&self) {
        add(&self.client_aborts, 1);
    }

    pub(super) fn tunnelled(&self) {
        add(&self.tunnels, 1);
    }

    pub(super) fn connected(&self) {
        add(&self.connections, 1);
    }

    /// The engine took a connection, or did not; `true`: it is news.
    pub(super) fn found(&self, is_there: bool) -> bool {
        self.is_absent.swap(!is_there, Ordering::Relaxed) == is_there
    }

    pub(super) fn retried(&self) {
        add(&self.retried, 1);
    }

    /// All of them, as they are now.
    pub fn read(&self) -> Counted {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            answered_total: self.answered.each_ref().map(value),
            in_flight: value(&self.in_flight),
            sent_bytes_total: value(&self.sent_bytes),
            received_bytes_total: value(&self.received_bytes),
            upstream_errors_total: value(&self.upstream_errors),
            client_aborts_total: value(&self.client_aborts),
            tunnels_total: value(&self.tunnels),
            connections_total: value(&self.connections),
            retried_total: value(&self.retried),
        }
    }
}
