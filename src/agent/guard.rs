//! The window's state behind a try-lock: an engine steps on one thread at a time, and one that does not loses a record,
//! never time.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::window::Window;

struct Guarded(UnsafeCell<Window>);

// SAFETY: only reached through `with`, which holds the try-lock.
unsafe impl Sync for Guarded {}

static WINDOW: Guarded = Guarded(UnsafeCell::new(Window::NEW));
static BUSY: AtomicBool = AtomicBool::new(false);

/// Runs `f` on the window's state, unless another thread is at it, or it panics.
pub(super) fn with<R>(f: impl FnOnce(&mut Window) -> R) -> Option<R> {
    if BUSY.swap(true, Ordering::Acquire) {
        return None;
    }
    // SAFETY: BUSY makes us the only one.
    let window = unsafe { &mut *WINDOW.0.get() };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(window)));
    BUSY.store(false, Ordering::Release);
    result.ok()
}

/// In a forked child: whoever held the lock is not here.
pub(super) fn unlock() {
    BUSY.store(false, Ordering::Relaxed);
}

/// After a join: the hook starts from nothing.
pub(super) fn reset() {
    with(|window| *window = Window::NEW);
}
