//! The heavy half of the asymmetric fence: the sidecar pays, so that the hook need not.

use std::time::Duration;

const CMD_QUERY: libc::c_int = 0;
const CMD_GLOBAL: libc::c_int = 1 << 0;
const CMD_GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const CMD_REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

/// How long stores are given to settle where the kernel has no `membarrier` (a seccomp filter, say). A store buffer
/// drains in well under a microsecond; a thread that was preempted between its store and its load drained it then.
pub const SETTLE: Duration = Duration::from_millis(20);

fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: a system call without pointers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

/// Called by the agent when it joins: makes expedited barriers reach this process. `true` if they will.
pub fn register() -> bool {
    membarrier(CMD_REGISTER_GLOBAL_EXPEDITED) == 0
}

/// Called by the sidecar: on return, every running thread of every process has passed a full memory barrier.
///
/// `registered`: all processes that matter called [`register`]; then this takes microseconds. Else it takes the
/// kernel's slow path (tens of milliseconds), or [`SETTLE`] where that is not to be had either.
pub fn heavy(registered: bool) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    if registered && membarrier(CMD_GLOBAL_EXPEDITED) == 0 {
        return;
    }
    if membarrier(CMD_GLOBAL) != 0 {
        std::thread::sleep(SETTLE);
    }
}

/// Whether the kernel answers `membarrier` at all; for `doctor`.
pub fn available() -> bool {
    membarrier(CMD_QUERY) > 0
}
