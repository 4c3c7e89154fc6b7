//! The helper thread: one per rank, asleep unless a window is armed or open.
//!
//! It closes what no step closes: an idle engine's window when the agreed last iteration has ended, any window when the
//! sidecar orders it, and one whose lease ran out. It never synchronises with the engine and never takes its lock.

use std::sync::atomic::Ordering;

use crate::wire::clock::monotonic_ns;
use crate::wire::control;
use crate::wire::gate::{self, Cause, State};

use super::state::Joined;
use super::window;

/// How often it looks while a window is armed or open.
const LOOK_NS: u64 = 50_000_000;
/// How long an iteration may still run past the lease.
const PATIENCE_NS: u64 = 2_000_000_000;
/// After this many panics the helper gives up; the hook still opens and closes.
const PANICS: u32 = 3;
const STACK_BYTES: usize = 256 << 10;

/// Starts it, with all signals blocked, so that the engine's handlers never run on our thread. Failing is no harm: the
/// hook still opens and closes; only an idle engine's window then waits for the next step.
pub(super) fn start(joined: &'static Joined) {
    // SAFETY: plain signal-mask calls with valid sets; the mask of the calling thread is put back.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let _ = std::thread::Builder::new().name("stepscope".into()).stack_size(STACK_BYTES).spawn(move || {
            // A defect of ours that strikes again and again must not keep a core busy.
            (0..PANICS).any(|_| std::panic::catch_unwind(|| watch(joined)).is_ok());
        });
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
    }
}

fn watch(joined: &'static Joined) {
    loop {
        let seen = joined.segment.control().wake.load(Ordering::Acquire);
        let timeout = look(joined);
        joined.segment.sleep(seen, timeout);
    }
}

/// Looks once; says how long to sleep.
fn look(joined: &'static Joined) -> Option<u64> {
    let (control, status) = (joined.segment.control(), joined.segment.status());
    let now = monotonic_ns();
    let lease = control.lease_deadline_ns.load(Ordering::Relaxed);
    let gate = gate::split(status.gate.load(Ordering::Acquire));
    let Some((generation, State::Open)) = gate else {
        let armed = control::read(&control.words())
            .is_some_and(|p| p.armed && gate != Some((p.generation, State::Closed)) && now <= lease);
        // Being opened or closed by the hook, or armed: look again soon. Else sleep until woken.
        return (armed || matches!(gate, Some((_, State::Opening | State::Closing)))).then_some(LOOK_NS);
    };
    let ended = status.ended.load(Ordering::Acquire);
    let idle = status.begun.load(Ordering::Acquire) == ended;
    let close_last = control.close_last.load(Ordering::Acquire);
    let ordered = Cause::from_word(control.close_cause.load(Ordering::Relaxed));
    let forced = control.force_close.load(Ordering::Acquire) == generation;
    // Called off while it was open (a start that failed half-way): no step may ever come to notice.
    let withdrawn = control::read(&control.words()).is_some_and(|p| p.generation != generation && !p.armed);
    if withdrawn {
        window::close_now(joined, Cause::Superseded);
    } else if forced || idle && close_last <= ended {
        window::close_now(joined, ordered);
    } else if now > lease && (idle || now > lease.saturating_add(PATIENCE_NS)) {
        window::close_now(joined, Cause::Lease);
    }
    Some(LOOK_NS)
}
