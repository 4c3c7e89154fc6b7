//! One ring per thread: taken on the thread's first record, given back when it ends.
//!
//! A ring of a released owner is free again only once it is drained, so that a batch never mixes two threads. A thread
//! names itself once per capture, in front of its first record.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use crate::wire::layout::Owner;
use crate::wire::names;
use crate::wire::record::{Record, Thread};
use crate::wire::ring::{MappedRing, Producer, RingMemory};

use super::state::{self, Joined};

struct Handle {
    producer: Producer<MappedRing>,
    /// Which join the ring belongs to.
    epoch: u64,
    /// Generation the thread has named itself in.
    named: u64,
    name: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In a forked child the ring is the parent's.
        if self.epoch == state::epoch() {
            // SYNC owner: everything this thread wrote is published.
            self.producer.memory().descriptor().owner.store(Owner::Released as u64, Ordering::Release);
        }
    }
}

thread_local! {
    static HANDLE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

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

fn take(joined: &'static Joined) -> Option<Handle> {
    for index in 0..joined.segment.ring_count() {
        let ring = joined.segment.ring(index);
        let owner = &ring.descriptor().owner;
        let found = owner.load(Ordering::Acquire);
        let free = found == Owner::Free as u64
            || found == Owner::Released as u64
                && ring.head().load(Ordering::Relaxed) == ring.tail().load(Ordering::Acquire);
        if free && owner.compare_exchange(found, Owner::Owned as u64, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            joined.segment.status().rings_in_use.fetch_max(u64::from(index) + 1, Ordering::Release);
            let name = names::intern(&joined.segment, &thread_name());
            return Some(Handle { producer: Producer::new(ring), epoch: joined.epoch, named: 0, name });
        }
    }
    None
}

fn thread_id() -> u64 {
    // SAFETY: no arguments, cannot fail.
    (unsafe { libc::syscall(libc::SYS_gettid) }) as u64
}

fn thread_name() -> String {
    let mut name = [0u8; 16];
    // SAFETY: the kernel writes at most 16 bytes, NUL included.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}
