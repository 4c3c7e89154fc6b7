//! The profiler's word: whether the CUDA profiler and the NVTX range `capture` are on in this rank, and who may move it on.
//!
//! As the gate's word, it holds a generation (upper 60 bits) and a [`State`] (lower 4), and every move is one
//! compare-and-swap, so that the hook and the helper thread never both make a call.
//!
//! ```text
//! Off ──► Starting ──► On ──► Stopping ──► Stopped
//! ```

use std::sync::atomic::Ordering;

use super::atomics::{Atomics, Word};

/// Where the profiler stands in one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    /// Never started in this generation.
    Off = 0,
    /// The hook starts it.
    Starting = 1,
    /// Started.
    On = 2,
    /// Somebody stops it.
    Stopping = 3,
    /// Stopped; the calls' facts are final.
    Stopped = 4,
}

/// Bits of [`super::layout::Calls::flags`].
pub mod calls {
    /// The NVTX range `capture` was opened, in a tool that listens.
    pub const RANGE: u64 = 1;
    /// The NVTX range `capture` was closed.
    pub const RANGE_ENDED: u64 = 2;
    /// The helper thread stopped it, not the engine's.
    pub const BY_HELPER: u64 = 4;
    /// Iterations were given to a tool as NVTX ranges.
    pub const ITERATIONS: u64 = 8;
    /// No CUDA context was current on the engine's thread when it was started.
    pub const NO_CONTEXT: u64 = 16;
}

/// Packs generation and state.
pub const fn word(generation: u64, state: State) -> u64 {
    generation << 4 | state as u64
}

/// Takes the word apart; `None` for a state that does not exist.
pub fn split(word: u64) -> Option<(u64, State)> {
    let state = match word & 15 {
        0 => State::Off,
        1 => State::Starting,
        2 => State::On,
        3 => State::Stopping,
        4 => State::Stopped,
        _ => return None,
    };
    Some((word >> 4, state))
}

/// Moves it on, if it is exactly where the caller thinks it is. The winner alone goes on; the loser does nothing.
pub fn claim<A: Atomics>(at: &A::U64, generation: u64, from: State, to: State) -> bool {
    // SYNC profiler: acquire sees the facts of whoever moved it last, release publishes ours.
    at.compare_exchange(word(generation, from), word(generation, to), Ordering::AcqRel, Ordering::Acquire).is_ok()
}
