//! The gate's word and its claims: which state a rank's window is in, and who may move it on.
//!
//! One 64-bit word holds the generation (upper 60 bits) and the [`State`] (lower 4). Every move is one compare-and-swap
//! from an exact generation and state, so that of the hook and the helper thread one wins and the other does nothing.
//!
//! ```text
//! Idle ──arm──► Armed ──► Opening ──► Open ──► Closing ──► Closed
//!                 └──────────────────────────────────────────┘ cancelled, missed
//! ```

use std::sync::atomic::Ordering;

use super::atomics::{Atomics, Word};

/// Where a window stands in one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    /// Nothing was asked.
    Idle = 0,
    /// Asked for, not yet reached.
    Armed = 1,
    /// Somebody opens it.
    Opening = 2,
    /// Open.
    Open = 3,
    /// Somebody closes it.
    Closing = 4,
    /// Over; the facts are final.
    Closed = 5,
}

/// Why a window closed in one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// Still open, or never asked for.
    None = 0,
    /// The last iteration asked for ended.
    MaxIterations = 1,
    /// Somebody called stop.
    Stop = 2,
    /// `max_duration_ms` ran out.
    MaxDuration = 3,
    /// `max_events` was reached.
    MaxEvents = 4,
    /// `max_bytes` was reached.
    MaxBytes = 5,
    /// The sidecar did not renew the lease.
    Lease = 6,
    /// The engine exited in order.
    Exit = 7,
    /// A newer generation took over (the opening was agreed anew, or another capture began).
    Superseded = 8,
    /// The rank saw the window too late to open it in time.
    Missed = 9,
    /// The sidecar is shutting down.
    Shutdown = 10,
    /// The capture could not go on (its disk is full, say).
    Failed = 11,
}

impl Cause {
    /// From a word that a stranger may have written.
    pub fn from_word(word: u64) -> Self {
        use Cause::*;
        [None, MaxIterations, Stop, MaxDuration, MaxEvents, MaxBytes, Lease, Exit, Superseded, Missed, Shutdown, Failed]
            .get(usize::try_from(word).unwrap_or(usize::MAX))
            .copied()
            .unwrap_or(None)
    }
}

/// Bits of [`super::layout::Facts::flags`].
pub mod facts {
    /// Closed while an iteration ran.
    pub const MID_ITERATION: u64 = 1;
    /// An iteration began while the helper thread closed; it is outside the window.
    pub const OVERLAPPED: u64 = 2;
    /// Closed by the helper thread, not by the hook.
    pub const BY_HELPER: u64 = 4;
}

/// Packs generation and state.
#[inline(always)]
pub const fn word(generation: u64, state: State) -> u64 {
    generation << 4 | state as u64
}

/// Takes a gate word apart; `None` for a state that does not exist.
pub fn split(word: u64) -> Option<(u64, State)> {
    let state = match word & 15 {
        0 => State::Idle,
        1 => State::Armed,
        2 => State::Opening,
        3 => State::Open,
        4 => State::Closing,
        5 => State::Closed,
        _ => return None,
    };
    Some((word >> 4, state))
}

/// Moves the gate on, if it is exactly where the caller thinks it is. The winner alone goes on; the loser does nothing.
#[inline]
pub fn claim<A: Atomics>(gate: &A::U64, generation: u64, from: State, to: State) -> bool {
    // SYNC gate: acquire sees the facts of whoever moved it last, release publishes ours.
    gate.compare_exchange(word(generation, from), word(generation, to), Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The hook's half of the opening agreement: announces iteration `n`, then looks which generation holds.
///
/// The sidecar stores the generation, runs the heavy fence, and loads `begun`. Either it sees `n`, or we see its
/// generation; both may see, never neither.
#[inline(always)]
pub fn announce<A: Atomics>(begun: &A::U64, n: u64, generation: &A::U64) -> u64 {
    begun.store(n, Ordering::Relaxed);
    A::light_fence();
    // SYNC generation: pairs with the release store in `control::publish`.
    generation.load(Ordering::Acquire)
}
