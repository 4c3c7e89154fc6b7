//! One ring per thread: taken on the thread's first record, given back when it ends.
//!
//! A ring of a released owner is free again only once it is drained, so that a batch never mixes two threads. A thread
//! names itself once per capture, in front of its first record. The end of a thread is told by a key of the C library:
//! its destructor runs behind those of thread-local variables, which may step once more.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::layout::{Owner, RingDescriptor};
use crate::wire::names;
use crate::wire::record::{Record, Thread};
use crate::wire::ring::{MappedRing, Producer, claim};

use super::state::{self, Joined};

#[derive(Clone, Copy)]
struct Handle {
    producer: Producer<MappedRing>,
    /// Which join the ring belongs to.
    epoch: u64,
    /// Generation the thread has named itself in.
    named: u64,
    name: u64,
}

thread_local! {
    static HANDLE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The key whose destructor gives a thread's ring back, plus one; 0: not made yet.
static KEY: AtomicU64 = AtomicU64::new(0);

/// Appends a record to this thread's ring; without a ring, or with a full one, it is dropped and counted.
pub(super) fn push(joined: &'static Joined, generation: u64, record: &Record) {
    let pushed = HANDLE.try_with(|handle| {
        let Ok(mut handle) = handle.try_borrow_mut() else { return false };
        if handle.as_ref().is_none_or(|h| h.epoch != joined.epoch) {
            *handle = take(joined);
        }
        let Some(handle) = handle.as_mut() else { return false };
        if handle.named != generation {
            handle.named = generation;
            handle.producer.push(
                &Record::Thread(Thread {
                    generation: generation as u32,
                    tid: thread_id(),
                    ticks: joined.clock.ticks(),
                    name: handle.name,
                })
                .encode(),
            );
        }
        handle.producer.push(&record.encode());
        true
    });
    if !pushed.unwrap_or(false) {
        joined.segment.status().dropped_without_ring.fetch_add(1, Ordering::Relaxed);
    }
}

#[cold]
#[inline(never)]
fn take(joined: &'static Joined) -> Option<Handle> {
    let key = key()?;
    for index in 0..joined.segment.ring_count() {
        let ring = joined.segment.ring(index);
        if !claim(&ring, &ring.descriptor().owner) {
            continue;
        }
        joined.segment.status().rings_in_use.fetch_max(u64::from(index) + 1, Ordering::Release);
        // SAFETY: a key of ours, and a place in a segment that stays mapped.
        unsafe { libc::pthread_setspecific(key, std::ptr::from_ref(ring.descriptor()).cast()) };
        let name = thread_name();
        let name = names::intern(&joined.segment, name.split(|&byte| byte == 0).next().unwrap_or_default());
        return Some(Handle { producer: Producer::new(ring), epoch: joined.epoch, named: 0, name });
    }
    None
}

fn key() -> Option<libc::pthread_key_t> {
    let made = KEY.load(Ordering::Acquire);
    if made != 0 {
        return Some((made - 1) as libc::pthread_key_t);
    }
    let mut key = 0;
    // SAFETY: a destructor of ours; the library is never unloaded.
    if unsafe { libc::pthread_key_create(&mut key, Some(ended)) } != 0 {
        return None;
    }
    match KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(key),
        Err(first) => {
            // SAFETY: ours, and nobody else has seen it.
            unsafe { libc::pthread_key_delete(key) };
            Some((first - 1) as libc::pthread_key_t)
        }
    }
}

/// The thread that owns this ring ends.
extern "C" fn ended(descriptor: *mut c_void) {
    // A step in a later destructor takes a ring anew.
    let _ = HANDLE.try_with(|handle| handle.try_borrow_mut().map(|mut handle| *handle = None));
    // In a forked child the ring is the parent's.
    if state::joined().is_some_and(|joined| joined.segment.holds(descriptor.cast())) {
        // SAFETY: a descriptor of this process's segment, which stays mapped; only atomics inside.
        let descriptor = unsafe { &*descriptor.cast::<RingDescriptor>() };
        // SYNC owner: everything this thread wrote is published.
        descriptor.owner.store(Owner::Released as u64, Ordering::Release);
    }
}

fn thread_id() -> u64 {
    // SAFETY: no arguments, cannot fail.
    (unsafe { libc::syscall(libc::SYS_gettid) }) as u64
}

/// NUL-padded.
fn thread_name() -> [u8; 16] {
    let mut name = [0; 16];
    // SAFETY: the kernel writes at most 16 bytes, NUL included.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}
