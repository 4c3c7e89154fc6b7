//! The contenders that are ours: the hook idle and recording, the ring, the clock, beside an empty call.

use std::cell::{RefCell, UnsafeCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use stepscope::wire::atomics::Native;
use stepscope::wire::clock::ClockKind;
use stepscope::wire::record::Words;
use stepscope::wire::ring::{Producer, RingMemory};

use super::agent::{Agent, empty_function};
use super::consumer::{Consumer, RECORDED};
use super::rounds::{Budget, Contender};

/// Names in the table.
pub const EMPTY: &str = "empty call through a dlopen'ed pointer";
pub const CLOCK: &str = "one read of the clock (rdtsc)";
pub const STEP: &str = "step_begin, idle";
pub const PAIR: &str = "step_begin + step_end, idle";
pub const SPAN: &str = "step_begin + step_end, recorded (a span)";
pub const LIVE: &str = "the same beside a collector that drains each ms";
pub const EVENT: &str = "clock + ring push (an event)";
const EMPTY_PAIR: &str = "two empty calls";

/// The budgets of DESIGN §10 that need no peer.
pub const BUDGETS: &[Budget] = &[
    Budget { what: STEP, beside: EMPTY, most: 1.5 },
    Budget { what: PAIR, beside: EMPTY_PAIR, most: 1.5 },
    Budget { what: EVENT, beside: CLOCK, most: 1.5 },
    Budget { what: SPAN, beside: CLOCK, most: 3.0 },
    Budget { what: LIVE, beside: SPAN, most: 1.15 },
];

/// A joined agent and its consumer.
pub struct Bench {
    pub agent: Agent,
    consumer: Rc<RefCell<Consumer>>,
    empty: extern "C" fn() -> u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Builds, loads, joins and attaches.
    #[allow(clippy::disallowed_methods, reason = "before any thread runs")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("stepscope-bench").tempdir_in("/dev/shm").expect("a folder");
        let segments = folder.path().join("segments");
        // SAFETY: no other thread runs yet.
        unsafe {
            std::env::set_var("STEPSCOPE_DIR", &segments);
            std::env::set_var("STEPSCOPE_SEGMENT_BYTES", (64u64 << 20).to_string());
        }
        let agent = Agent::load();
        agent.join();
        let consumer = Rc::new(RefCell::new(Consumer::start(&segments)));
        Self { agent, consumer, empty: empty_function(folder.path()), _folder: folder }
    }

    /// Gives the consumer an order each time it is called.
    pub fn teller(&self, order: &'static str) -> impl FnMut() + use<> {
        let consumer = self.consumer.clone();
        move || consumer.borrow_mut().tell(order)
    }

    /// An iteration.
    pub fn stepper(&self) -> impl Fn() + Copy + use<> {
        let (begin, end) = (self.agent.api.step_begin, self.agent.api.step_end);
        move || {
            black_box(begin());
            end();
        }
    }

    /// Opens a window, with one iteration.
    pub fn opener(&self) -> impl FnMut() + use<> {
        let (mut arm, step) = (self.teller("arm"), self.stepper());
        move || {
            arm();
            step();
        }
    }

    /// Closes it, once what was recorded is counted.
    pub fn closer(&self) -> impl FnMut() + use<> {
        let mut orders = ["still", "drain", "was it recorded", "withdraw"].map(|order| self.teller(order));
        let step = self.stepper();
        move || {
            orders.iter_mut().for_each(|order| order());
            step();
        }
    }

    /// All of ours, in the order of the table.
    pub fn contenders(&self) -> Vec<Contender<'_>> {
        let api = self.agent.api;
        let (begin, end, get_api, empty) = (api.step_begin, api.step_end, self.agent.get_api, self.empty);
        let clock = ClockKind::detect();
        let (mut ring, mut timed_ring) = (HeapRing::new(), HeapRing::new());
        let step = self.stepper();
        let open_live = || {
            let (mut open, mut live) = (self.opener(), self.teller("live"));
            move || {
                open();
                live();
            }
        };
        vec![
            Contender::new("loop", 50_000, |n| (0..n).for_each(|i| _ = black_box(i))),
            Contender::new(EMPTY, 50_000, move |n| {
                let empty = black_box(empty);
                (0..n).for_each(|_| _ = black_box(empty()));
            }),
            Contender::new(EMPTY_PAIR, 50_000, move |n| {
                let (one, two) = (black_box(empty), black_box(empty));
                for _ in 0..n {
                    black_box(one());
                    black_box(two());
                }
            }),
            Contender::new("stepscope_get_api(0)", 50_000, move |n| {
                let get_api = black_box(get_api);
                (0..n).for_each(|_| _ = black_box(get_api(black_box(0))));
            }),
            Contender::new(STEP, 50_000, move |n| {
                let begin = black_box(begin);
                (0..n).for_each(|_| _ = black_box(begin()));
            })
            .after(step),
            Contender::new(PAIR, 50_000, move |n| {
                let (begin, end) = (black_box(begin), black_box(end));
                for _ in 0..n {
                    black_box(begin());
                    end();
                }
            }),
            Contender::new(CLOCK, 20_000, move |n| (0..n).for_each(|_| _ = black_box(clock.ticks()))),
            Contender::new("ring push, 64 bytes", 20_000, move |n| {
                ring.start();
                (0..n).for_each(|i| _ = black_box(ring.push(&[i; 8])));
            }),
            Contender::new(EVENT, 20_000, move |n| {
                timed_ring.start();
                (0..n).for_each(|i| _ = black_box(timed_ring.push(&[i, clock.ticks(), i, i, i, i, i, i])));
            }),
            Contender::new(SPAN, RECORDED, move |n| (0..n).for_each(|_| step()))
                .before(self.opener())
                .after(self.closer()),
            Contender::new("the same with step_batch", RECORDED, move |n| {
                for i in 0..n as u32 {
                    black_box(begin());
                    (api.step_batch)(i, i, i, i, 0);
                    end();
                }
            })
            .before(self.opener())
            .after(self.closer()),
            Contender::new(LIVE, RECORDED, move |n| (0..n).for_each(|_| step()))
                .before(open_live())
                .after(self.closer()),
        ]
    }
}

/// The ring on the heap, emptied before each batch.
struct HeapRing(Producer<Heap>);

struct Heap {
    words: [Box<AtomicU64>; 3],
    slots: Box<[UnsafeCell<Words>]>,
}

impl HeapRing {
    fn new() -> Self {
        let slots = (0..65_536).map(|_| UnsafeCell::new([0; 8])).collect();
        Self(Producer::new(Heap { words: std::array::from_fn(|_| Box::new(AtomicU64::new(0))), slots }))
    }

    fn start(&mut self) {
        use std::sync::atomic::Ordering::Relaxed;
        let memory = self.0.memory();
        memory.words[1].store(memory.words[0].load(Relaxed), Relaxed);
        assert_eq!(memory.words[2].load(Relaxed), 0, "records were dropped");
    }

    fn push(&mut self, words: &Words) -> bool {
        self.0.push(words)
    }
}

impl RingMemory for Heap {
    type A = Native;
    fn head(&self) -> &AtomicU64 {
        &self.words[0]
    }
    fn tail(&self) -> &AtomicU64 {
        &self.words[1]
    }
    fn dropped(&self) -> &AtomicU64 {
        &self.words[2]
    }
    fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }
    unsafe fn write(&self, index: u64, words: &Words) {
        // SAFETY: one thread only, index is masked.
        unsafe { self.slots[index as usize].get().write(*words) };
    }
    unsafe fn read(&self, index: u64) -> Words {
        // SAFETY: as above.
        unsafe { self.slots[index as usize].get().read() }
    }
}
