//! The control block: how the sidecar asks and the agent reads.
//!
//! The parameters stand behind `generation` as a sequence lock: odd while they are written, even and larger when they
//! are whole. A reader that meets an odd or a changed generation has seen nothing yet and looks again at its next
//! iteration. `close_last`, `force_close` and the lease stand outside the lock, each one word: they only ever tighten
//! what the generation asked for.

use std::sync::atomic::Ordering;

use super::atomics::{Atomics, Native, Word};
use super::layout::{Control, NONE};

/// What a window switches on; bits of [`Parameters::profiler`].
pub mod profiler {
    /// Records iterations; always set.
    pub const STEPS: u64 = 1;
    /// The profiler `cuda`: device times, and synchronised edges where asked for.
    pub const CUDA: u64 = 2;
    /// This rank makes the calls of its tool's session: cuProfilerStart and -Stop (with [`CUDA`]), the NVTX range `capture`.
    pub const LEADER: u64 = 4;
    /// Other ranks share the session: the leader stops the profiler when it is released, not when its own window closes.
    pub const SHARED: u64 = 8;
    /// Wait for the device before the window opens.
    pub const SYNCHRONIZE_OPEN: u64 = 16;
    /// Wait for the device before the window closes.
    pub const SYNCHRONIZE_CLOSE: u64 = 32;
    /// The engine's own profiler is asked to cover the window too, by the sidecar.
    pub const ENGINE: u64 = 64;
}

/// What one generation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Even, larger than any before it.
    pub generation: u64,
    /// `false`: withdraw.
    pub armed: bool,
    /// [`profiler`] bits.
    pub profiler: u64,
    /// First iteration of the window.
    pub first_iteration: u64,
    /// Last one, or [`NONE`].
    pub last_iteration: u64,
    /// The iteration that the profiler starts before; at most `first_iteration`.
    pub profiler_iteration: u64,
}

/// The words of the sequence lock, over any family of atomics.
#[derive(Debug)]
pub struct Words<'a, A: Atomics> {
    /// See [`Control`].
    pub generation: &'a A::U64,
    /// See [`Control`].
    pub armed: &'a A::U64,
    /// See [`Control`].
    pub profiler: &'a A::U64,
    /// See [`Control`].
    pub first_iteration: &'a A::U64,
    /// See [`Control`].
    pub last_iteration: &'a A::U64,
    /// See [`Control`].
    pub profiler_iteration: &'a A::U64,
}

impl Control {
    /// The words of the sequence lock.
    pub fn words(&self) -> Words<'_, Native> {
        Words {
            generation: &self.generation,
            armed: &self.armed,
            profiler: &self.profiler,
            first_iteration: &self.first_iteration,
            last_iteration: &self.last_iteration,
            profiler_iteration: &self.profiler_iteration,
        }
    }

    /// Opens a new generation: resets the close orders, then publishes. Does not wake the helper.
    pub fn publish(&self, parameters: &Parameters) {
        let words = self.words();
        // What was wanted of an older generation is not wanted any more.
        self.events.store(0, Ordering::Relaxed);
        begin(&words, parameters.generation);
        self.close_last.store(NONE, Ordering::Relaxed);
        self.close_cause.store(0, Ordering::Relaxed);
        finish(&words, parameters);
    }
}

/// First half of a publication: readers keep out from here on.
pub fn begin<A: Atomics>(words: &Words<'_, A>, generation: u64) {
    words.generation.store(generation.wrapping_sub(1), Ordering::Relaxed);
    A::fence(Ordering::Release);
}

/// Second half: the parameters are whole from here on.
pub fn finish<A: Atomics>(words: &Words<'_, A>, parameters: &Parameters) {
    words.armed.store(u64::from(parameters.armed), Ordering::Relaxed);
    words.profiler.store(parameters.profiler, Ordering::Relaxed);
    words.first_iteration.store(parameters.first_iteration, Ordering::Relaxed);
    words.last_iteration.store(parameters.last_iteration, Ordering::Relaxed);
    words.profiler_iteration.store(parameters.profiler_iteration, Ordering::Relaxed);
    // SYNC generation: pairs with the acquire loads of the hook and of `read`.
    words.generation.store(parameters.generation, Ordering::Release);
}

/// Reads a whole parameter block, or nothing.
pub fn read<A: Atomics>(words: &Words<'_, A>) -> Option<Parameters> {
    // SYNC generation: pairs with the release store in `finish`.
    let generation = words.generation.load(Ordering::Acquire);
    if generation & 1 == 1 || generation == 0 {
        return None;
    }
    let parameters = Parameters {
        generation,
        armed: words.armed.load(Ordering::Relaxed) == 1,
        profiler: words.profiler.load(Ordering::Relaxed),
        first_iteration: words.first_iteration.load(Ordering::Relaxed),
        last_iteration: words.last_iteration.load(Ordering::Relaxed),
        profiler_iteration: words.profiler_iteration.load(Ordering::Relaxed),
    };
    A::fence(Ordering::Acquire);
    (words.generation.load(Ordering::Relaxed) == generation).then_some(parameters)
}
