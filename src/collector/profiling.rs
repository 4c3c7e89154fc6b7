//! What a rank's agent says it can do, and what its profiler's calls did: copied out of the status block and checked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::capability::{Question, get};
use crate::wire::layout::{Calls, Capabilities, NONE, Status};
use crate::wire::profiler::{State, calls, split};

pub use crate::wire::capability::Answer;

/// What an agent can do, as it last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// The CUDA driver's library can be loaded.
    pub cuda_library: Answer,
    /// It has the profiler's symbols.
    pub cuda_symbols: Answer,
    /// cuInit answered 0.
    pub cuda_initialized: Answer,
    /// A context was current on the engine's thread.
    pub cuda_context: Answer,
    /// A tool listens to NVTX.
    pub nvtx_tool: Answer,
    /// Its iterations come from NVTX ranges of the engine's own.
    pub nvtx_steps: Answer,
    /// Started by nsys.
    pub nsys: Answer,
    /// Started by ncu.
    pub ncu: Answer,
    /// What cuInit answered.
    pub cuda_code: Option<u32>,
    /// The driver's version, 12080 for 12.8.
    pub cuda_version: Option<u32>,
}

impl Abilities {
    pub(super) fn of(words: &Capabilities) -> Self {
        let bits = words.bits.load(Ordering::Relaxed);
        let answer = |question| get(bits, question);
        Self {
            cuda_library: answer(Question::CudaLibrary),
            cuda_symbols: answer(Question::CudaSymbols),
            cuda_initialized: answer(Question::CudaInitialized),
            cuda_context: answer(Question::CudaContext),
            nvtx_tool: answer(Question::NvtxTool),
            nvtx_steps: answer(Question::NvtxSteps),
            nsys: answer(Question::Nsys),
            ncu: answer(Question::Ncu),
            cuda_code: code(&words.cuda_code),
            cuda_version: code(&words.cuda_version).filter(|&version| version != 0),
        }
    }
}

/// What the profiler did in one rank's window. Codes are CUresult values; `None`: no such call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProfilerCalls {
    /// It is on, or on its way.
    pub running: bool,
    /// It was on, and is stopped.
    pub stopped: bool,
    /// The iteration before which it was started.
    pub iteration: Option<u64>,
    /// Of cuProfilerStart.
    pub start_code: Option<u32>,
    /// How long that held the engine, nanoseconds.
    pub start_ns: u64,
    /// Of cuProfilerStop.
    pub stop_code: Option<u32>,
    /// How long that held the engine, nanoseconds.
    pub stop_ns: u64,
    /// Of cuCtxSynchronize at the opening.
    pub open_synchronize_code: Option<u32>,
    /// How long that held the engine, nanoseconds.
    pub open_synchronize_ns: u64,
    /// Of cuCtxSynchronize at the closing.
    pub close_synchronize_code: Option<u32>,
    /// How long that held the engine, nanoseconds.
    pub close_synchronize_ns: u64,
    /// The NVTX range `capture` was opened in a tool.
    pub range: bool,
    /// And closed.
    pub range_ended: bool,
    /// Iterations were given to a tool as NVTX ranges.
    pub iteration_ranges: bool,
    /// The helper thread stopped it.
    pub by_helper: bool,
    /// No CUDA context was current on the engine's thread when it was started.
    pub no_context: bool,
    /// Iterations whose device time could not be had.
    pub device_times_missed: u64,
}

impl ProfilerCalls {
    /// Of the window of `generation`, or nothing if the words are of another one.
    pub(super) fn of(status: &Status, generation: u64) -> Self {
        // SYNC profiler: acquire, so that the facts below are at least as new.
        let (at, state) = split(status.profiler.load(Ordering::Acquire)).unwrap_or((0, State::Off));
        if at != generation {
            return Self::default();
        }
        let facts: &Calls = &status.calls;
        let flags = facts.flags.load(Ordering::Relaxed);
        let has = |bit| flags & bit != 0;
        Self {
            running: matches!(state, State::Starting | State::On | State::Stopping),
            stopped: state == State::Stopped,
            iteration: (state != State::Off).then(|| facts.iteration.load(Ordering::Relaxed)),
            start_code: code(&facts.start_code),
            start_ns: facts.start_ns.load(Ordering::Relaxed),
            stop_code: code(&facts.stop_code),
            stop_ns: facts.stop_ns.load(Ordering::Relaxed),
            open_synchronize_code: code(&facts.open_synchronize_code),
            open_synchronize_ns: facts.open_synchronize_ns.load(Ordering::Relaxed),
            close_synchronize_code: code(&facts.close_synchronize_code),
            close_synchronize_ns: facts.close_synchronize_ns.load(Ordering::Relaxed),
            range: has(calls::RANGE),
            range_ended: has(calls::RANGE_ENDED),
            iteration_ranges: has(calls::ITERATIONS),
            by_helper: has(calls::BY_HELPER),
            no_context: has(calls::NO_CONTEXT),
            device_times_missed: facts.device_times_missed.load(Ordering::Relaxed),
        }
    }
}

fn code(word: &AtomicU64) -> Option<u32> {
    Some(word.load(Ordering::Relaxed)).filter(|&code| code != NONE).and_then(|code| u32::try_from(code).ok())
}
