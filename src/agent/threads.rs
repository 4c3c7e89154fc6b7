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
use crate::wire::record::{DOMAIN_SLOTS, KEY_SLOTS, NAME_SLOTS, Record, Span, SpanName, TextPart, Thread};
use crate::wire::ring::{MappedRing, Producer, RingMemory, claim};

use super::state::{self, Joined};

/// Rings that only threads with iterations take: an engine's other threads may be many, and tell of ranges first.
const RINGS_FOR_ITERATIONS: u32 = 2;
/// Spans leave the last eighth of a ring to iterations.
const SPARED: u32 = 3;

/// Slots of a ring for texts: names of domains and categories, other names, keys of arguments.
const SLOTS: usize = DOMAIN_SLOTS + NAME_SLOTS + KEY_SLOTS;

struct Handle {
    producer: Producer<MappedRing>,
    /// Which join the ring belongs to.
    epoch: u64,
    /// Generation the thread has named itself in.
    named: Option<u32>,
    name: u64,
    /// What stands in the ring's slots of texts, of that generation: 0 is nothing.
    texts: [u64; SLOTS],
}

/// A text as a span refers to it: the bytes, and a number that no other text of this process has; never 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) key: u64,
    pub(super) bytes: &'a [u8],
}

/// What a span is called, or will be once its text has a slot.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    Short(SpanName),
    Long(Text<'a>),
}

thread_local! {
    static HANDLE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The key whose destructor gives a thread's ring back, plus one; 0: not made yet.
static KEY: AtomicU64 = AtomicU64::new(0);

/// Appends a record to this thread's ring; without a ring, or with a full one, it is dropped and counted.
pub(super) fn push(joined: &'static Joined, generation: u64, record: &Record) {
    let pushed = with_ring(joined, generation as u32, 0, |handle| {
        handle.producer.push(&record.encode());
    });
    if pushed.is_none() {
        dropped(joined);
    }
}

/// The same for a span, which gets the slots of its texts here.
pub(super) fn push_span(joined: &'static Joined, span: &Span, domain: Option<Text<'_>>, name: Name<'_>) {
    let generation = span.generation;
    let pushed = with_ring(joined, generation, RINGS_FOR_ITERATIONS, |handle| {
        // What does not fit was counted by the ring.
        let Some(domain) = domain.map_or(Some(0), |text| handle.slot(generation, text, 0, DOMAIN_SLOTS)) else {
            return;
        };
        let name = match name {
            Name::Short(name) => name,
            Name::Long(text) => match handle.slot(generation, text, DOMAIN_SLOTS, NAME_SLOTS) {
                Some(slot) => SpanName::Slot(slot),
                None => return,
            },
        };
        handle.push_sparing(&Record::Span(Span { domain, name, ..*span }));
    });
    if pushed.is_none() {
        dropped(joined);
    }
}

/// Writes the records of one event to this thread's ring, one behind the other. `write` gives up (`None`) where the ring,
/// which counts it, is full; without a ring it is not called, and that is counted too.
#[inline]
pub(super) fn write(joined: &'static Joined, generation: u32, write: impl FnOnce(&mut Writer<'_>) -> Option<()>) {
    let written = with_ring(joined, generation, RINGS_FOR_ITERATIONS, |handle| {
        let _ = write(&mut Writer { handle, generation });
    });
    if written.is_none() {
        dropped(joined);
    }
}

/// A thread's ring, for the records of one event.
pub(super) struct Writer<'a> {
    handle: &'a mut Handle,
    generation: u32,
}

impl Writer<'_> {
    /// `None`: it does not fit.
    #[inline]
    pub(super) fn push(&mut self, record: &Record) -> Option<()> {
        self.handle.push_sparing(record).then_some(())
    }

    /// The slot of a name.
    #[inline]
    pub(super) fn name(&mut self, text: Text<'_>) -> Option<u16> {
        self.handle.slot(self.generation, text, DOMAIN_SLOTS, NAME_SLOTS)
    }

    /// The slot of a category.
    #[inline]
    pub(super) fn category(&mut self, text: Text<'_>) -> Option<u16> {
        self.handle.slot(self.generation, text, 0, DOMAIN_SLOTS)
    }

    /// The slot of an argument's key.
    #[inline]
    pub(super) fn key(&mut self, text: Text<'_>) -> Option<u16> {
        self.handle.slot(self.generation, text, DOMAIN_SLOTS + NAME_SLOTS, KEY_SLOTS)
    }
}

/// Counts a record that has no ring to be dropped from.
#[cold]
pub(super) fn dropped(joined: &Joined) {
    joined.segment.status().dropped_without_ring.fetch_add(1, Ordering::Relaxed);
}

/// This thread's ring, named in this generation; `None`: there is none. One that has none takes one from `first` on.
#[inline(always)]
fn with_ring(joined: &'static Joined, generation: u32, first: u32, f: impl FnOnce(&mut Handle)) -> Option<()> {
    let done = HANDLE.try_with(|handle| {
        let mut handle = handle.try_borrow_mut().ok()?;
        if handle.as_ref().is_none_or(|h| h.epoch != joined.epoch) {
            take(joined, first, &mut handle);
        }
        let handle = handle.as_mut()?;
        if handle.named != Some(generation) {
            handle.announce(joined, generation);
        }
        f(handle);
        Some(())
    });
    done.ok()?
}

impl Handle {
    #[cold]
    #[inline(never)]
    fn announce(&mut self, joined: &Joined, generation: u32) {
        if self.name == 0 {
            self.name = name_of_thread(joined);
        }
        self.named = Some(generation);
        self.texts.fill(0);
        let (tid, ticks, name) = (thread_id(), joined.clock.ticks(), self.name);
        self.producer.push(&Record::Thread(Thread { generation, tid, ticks, name }).encode());
    }

    #[inline(always)]
    fn push_sparing(&mut self, record: &Record) -> bool {
        let spare = self.producer.memory().capacity() >> SPARED;
        self.producer.push_sparing(&record.encode(), spare)
    }

    /// The slot that a text stands in, one of `count` behind `first`; `None`: it does not, and the ring is full.
    #[inline]
    fn slot(&mut self, generation: u32, text: Text<'_>, first: usize, count: usize) -> Option<u16> {
        // Keys may be addresses: their low bits are alike. The high ones of the product are well mixed.
        let mixed = (text.key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize;
        let index = first.wrapping_add(mixed & count.wrapping_sub(1));
        let slot = index.wrapping_add(1) as u16;
        if self.texts.get(index).is_some_and(|&key| key == text.key) {
            return Some(slot);
        }
        self.define(generation, slot, text, index)
    }

    #[cold]
    #[inline(never)]
    fn define(&mut self, generation: u32, slot: u16, text: Text<'_>, index: usize) -> Option<u16> {
        let key = self.texts.get_mut(index)?;
        *key = 0;
        let mut part = 0;
        while let Some(record) = TextPart::of(generation, slot, text.bytes, part) {
            if !self.push_sparing(&Record::Text(record)) {
                return None;
            }
            part = part.wrapping_add(1);
        }
        *self.texts.get_mut(index)? = text.key;
        Some(slot)
    }
}

/// Puts a ring from `first` on into the handle, if one is free.
#[cold]
#[inline(never)]
fn take(joined: &'static Joined, first: u32, handle: &mut Option<Handle>) {
    *handle = None;
    let Some(key) = key() else { return };
    for index in first..joined.segment.ring_count() {
        let ring = joined.segment.ring(index);
        if !claim(&ring, &ring.descriptor().owner) {
            continue;
        }
        joined.segment.status().rings_in_use.fetch_max(u64::from(index) + 1, Ordering::Release);
        // SAFETY: a key of ours, and a place in a segment that stays mapped.
        unsafe { libc::pthread_setspecific(key, std::ptr::from_ref(ring.descriptor()).cast()) };
        let name = name_of_thread(joined);
        let (producer, epoch) = (Producer::new(ring), joined.epoch);
        *handle = Some(Handle { producer, epoch, named: None, name, texts: [0; SLOTS] });
        return;
    }
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

/// The id of this thread's name.
fn name_of_thread(joined: &Joined) -> u64 {
    names::intern(&joined.segment, thread_name().split(|&byte| byte == 0).next().unwrap_or_default())
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
