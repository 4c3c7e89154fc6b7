//! What several threads may reach is behind a try-lock: an engine steps on one thread at a time, and one that does not
//! loses a record, never time.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::window::Window;

/// A value that one thread at a time may use; nobody ever waits for it.
pub(super) struct TryLock<T> {
    busy: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through `with`, which lets one thread at a time in.
unsafe impl<T: Send> Sync for TryLock<T> {}

impl<T> TryLock<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { busy: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value, unless another thread is at it, or it panics.
    #[inline]
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.busy.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `busy` makes us the only one.
        let value = unsafe { &mut *self.value.get() };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(value)));
        self.busy.store(false, Ordering::Release);
        result.ok()
    }

    /// In a forked child: whoever held the lock is not here.
    pub(super) fn unlock(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }
}

static WINDOW: TryLock<Window> = TryLock::new(Window::NEW);

/// Runs `f` on the window's state, unless another thread is at it.
#[inline]
pub(super) fn with<R>(f: impl FnOnce(&mut Window) -> R) -> Option<R> {
    WINDOW.with(f)
}

/// In a forked child: whoever held the lock is not here.
pub(super) fn unlock() {
    WINDOW.unlock();
}

/// After a join: the hook starts from nothing.
pub(super) fn reset(tells_batch: bool) {
    with(|window| window.reset(tells_batch));
}
