//! The ring: a single-producer single-consumer queue of 64-byte records.
//!
//! The producer is one engine thread, the consumer the sidecar. `head` and `tail` count records ever written and ever
//! consumed; the slot of record `i` is `i & (capacity - 1)`. The producer owns `head` and the slots in
//! `tail..tail + capacity` that it has not published; the consumer owns `tail`.
//!
//! * **publish / see**: the producer's release store of `head` (`SYNC head`) is read by the consumer's acquire load; the
//!   slots below it are then whole.
//! * **free / reuse**: the consumer's release store of `tail` (`SYNC tail`) is read by the producer's acquire load; the
//!   slots below it may be overwritten.
//! * **full**: the record is dropped and `dropped` grows; the producer never waits.
//! * **either side dies**: what `head` covers is whole and stays readable; a half-written slot is above it. A consumer that
//!   frees records before they are safe says so first ([`Consumer::note_unsaved`]), so that its successor can count them.
//! * **cost**: 64 bytes stored and one release store; `tail`'s line is read only when the cached tail says full.
//!
//! The code is generic over [`RingMemory`]: a mapping in production ([`MappedRing`]), the heap under loom.

use std::sync::atomic::Ordering;

use super::atomics::{Atomics, Native, Word};
use super::layout::{Owner, RingDescriptor};
use super::record::Words;

/// Where a ring lives.
pub trait RingMemory {
    /// Its atomics.
    type A: Atomics;
    /// Records ever written.
    fn head(&self) -> &<Self::A as Atomics>::U64;
    /// Records ever consumed.
    fn tail(&self) -> &<Self::A as Atomics>::U64;
    /// Records dropped.
    fn dropped(&self) -> &<Self::A as Atomics>::U64;
    /// Slots: a power of two.
    fn capacity(&self) -> u64;
    /// Writes a slot (`index` already masked).
    ///
    /// # Safety
    /// Only the producer, only a slot that the consumer has freed.
    unsafe fn write(&self, index: u64, words: &Words);
    /// Reads a slot (`index` already masked).
    ///
    /// # Safety
    /// Only the consumer, only a slot that was published and not freed.
    unsafe fn read(&self, index: u64) -> Words;
}

/// Claims a ring for the calling thread: one that nobody has, with nothing in it that the consumer has not taken.
pub fn claim<M: RingMemory>(ring: &M, owner: &<M::A as Atomics>::U64) -> bool {
    // SYNC owner: acquire sees all that the one before wrote; pairs with the release store at its end.
    let found = owner.load(Ordering::Acquire);
    let drained = || ring.head().load(Ordering::Relaxed) == ring.tail().load(Ordering::Acquire);
    let free = found == Owner::Free as u64 || found == Owner::Released as u64 && drained();
    if !free || owner.compare_exchange(found, Owner::Owned as u64, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return false;
    }
    // Since we looked, another thread may have had it, written, and given it back: then there is something in it again.
    if !drained() {
        owner.store(found, Ordering::Release);
        return false;
    }
    true
}

/// The writing end. One per ring: whoever makes one claims to be the only producer.
#[derive(Debug, Clone, Copy)]
pub struct Producer<M: RingMemory> {
    memory: M,
    head: u64,
    tail: u64,
}

impl<M: RingMemory> Producer<M> {
    /// Takes up writing where the ring stands.
    pub fn new(memory: M) -> Self {
        let head = memory.head().load(Ordering::Relaxed);
        let tail = memory.tail().load(Ordering::Acquire);
        Self { memory, head, tail }
    }

    /// Appends a record; `false`: the ring was full, the record is dropped and counted.
    #[inline(always)]
    pub fn push(&mut self, words: &Words) -> bool {
        self.push_sparing(words, 0)
    }

    /// The same, but the last `spare` slots are left for what matters more.
    #[inline(always)]
    pub fn push_sparing(&mut self, words: &Words, spare: u64) -> bool {
        if self.head.wrapping_sub(self.tail).wrapping_add(spare) >= self.memory.capacity() && !self.refresh(spare) {
            return false;
        }
        // SAFETY: we are the producer, and the slot lies below tail + capacity.
        unsafe { self.memory.write(self.head & (self.memory.capacity() - 1), words) };
        self.head = self.head.wrapping_add(1);
        // SYNC head: pairs with the acquire load in `Consumer::peek`.
        self.memory.head().store(self.head, Ordering::Release);
        true
    }

    #[cold]
    #[inline(never)]
    fn refresh(&mut self, spare: u64) -> bool {
        // SYNC tail: pairs with the release store in `Consumer::advance`.
        self.tail = self.memory.tail().load(Ordering::Acquire);
        if self.head.wrapping_sub(self.tail).wrapping_add(spare) < self.memory.capacity() {
            return true;
        }
        let dropped = self.memory.dropped();
        dropped.store(dropped.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        false
    }

    /// The memory, for its counters.
    pub fn memory(&self) -> &M {
        &self.memory
    }
}

/// The ring's indices make no sense: whatever wrote them is not our producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt {
    /// The head that was read.
    pub head: u64,
    /// The tail that the consumer holds.
    pub tail: u64,
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer<M: RingMemory> {
    memory: M,
    tail: u64,
    /// Records behind the tail that were copied out and are held on to, not freed.
    held: u64,
}

impl<M: RingMemory> Consumer<M> {
    /// Takes up reading where the last consumer freed.
    pub fn new(memory: M) -> Self {
        let tail = memory.tail().load(Ordering::Relaxed);
        Self { memory, tail, held: 0 }
    }

    /// Copies out up to `limit` published records behind the ones already freed or held, appending to `out`; returns the
    /// absolute index of the first. Frees nothing: call [`Self::advance`] when they are safe elsewhere, or [`Self::hold`]
    /// to go on behind them before they are.
    ///
    /// # Errors
    /// [`Corrupt`] when `head` is behind `tail` or further ahead than the ring is long.
    pub fn peek(&mut self, limit: usize, out: &mut Vec<Words>) -> Result<u64, Corrupt> {
        // SYNC head: pairs with the release store in `Producer::push`.
        let head = self.memory.head().load(Ordering::Acquire);
        let ready = head.wrapping_sub(self.tail);
        if ready > self.memory.capacity() {
            return Err(Corrupt { head, tail: self.tail });
        }
        let first = self.tail.wrapping_add(self.held);
        for i in 0..ready.saturating_sub(self.held).min(limit as u64) {
            // SAFETY: we are the consumer, and the slot lies in tail..head.
            out.push(unsafe { self.memory.read(first.wrapping_add(i) & (self.memory.capacity() - 1)) });
        }
        Ok(first)
    }

    /// Holds on to `count` more records: they are not freed, and not copied out again.
    pub fn hold(&mut self, count: u64) {
        self.held += count;
    }

    /// Records held on to.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Index behind the last record freed.
    pub fn freed(&self) -> u64 {
        self.tail
    }

    /// Frees `count` records behind the ones already freed, held or not.
    pub fn advance(&mut self, count: u64) {
        self.held = self.held.saturating_sub(count);
        self.tail = self.tail.wrapping_add(count);
        // SYNC tail: pairs with the acquire loads of the producer.
        self.memory.tail().store(self.tail, Ordering::Release);
    }

    /// Records published and not yet freed.
    pub fn backlog(&self) -> u64 {
        self.memory.head().load(Ordering::Acquire).wrapping_sub(self.tail)
    }

    /// Records dropped since the segment was made.
    pub fn dropped(&self) -> u64 {
        self.memory.dropped().load(Ordering::Relaxed)
    }

    /// The memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }
}

impl Consumer<MappedRing> {
    /// Index of the first record that is freed, or will be, and is not safe yet; for a successor. Say it before freeing it.
    pub fn note_unsaved(&self, first: Option<u64>) {
        let note = first.map_or(0, |first| first.wrapping_add(1));
        self.memory.descriptor().unsaved.store(note, Ordering::Release);
    }

    /// What a consumer before us noted.
    pub fn unsaved(&self) -> Option<u64> {
        self.memory.descriptor().unsaved.load(Ordering::Acquire).checked_sub(1)
    }
}

/// A ring inside a mapped segment. Made by [`super::segment::Segment::ring`], and valid as long as the mapping is.
#[derive(Debug, Clone, Copy)]
pub struct MappedRing {
    pub(super) descriptor: *const RingDescriptor,
    pub(super) slots: *mut Words,
    pub(super) capacity: u64,
}

// SAFETY: it points into shared memory that any thread may use under the ring's own protocol.
unsafe impl Send for MappedRing {}

impl MappedRing {
    /// Head, tail and owner.
    #[inline(always)]
    pub fn descriptor(&self) -> &RingDescriptor {
        // SAFETY: in bounds of the mapping by construction; only atomics inside.
        unsafe { &*self.descriptor }
    }
}

impl RingMemory for MappedRing {
    type A = Native;
    #[inline(always)]
    fn head(&self) -> &<Native as Atomics>::U64 {
        &self.descriptor().head
    }
    #[inline(always)]
    fn tail(&self) -> &<Native as Atomics>::U64 {
        &self.descriptor().tail
    }
    #[inline(always)]
    fn dropped(&self) -> &<Native as Atomics>::U64 {
        &self.descriptor().dropped
    }
    #[inline(always)]
    fn capacity(&self) -> u64 {
        self.capacity
    }
    #[inline(always)]
    unsafe fn write(&self, index: u64, words: &Words) {
        // SAFETY: index is masked by the caller, so the slot is in bounds; slots are 64-byte aligned.
        unsafe { self.slots.add(index as usize).write(*words) };
    }
    #[inline(always)]
    unsafe fn read(&self, index: u64) -> Words {
        // SAFETY: as above; volatile, because a hostile producer may write it meanwhile and we must read it once only.
        unsafe { self.slots.add(index as usize).read_volatile() }
    }
}
