//! The helper thread: one per rank, asleep unless a window is armed or open.
//!
//! It closes what no step closes: an idle engine's window when the agreed last iteration has ended, any window when the
//! sidecar orders it, and one whose lease ran out. It never synchronises with the engine and never takes its lock.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use crate::wire::clock::monotonic_ns;
use crate::wire::control;
use crate::wire::gate::{self, Cause, State};

use super::profiler::{self, Caller};
use super::state::Joined;
use super::{capability, edges};

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
        // An engine with much thread-local storage has no room for it in a small stack.
        let _ = spawn(joined, Some(STACK_BYTES)) || spawn(joined, None);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
    }
}

fn spawn(joined: &'static Joined, stack_bytes: Option<usize>) -> bool {
    // SAFETY: the attributes are initialised before they are used, and destroyed once; the thread gets what lives for ever.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_attr_init(&mut attributes) != 0 {
            return false;
        }
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        if let Some(bytes) = stack_bytes {
            libc::pthread_attr_setstacksize(&mut attributes, bytes);
        }
        let mut thread: libc::pthread_t = std::mem::zeroed();
        let argument = std::ptr::from_ref(joined).cast_mut().cast();
        let started = libc::pthread_create(&mut thread, &attributes, run, argument) == 0;
        libc::pthread_attr_destroy(&mut attributes);
        started
    }
}

extern "C" fn run(joined: *mut c_void) -> *mut c_void {
    // SAFETY: what `spawn` gave; it is never freed. The name is NUL-terminated.
    let joined: &'static Joined = unsafe {
        libc::prctl(libc::PR_SET_NAME, c"stepscope".as_ptr());
        &*joined.cast::<Joined>()
    };
    // A defect of ours that strikes again and again must not keep a core busy.
    (0..PANICS).any(|_| std::panic::catch_unwind(|| watch(joined)).is_ok());
    std::ptr::null_mut()
}

fn watch(joined: &'static Joined) -> std::convert::Infallible {
    // A generation whose profiler may be stopped, and that the hook was left a while for.
    let mut waited_for = 0;
    loop {
        let (control, status) = (joined.segment.control(), joined.segment.status());
        let seen = control.wake.load(Ordering::Acquire);
        let asked = control.probe.load(Ordering::Acquire);
        if asked != status.capabilities.probed.load(Ordering::Relaxed) {
            capability::probe(joined, asked);
        }
        let window = look(joined);
        let profiler = look_at_profiler(joined, &mut waited_for);
        joined.segment.sleep(seen, window.or(profiler));
    }
}

/// Stops a profiler that is not needed any more: at once on an idle engine, else only if the hook, whose thread it was
/// started on, has not done so since the last look. Says how long to sleep.
fn look_at_profiler(joined: &'static Joined, waited_for: &mut u64) -> Option<u64> {
    let (control, status) = (joined.segment.control(), joined.segment.status());
    let generation = profiler::on(joined)?;
    let gate = gate::split(status.gate.load(Ordering::Acquire));
    let open = matches!(gate, Some((_, State::Opening | State::Open | State::Closing)));
    let late = monotonic_ns() > control.lease_deadline_ns.load(Ordering::Relaxed);
    let released = control.profiler_release.load(Ordering::Acquire) == generation;
    let withdrawn = control::read(&control.words()).is_some_and(|p| p.generation != generation);
    if !open && (late || released || withdrawn) {
        let idle = status.begun.load(Ordering::Acquire) == status.ended.load(Ordering::Acquire);
        if (idle || *waited_for == generation) && profiler::stop(joined, generation, Caller::Helper) {
            return None;
        }
        *waited_for = generation;
    }
    Some(LOOK_NS)
}

/// Looks once; says how long to sleep.
fn look(joined: &'static Joined) -> Option<u64> {
    let (control, status) = (joined.segment.control(), joined.segment.status());
    let now = monotonic_ns();
    let gate = gate::split(status.gate.load(Ordering::Acquire));
    // Behind the gate: an open window's lease was given before its generation, so this is not the one before's.
    let lease = control.lease_deadline_ns.load(Ordering::Relaxed);
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
    let overdue = now > lease.saturating_add(PATIENCE_NS);
    if withdrawn {
        edges::close_now(joined, generation, Cause::Superseded, true);
    } else if forced || idle && close_last <= ended {
        edges::close_now(joined, generation, ordered, forced);
    } else if now > lease && (idle || overdue) {
        edges::close_now(joined, generation, Cause::Lease, overdue);
    }
    Some(LOOK_NS)
}
