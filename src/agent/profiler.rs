//! The profiler's edges in this process: cuProfilerStart and -Stop, the NVTX range `capture`, waiting for the device.
//!
//! Started by the hook on the engine's thread, before the iteration that the sidecar named. Stopped by the hook at the
//! window's end; by the helper thread when no step comes, with the context that was current at the start. Every move is
//! a claim on [`Status::profiler`](crate::wire::layout::Status), so that each call is made once. What each call answered and
//! how long it held the engine goes into the status block.

use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::wire::atomics::Native;
use crate::wire::clock::monotonic_ns;
use crate::wire::control::{Parameters, profiler as bits};
use crate::wire::layout::{Calls, NONE};
use crate::wire::profiler::{State, calls, claim, split, word};

use super::cuda::driver::{Driver, driver};
use super::nvtx::range;
use super::state::Joined;

/// The context that was current on the engine's thread when the profiler was started.
static CONTEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// The engine's thread, in its context.
    Engine,
    /// Our own thread, or the process's end.
    Helper,
}

/// A new generation was taken up: nothing of it is switched on yet.
pub(super) fn reset(joined: &Joined, generation: u64) {
    let status = joined.segment.status();
    let facts = &status.calls;
    facts.flags.store(0, Ordering::Relaxed);
    facts.iteration.store(0, Ordering::Relaxed);
    facts.device_times_missed.store(0, Ordering::Relaxed);
    for code in [&facts.start_code, &facts.stop_code, &facts.open_synchronize_code, &facts.close_synchronize_code] {
        code.store(NONE, Ordering::Relaxed);
    }
    for time in [&facts.start_ns, &facts.stop_ns, &facts.open_synchronize_ns, &facts.close_synchronize_ns] {
        time.store(0, Ordering::Relaxed);
    }
    // SYNC profiler: the facts are empty before the generation counts.
    status.profiler.store(word(generation, State::Off), Ordering::Release);
}

/// Whether it is on in this generation.
pub(super) fn is_on(joined: &Joined, generation: u64) -> bool {
    joined.segment.status().profiler.load(Ordering::Acquire) == word(generation, State::On)
}

/// The generation in which it is on, if it is.
pub(super) fn on(joined: &Joined) -> Option<u64> {
    match split(joined.segment.status().profiler.load(Ordering::Acquire)) {
        Some((generation, State::On)) => Some(generation),
        _ => None,
    }
}

/// Starts it before iteration `n`. On the engine's thread.
pub(super) fn start(joined: &Joined, parameters: &Parameters, n: u64) {
    let status = joined.segment.status();
    if !claim::<Native>(&status.profiler, parameters.generation, State::Off, State::Starting) {
        return;
    }
    status.calls.iteration.store(n, Ordering::Relaxed);
    if parameters.profiler & bits::CUDA != 0
        && let Some(driver) = driver()
    {
        if parameters.profiler & bits::SYNCHRONIZE_OPEN != 0 {
            synchronize_open(joined, driver);
        }
        if remember_context(driver).is_null() {
            flag(&status.calls, calls::NO_CONTEXT);
        }
        timed(&status.calls.start_code, &status.calls.start_ns, driver.profiler_start);
    }
    // Inside the profiler's own bounds, so that a tool which waits for either sees both.
    if range::open(parameters.generation) {
        flag(&status.calls, calls::RANGE);
    }
    // SYNC profiler: what the calls did is there before it counts as on.
    status.profiler.store(word(parameters.generation, State::On), Ordering::Release);
}

/// Stops what was started in `generation`. `true`: by this call.
pub(super) fn stop(joined: &Joined, generation: u64, caller: Caller) -> bool {
    let status = joined.segment.status();
    if !claim::<Native>(&status.profiler, generation, State::On, State::Stopping) {
        return false;
    }
    if range::close() {
        flag(&status.calls, calls::RANGE_ENDED);
    }
    if status.calls.start_code.load(Ordering::Relaxed) != NONE
        && let Some(driver) = driver()
    {
        if caller == Caller::Helper {
            enter_context();
        }
        timed(&status.calls.stop_code, &status.calls.stop_ns, driver.profiler_stop);
    }
    if caller == Caller::Helper {
        flag(&status.calls, calls::BY_HELPER);
    }
    // SYNC profiler: what the calls did is there before it counts as stopped.
    status.profiler.store(word(generation, State::Stopped), Ordering::Release);
    true
}

/// Waits until the device has done everything of the iterations before the window.
pub(super) fn synchronize_open(joined: &Joined, driver: &Driver) {
    let facts = &joined.segment.status().calls;
    timed(&facts.open_synchronize_code, &facts.open_synchronize_ns, driver.synchronize);
}

/// Waits until the device has done everything of the window.
pub(super) fn synchronize_close(joined: &Joined, driver: &Driver) {
    let facts = &joined.segment.status().calls;
    timed(&facts.close_synchronize_code, &facts.close_synchronize_ns, driver.synchronize);
}

/// Keeps the context that is current on the engine's thread, and gives it; null for none.
pub(super) fn remember_context(driver: &Driver) -> *mut c_void {
    let context = driver.current_context().unwrap_or(std::ptr::null_mut());
    CONTEXT.store(context, Ordering::Release);
    context
}

/// Makes the engine's context current on this thread, which is our own, or the one that ends the process.
pub(super) fn enter_context() {
    let context = CONTEXT.load(Ordering::Acquire);
    let Some(driver) = driver() else { return };
    driver.leave_captures_alone();
    if !context.is_null() {
        // SAFETY: a context that was current on the engine's thread; the driver answers with a code if it is gone.
        unsafe { (driver.set_context)(context) };
    }
}

/// Iterations are given to a tool.
pub(super) fn ranged(joined: &Joined) {
    flag(&joined.segment.status().calls, calls::ITERATIONS);
}

fn flag(facts: &Calls, bit: u64) {
    facts.flags.fetch_or(bit, Ordering::Relaxed);
}

/// Makes a call; its time adds to what is there, its first failure stays.
fn timed(code: &AtomicU64, time: &AtomicU64, call: unsafe extern "C" fn() -> u32) {
    let began = monotonic_ns();
    // SAFETY: a driver's call without arguments.
    let answer = u64::from(unsafe { call() });
    time.fetch_add(monotonic_ns().saturating_sub(began), Ordering::Relaxed);
    let _ = code.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |c| (c == NONE || c == 0).then_some(answer));
}
