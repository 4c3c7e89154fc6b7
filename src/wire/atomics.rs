//! The atomics that the protocol uses, as a trait, so that loom checks the very code that ships.
//!
//! Production code uses [`Native`]; the loom tests implement [`Atomics`] for loom's types and run the ring, the gate and
//! the opening agreement under every interleaving.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

/// A 64-bit atomic: the operations that the protocol needs, and no more.
pub trait Word {
    /// Loads the value.
    fn load(&self, order: Ordering) -> u64;
    /// Stores a value.
    fn store(&self, value: u64, order: Ordering);
    /// Strong compare-and-swap; `Err` carries what stood there.
    ///
    /// # Errors
    /// The value found, when it was not `current`.
    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
}

/// A family of atomics with its fences.
pub trait Atomics {
    /// The 64-bit atomic of the family.
    type U64: Word;
    /// An ordinary fence.
    fn fence(order: Ordering);
    /// The hook's half of the asymmetric fence: costs nothing, and orders only together with the other half,
    /// [`crate::wire::membarrier::heavy`], which the sidecar runs.
    fn light_fence();
}

/// The processor's own atomics.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Atomics for Native {
    type U64 = AtomicU64;
    #[inline(always)]
    fn fence(order: Ordering) {
        fence(order);
    }
    #[inline(always)]
    fn light_fence() {
        compiler_fence(Ordering::SeqCst);
    }
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }
    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
    #[inline(always)]
    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }
}
