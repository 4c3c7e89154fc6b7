//! The protocol under every interleaving and every reordering that the memory model allows: the code that ships, over
//! loom's atomics.
//!
//! Each of these was seen to fail with one ordering or fence of the code weakened.
#![allow(unsafe_code, reason = "the ring's memory is behind an unsafe trait; loom watches every access")]

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, atomic};
use loom::thread;
use stepscope::wire::atomics::{Atomics, Word};
use stepscope::wire::control::{self, Parameters};
use stepscope::wire::gate::{self, State, claim, word};
use stepscope::wire::layout::Owner;
use stepscope::wire::record::Words;
use stepscope::wire::ring::{Consumer, Producer, RingMemory, claim as claim_ring};

struct Loom;

#[derive(Debug)]
struct U64(atomic::AtomicU64);

impl U64 {
    fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }
}

impl Word for U64 {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }
    fn compare_exchange(&self, current: u64, new: u64, success: Ordering, failure: Ordering) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

impl Atomics for Loom {
    type U64 = U64;
    fn fence(order: Ordering) {
        atomic::fence(order);
    }
    /// What it is together with the sidecar's heavy half.
    fn light_fence() {
        atomic::fence(Ordering::SeqCst);
    }
}

/// A ring on the heap. Loom fails the model when a slot is read while it may be written.
#[derive(Clone)]
struct Heap(Arc<Inner>);

struct Inner {
    head: U64,
    tail: U64,
    dropped: U64,
    slots: Vec<UnsafeCell<Words>>,
}

impl Heap {
    fn new(capacity: usize) -> Self {
        let slots = (0..capacity).map(|_| UnsafeCell::new([0; 8])).collect();
        Self(Arc::new(Inner { head: U64::new(0), tail: U64::new(0), dropped: U64::new(0), slots }))
    }
}

impl RingMemory for Heap {
    type A = Loom;
    fn head(&self) -> &U64 {
        &self.0.head
    }
    fn tail(&self) -> &U64 {
        &self.0.tail
    }
    fn dropped(&self) -> &U64 {
        &self.0.dropped
    }
    fn capacity(&self) -> u64 {
        self.0.slots.len() as u64
    }
    unsafe fn write(&self, index: u64, words: &Words) {
        // SAFETY: by contract of the trait; loom checks it.
        self.0.slots[index as usize].with_mut(|slot| unsafe { *slot = *words });
    }
    unsafe fn read(&self, index: u64) -> Words {
        // SAFETY: as above.
        self.0.slots[index as usize].with(|slot| unsafe { *slot })
    }
}

fn take(consumer: &mut Consumer<Heap>, into: &mut Vec<u64>) {
    let mut words = Vec::new();
    let first = consumer.peek(2, &mut words).expect("indices make sense");
    assert_eq!(first, into.len() as u64);
    for w in &words {
        assert!(w.iter().all(|x| *x == w[0]), "torn: {w:?}");
        into.push(w[0]);
    }
    consumer.advance(words.len() as u64);
}

/// Three records through two slots: it wraps, it fills, and the consumer looks at any moment.
#[test]
fn a_ring_loses_nothing_that_it_did_not_count_and_tears_nothing() {
    loom::model(|| {
        let ring = Heap::new(2);
        let mut consumer = Consumer::new(ring.clone());
        let producer = thread::spawn({
            let ring = ring.clone();
            move || {
                let mut producer = Producer::new(ring);
                (1..=3u64).filter(|n| producer.push(&[*n; 8])).collect::<Vec<_>>()
            }
        });
        let mut taken = Vec::new();
        take(&mut consumer, &mut taken);
        take(&mut consumer, &mut taken);
        let pushed = producer.join().unwrap();
        take(&mut consumer, &mut taken);
        assert_eq!(taken, pushed);
        assert_eq!(consumer.dropped(), 3 - pushed.len() as u64);
        assert_eq!(consumer.backlog(), 0);
    });
}

/// Threads come and go: whoever gets a ring finds nothing in it, or the consumer would give the one's records the other's
/// name.
#[test]
fn a_ring_is_drained_when_it_changes_hands() {
    loom::model(|| {
        let ring = Heap::new(2);
        let owner = Arc::new(U64::new(Owner::Released as u64));
        let other = thread::spawn({
            let (ring, owner) = (ring.clone(), owner.clone());
            move || {
                if claim_ring(&ring, &owner) {
                    Producer::new(ring).push(&[1; 8]);
                    owner.store(Owner::Released as u64, Ordering::Release);
                }
            }
        });
        if claim_ring(&ring, &owner) {
            assert_eq!(ring.head().load(Ordering::Relaxed), ring.tail().load(Ordering::Relaxed));
        }
        other.join().unwrap();
    });
}

/// A consumer that died and its successor: what was not freed is read again, from the same index.
#[test]
fn a_successor_takes_up_where_the_last_consumer_freed() {
    loom::model(|| {
        let ring = Heap::new(2);
        let producer = thread::spawn({
            let ring = ring.clone();
            move || {
                let mut producer = Producer::new(ring);
                [producer.push(&[1; 8]), producer.push(&[2; 8])]
            }
        });
        let mut seen = Vec::new();
        let mut first = Consumer::new(ring.clone());
        first.peek(1, &mut seen).unwrap();
        // Dies here: nothing was freed.
        let mut second = Consumer::new(ring.clone());
        let mut taken = Vec::new();
        assert_eq!(producer.join().unwrap(), [true, true]);
        take(&mut second, &mut taken);
        assert_eq!(taken, [1, 2]);
        assert!(seen.iter().all(|w| w[0] == 1));
    });
}

/// The hook opens and closes, the helper closes: one of them wins, and sees the facts of whoever opened.
#[test]
fn hook_and_helper_race_to_close_and_one_wins() {
    const GENERATION: u64 = 6;
    loom::model(|| {
        let shared = Arc::new((U64::new(word(GENERATION, State::Armed)), UnsafeCell::new([0u64; 2])));
        let close = |shared: &(U64, UnsafeCell<[u64; 2]>), who: u64| {
            if !claim::<Loom>(&shared.0, GENERATION, State::Open, State::Closing) {
                return false;
            }
            // SAFETY: the winner alone is here; loom checks it.
            shared.1.with_mut(|facts| unsafe {
                assert_eq!((*facts)[0], 7, "the closer does not see the opening's facts");
                (*facts)[1] = who;
            });
            shared.0.store(word(GENERATION, State::Closed), Ordering::Release);
            true
        };
        let hook = thread::spawn({
            let shared = shared.clone();
            move || {
                assert!(claim::<Loom>(&shared.0, GENERATION, State::Armed, State::Opening));
                // SAFETY: as above.
                shared.1.with_mut(|facts| unsafe { (*facts)[0] = 7 });
                shared.0.store(word(GENERATION, State::Open), Ordering::Release);
                close(&shared, 1)
            }
        });
        let helper = thread::spawn({
            let shared = shared.clone();
            move || close(&shared, 2)
        });
        // The sidecar: facts are final once it reads closed.
        if gate::split(shared.0.load(Ordering::Acquire)) == Some((GENERATION, State::Closed)) {
            // SAFETY: as above.
            shared.1.with(|facts| unsafe { assert!((*facts)[1] != 0) });
        }
        let (hook, helper) = (hook.join().unwrap(), helper.join().unwrap());
        assert!(hook != helper, "hook {hook}, helper {helper}");
        assert_eq!(gate::split(shared.0.load(Ordering::Acquire)), Some((GENERATION, State::Closed)));
        // SAFETY: as above.
        shared.1.with(|facts| unsafe { assert_eq!((*facts)[1], if hook { 1 } else { 2 }) });
    });
}

/// A newer generation and a closer of the old one: the old claim never moves the new window.
#[test]
fn a_claim_never_moves_another_generation() {
    loom::model(|| {
        let gate = Arc::new(U64::new(word(2, State::Open)));
        let helper = thread::spawn({
            let gate = gate.clone();
            move || claim::<Loom>(&gate, 2, State::Open, State::Closing)
        });
        let superseded = claim::<Loom>(&gate, 2, State::Open, State::Closing);
        if superseded {
            gate.store(word(4, State::Open), Ordering::Release);
        }
        let closed = helper.join().unwrap();
        assert!(closed != superseded);
        let expected = if superseded { word(4, State::Open) } else { word(2, State::Closing) };
        assert_eq!(gate.load(Ordering::Acquire), expected);
    });
}

/// Either the sidecar sees that an iteration has begun, or that iteration sees what the sidecar asked: never neither.
#[test]
fn an_opening_that_is_accepted_is_seen_by_its_first_iteration() {
    const FIRST: u64 = 2;
    loom::model(|| {
        let shared = Arc::new((U64::new(0), U64::new(0)));
        let hook = thread::spawn({
            let shared = shared.clone();
            move || (1..=FIRST).fold(0, |_, n| gate::announce::<Loom>(&shared.0, n, &shared.1))
        });
        shared.1.store(2, Ordering::Release);
        // The heavy half, `membarrier::heavy`.
        atomic::fence(Ordering::SeqCst);
        let accepted = shared.0.load(Ordering::Relaxed) < FIRST;
        let seen = hook.join().unwrap();
        assert!(!accepted || seen == 2, "accepted, and the first iteration did not look");
    });
}

fn asked(generation: u64) -> Parameters {
    let [profiler, first_iteration, last_iteration, profiler_iteration] =
        [generation * 10, generation * 100, generation * 1000, generation * 10_000];
    let armed = generation == 4;
    Parameters { generation, armed, profiler, first_iteration, last_iteration, profiler_iteration }
}

/// The control block is rewritten while it is read: what is read is whole, or nothing.
#[test]
fn a_torn_control_block_is_never_acted_on() {
    struct Block([U64; 6]);
    impl Block {
        fn words(&self) -> control::Words<'_, Loom> {
            let [generation, armed, profiler, first_iteration, last_iteration, profiler_iteration] = &self.0;
            control::Words { generation, armed, profiler, first_iteration, last_iteration, profiler_iteration }
        }
        fn publish(&self, parameters: &Parameters) {
            control::begin(&self.words(), parameters.generation);
            control::finish(&self.words(), parameters);
        }
    }
    loom::model(|| {
        let block = Arc::new(Block([0; 6].map(U64::new)));
        assert_eq!(control::read(&block.words()), None, "nothing was asked");
        block.publish(&asked(2));
        let sidecar = thread::spawn({
            let block = block.clone();
            move || block.publish(&asked(4))
        });
        if let Some(parameters) = control::read(&block.words()) {
            assert_eq!(parameters, asked(parameters.generation));
        }
        sidecar.join().unwrap();
        assert_eq!(control::read(&block.words()), Some(asked(4)));
    });
}
