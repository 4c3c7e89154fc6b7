//! What the files of this room share: the words that the idle step touches, and the joined process.
//!
//! [`HOT`] holds its words as pointers: into the segment once the process has joined, at inert words of our own before
//! that, after a failure, and in a forked child. Everything else about the joined process hangs off one leaked
//! [`Joined`], so that a pointer to it never dangles, whoever still holds one.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::wire::clock::ClockKind;
use crate::wire::segment::{Identity, Segment};

/// The words of the idle step, on one line. Aligned to half a page, so that no load of it has the lower twelve address
/// bits of a store to `begun` or `ended` (at 1024 and 1088 of the segment): the processor would take it for that store's
/// reader and wait, which doubles the cost of an idle step.
#[repr(C, align(2048))]
pub(super) struct Hot {
    /// `Status::begun`.
    pub(super) begun: AtomicPtr<AtomicU64>,
    /// `Status::ended`.
    pub(super) ended: AtomicPtr<AtomicU64>,
    /// `Control::generation`.
    pub(super) generation: AtomicPtr<AtomicU64>,
    /// The generation that asks nothing of the hook any more.
    pub(super) quiet: AtomicU64,
    /// 1 while the iteration that runs lies in an open window.
    pub(super) engaged: AtomicU64,
}

static INERT_BEGUN: AtomicU64 = AtomicU64::new(0);
static INERT_ENDED: AtomicU64 = AtomicU64::new(0);
/// Equal to `quiet`: nothing ever happens.
static INERT: AtomicU64 = AtomicU64::new(0);
/// Odd, so never equal to `quiet`: the next step looks closer.
static FORKED: AtomicU64 = AtomicU64::new(u64::MAX);

// Used: else the optimiser takes it apart, and the line with it.
#[used]
pub(super) static HOT: Hot = Hot {
    begun: AtomicPtr::new((&raw const INERT_BEGUN).cast_mut()),
    ended: AtomicPtr::new((&raw const INERT_ENDED).cast_mut()),
    generation: AtomicPtr::new((&raw const INERT).cast_mut()),
    quiet: AtomicU64::new(0),
    engaged: AtomicU64::new(0),
};

/// A process that has joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) segment: Segment,
    pub(super) identity: Identity,
    pub(super) clock: ClockKind,
    /// Counts joins and forks, so that a thread knows a ring of another segment when it sees one.
    pub(super) epoch: u64,
    /// The engine says what is in its iterations.
    pub(super) tells_batch: bool,
    /// Every iteration is an NVTX range, in a window or not: no step is quiet.
    pub(super) always_ranges: bool,
}

static JOINED: AtomicPtr<Joined> = AtomicPtr::new(std::ptr::null_mut());
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// The joined process, if it has.
pub(super) fn joined() -> Option<&'static Joined> {
    // SAFETY: null, or a leaked box that is never freed.
    unsafe { JOINED.load(Ordering::Acquire).as_ref() }
}

/// The epoch of a segment that is about to be joined with.
pub(super) fn next_epoch() -> u64 {
    EPOCH.fetch_add(1, Ordering::Relaxed) + 1
}

/// From now on the hook's words are the segment's.
pub(super) fn attach(joined: &'static Joined) {
    JOINED.store(std::ptr::from_ref(joined).cast_mut(), Ordering::Release);
    let status = joined.segment.status();
    fall_quiet(joined, 0);
    HOT.ended.store((&raw const status.ended).cast_mut(), Ordering::Relaxed);
    HOT.begun.store((&raw const status.begun).cast_mut(), Ordering::Relaxed);
    HOT.generation.store((&raw const joined.segment.control().generation).cast_mut(), Ordering::Release);
}

/// In a forked child: the hook's words are inert, and if the parent had joined, the next step looks closer. Gives the
/// parent. Only stores, nothing that could hang.
pub(super) fn detach() -> *mut Joined {
    EPOCH.fetch_add(1, Ordering::Relaxed);
    HOT.begun.store((&raw const INERT_BEGUN).cast_mut(), Ordering::Relaxed);
    HOT.ended.store((&raw const INERT_ENDED).cast_mut(), Ordering::Relaxed);
    HOT.engaged.store(0, Ordering::Relaxed);
    let parent = JOINED.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if !parent.is_null() {
        HOT.generation.store((&raw const FORKED).cast_mut(), Ordering::Relaxed);
    }
    HOT.quiet.store(0, Ordering::Relaxed);
    parent
}

/// Nothing is left to do of this generation: steps are cheap again, unless each one is to be seen.
pub(super) fn fall_quiet(joined: &Joined, generation: u64) {
    // Odd, so never equal to a generation.
    HOT.quiet.store(if joined.always_ranges { u64::MAX } else { generation }, Ordering::Relaxed);
}

/// Nothing happens in this process any more, until it joins.
pub(super) fn silence() {
    HOT.generation.store((&raw const INERT).cast_mut(), Ordering::Relaxed);
}
