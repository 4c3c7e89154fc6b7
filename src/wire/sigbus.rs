//! Surviving a segment that is cut short while it is mapped.
//!
//! Reading a mapped page behind the end of its file raises SIGBUS. The sidecar registers each mapping here; the handler
//! puts zero pages over the whole mapping that faulted and marks it lost, so that the read goes on, finds zeros, and the
//! collector drops that rank. A SIGBUS elsewhere goes to whoever handled it before. Only the sidecar installs this: the
//! agent's own pages are reserved when the segment is made, and the engine's signal handlers are not ours to touch.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Mappings that can be guarded at a time.
const SLOTS: usize = 1024;

#[derive(Debug)]
struct Slot {
    base: AtomicUsize,
    bytes: AtomicUsize,
    lost: AtomicU32,
}

static SLOT: [Slot; SLOTS] =
    [const { Slot { base: AtomicUsize::new(0), bytes: AtomicUsize::new(0), lost: AtomicU32::new(0) } }; SLOTS];
static INSTALL: Once = Once::new();
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);

/// A guarded mapping; unguarded again when dropped.
#[derive(Debug)]
pub struct Guard(&'static Slot);

impl Guard {
    /// Guards `bytes` at `base`; `None` when too many mappings are guarded already.
    pub fn new(base: usize, bytes: usize) -> Option<Self> {
        INSTALL.call_once(install);
        for slot in &SLOT {
            if slot.base.compare_exchange(0, base, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                slot.lost.store(0, Ordering::Relaxed);
                slot.bytes.store(bytes, Ordering::Release);
                return Some(Self(slot));
            }
        }
        None
    }

    /// Whether the file behind the mapping was cut short.
    pub fn lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire) == 1
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.bytes.store(0, Ordering::Release);
        self.0.base.store(0, Ordering::Release);
    }
}

fn install() {
    // SAFETY: all-zero is a valid sigaction; the handler below is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let mut previous: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, &action, &mut previous) == 0 && previous.sa_flags & libc::SA_SIGINFO != 0 {
            PREVIOUS.store(previous.sa_sigaction, Ordering::Release);
        }
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo for SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &SLOT {
        let (base, bytes) = (slot.base.load(Ordering::Acquire), slot.bytes.load(Ordering::Acquire));
        if base != 0 && (base..base + bytes).contains(&address) {
            // SAFETY: replaces a mapping that is ours, by its registration, with zero pages; mmap is async-signal-safe.
            let mapped = unsafe {
                libc::mmap(
                    base as *mut libc::c_void,
                    bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            if mapped != libc::MAP_FAILED {
                slot.lost.store(1, Ordering::Release);
                return;
            }
        }
    }
    let previous = PREVIOUS.load(Ordering::Acquire);
    if previous > 1 {
        // SAFETY: it was installed as an SA_SIGINFO handler, which has this signature.
        let previous: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(previous) };
        return previous(signal, info, context);
    }
    // SAFETY: gives the signal its default action; the fault repeats when we return and ends the process as it would.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}
