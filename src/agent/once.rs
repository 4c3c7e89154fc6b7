//! What is looked for once in a process: a tool, the driver, what the environment asks for. The standard library's own waits
//! for whoever makes the value, and can panic.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, Ordering};

/// A value that is made once and then only read; nobody ever waits for it.
pub(super) struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

const EMPTY: u8 = 0;
const MAKING: u8 = 1;
const MADE: u8 = 2;

// SAFETY: written once, by the winner of the claim; only read behind that.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    pub(super) const fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it was made.
    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        // SAFETY: `MADE` is stored behind the value, and it is never written again.
        (self.state.load(Ordering::Acquire) == MADE).then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, made by `make` if it was not; `None` while another thread makes it.
    pub(super) fn get_or_make(&self, make: impl FnOnce() -> T) -> Option<&T> {
        if self.state.compare_exchange(EMPTY, MAKING, Ordering::Acquire, Ordering::Acquire).is_ok() {
            let made = make();
            // SAFETY: the claim makes us the only one.
            unsafe { (*self.value.get()).write(made) };
            self.state.store(MADE, Ordering::Release);
        }
        self.get()
    }
}
