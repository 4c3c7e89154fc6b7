//! What an engine tells of itself while a capture wants it: spans, instants, counters, durations, requests.
//!
//! Wanted or not is one word of the control block, which the sidecar sets shortly before a window and clears shortly after
//! it ([`crate::wire::wanted`]); it is asked through a pointer, so that a process that has not joined, or a forked child,
//! asks an inert word of our own. Not wanted, an event is two loads and a branch.
//!
//! Spans of a thread are kept on a stack of it and become records when they end: a span that is open when nobody wants it
//! any more is forgotten, one that began before anybody did is not there. Everything else is told whole. Texts are
//! interned once and for ever ([`intern`]), and told about once per ring and capture.
//!
//! A sidecar that is gone clears nothing: the lease is looked at once in a while, and past it nothing is wanted.

use std::cell::RefCell;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::wire::clock::monotonic_ns;
use crate::wire::event::{Argument, Event, FlowStep, MAX_ARGUMENTS, Request, SERVED, Served, Shape, Track, Value};
use crate::wire::record::{Record, TEXT_BYTES};
use crate::wire::text::{FixedText, cut};
use crate::wire::wanted::{level, takes};

use super::interned;
use super::nvtx::names::Named;
use super::state::{Joined, joined};
use super::threads::{self, Text};
use super::window::LEASE_LOOK_TICKS;

/// Most spans that are open on a thread at once; deeper ones are dropped and counted.
const DEPTH: usize = 64;

static INERT: AtomicU64 = AtomicU64::new(0);
/// `Control::events`, or an inert word.
static EVENTS: AtomicPtr<AtomicU64> = AtomicPtr::new((&raw const INERT).cast_mut());
/// When the lease was last looked at.
static LEASE_SEEN_TICKS: AtomicU64 = AtomicU64::new(0);

/// From now on the segment's word is asked.
pub(super) fn attach(joined: &'static Joined) {
    EVENTS.store((&raw const joined.segment.control().events).cast_mut(), Ordering::Release);
}

/// In a forked child: its parent's captures are not its own.
pub(super) fn forked() {
    EVENTS.store((&raw const INERT).cast_mut(), Ordering::Relaxed);
}

/// The generation whose events are wanted, or 0.
#[inline(always)]
pub(super) fn wanted() -> u64 {
    // SAFETY: a static, or a word of a segment that stays mapped for ever.
    unsafe { &*EVENTS.load(Ordering::Relaxed) }.load(Ordering::Relaxed)
}

/// What [`wanted`] says, with the highest level that is wanted in the low byte; 0: nothing is.
#[inline]
pub(super) fn recording() -> u64 {
    let generation = wanted();
    if generation == 0 {
        return 0;
    }
    let Some(joined) = joined() else { return 0 };
    generation << 8 | highest_level(joined)
}

fn highest_level(joined: &Joined) -> u64 {
    joined.segment.control().level.load(Ordering::Relaxed).clamp(level::BASIC, level::VERBOSE)
}

/// A text that is kept for ever. `None`: without memory.
pub(super) fn intern(text: &[u8]) -> Option<&'static Named> {
    if text.len() <= TEXT_BYTES {
        return interned::intern(text);
    }
    // What is cut says so.
    let mut kept = FixedText::<{ TEXT_BYTES + 1 }>::new();
    kept.push(cut(text, TEXT_BYTES - MARK.len())).push(MARK);
    interned::intern(kept.as_bytes())
}

/// Stands at the end of what was cut.
const MARK: &str = "…";

/// A span that is open.
#[derive(Clone, Copy)]
struct Open {
    begin_ticks: u64,
    /// `None`: it is of a level that is not wanted.
    name: Option<&'static Named>,
    category: Option<&'static Named>,
}

/// The spans that are open on one thread, of one generation.
struct Stack {
    epoch: u64,
    generation: u64,
    depth: usize,
    /// Spans open beyond the deepest one.
    beyond: u64,
    open: [Open; DEPTH],
}

const NOTHING: Open = Open { begin_ticks: 0, name: None, category: None };

thread_local! {
    static STACK: RefCell<Stack> =
        const { RefCell::new(Stack { epoch: 0, generation: 0, depth: 0, beyond: 0, open: [NOTHING; DEPTH] }) };
}

/// A span of this thread begins.
#[inline]
pub(super) fn span_begin(name: Option<&'static Named>, category: Option<&'static Named>, event_level: u64) {
    let generation = wanted();
    if generation != 0 {
        begin_wanted(generation, name, category, event_level);
    }
}

fn begin_wanted(generation: u64, name: Option<&'static Named>, category: Option<&'static Named>, event_level: u64) {
    let Some(joined) = joined() else { return };
    let name = name.filter(|_| event_level <= highest_level(joined));
    let _ = STACK.try_with(|stack| {
        let Ok(mut stack) = stack.try_borrow_mut() else { return };
        if stack.generation != generation || stack.epoch != joined.epoch {
            (stack.epoch, stack.generation, stack.depth, stack.beyond) = (joined.epoch, generation, 0, 0);
        }
        let depth = stack.depth;
        match stack.open.get_mut(depth) {
            Some(place) => {
                *place = Open { begin_ticks: joined.clock.ticks(), name, category };
                stack.depth = depth.wrapping_add(1);
            }
            None => {
                stack.beyond = stack.beyond.wrapping_add(1);
                threads::dropped(joined);
            }
        }
    });
}

/// The span that began last on this thread ends.
#[inline]
pub(super) fn span_end(arguments: &[ArgumentValue<'_>], device_ns: Option<u64>) {
    let generation = wanted();
    if generation != 0 {
        end_wanted(generation, arguments, device_ns);
    }
}

fn end_wanted(generation: u64, arguments: &[ArgumentValue<'_>], device_ns: Option<u64>) {
    let Some(joined) = joined() else { return };
    let end_ticks = joined.clock.ticks();
    let taken = STACK.try_with(|stack| {
        let mut stack = stack.try_borrow_mut().ok()?;
        if stack.generation != generation || stack.epoch != joined.epoch {
            return None;
        }
        if stack.beyond > 0 {
            stack.beyond = stack.beyond.wrapping_sub(1);
            return None;
        }
        let depth = stack.depth.checked_sub(1)?;
        stack.depth = depth;
        // Those of a level that is not wanted are not there.
        let around = stack.open.get(..depth).unwrap_or_default();
        let nested = around.iter().filter(|open| open.name.is_some()).count();
        Some((*stack.open.get(depth)?, nested as u16))
    });
    let Ok(Some((open, depth))) = taken else { return };
    let Some(name) = open.name else { return };
    let told = Told {
        shape: Shape::Span,
        begin_ticks: open.begin_ticks,
        end_ticks,
        name,
        category: open.category,
        depth,
        track: 0,
        device_ns,
        flow: None,
    };
    record(joined, generation, &told, arguments);
}

/// Now, in ticks; 0 in a process that has not joined.
pub(super) fn now() -> u64 {
    joined().map_or(0, |joined| joined.clock.ticks())
}

/// The ticks at a moment of CLOCK_MONOTONIC, as near as both can be read together; 0 in a process that has not joined.
pub(super) fn ticks_at(monotonic_ns: u64) -> u64 {
    joined().map_or(0, |joined| {
        let now = joined.clock.anchor();
        let then = joined.segment.header().attach;
        let (elapsed_ns, elapsed_ticks) =
            (now.monotonic_ns.wrapping_sub(then.monotonic_ns), now.ticks.wrapping_sub(then.ticks));
        let back_ns = now.monotonic_ns.saturating_sub(monotonic_ns);
        let back = u128::from(back_ns).wrapping_mul(u128::from(elapsed_ticks)).checked_div(u128::from(elapsed_ns));
        now.ticks.saturating_sub(back.and_then(|back| u64::try_from(back).ok()).unwrap_or(back_ns))
    })
}

/// An event, before its texts have slots.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) shape: Shape,
    pub(super) begin_ticks: u64,
    pub(super) end_ticks: u64,
    pub(super) name: &'static Named,
    pub(super) category: Option<&'static Named>,
    pub(super) depth: u16,
    pub(super) track: u64,
    pub(super) device_ns: Option<u64>,
    pub(super) flow: Option<(FlowStep, u64)>,
}

/// An argument's value, before its key has a slot.
#[derive(Debug, Clone, Copy)]
pub(super) enum ArgumentValue<'a> {
    Nothing,
    Number(&'static Named, Value),
    Text(&'static Named, &'a [u8]),
}

/// An event of any shape.
pub(super) fn event(told: &Told, event_level: u64, arguments: &[ArgumentValue<'_>]) {
    let generation = wanted();
    if generation == 0 {
        return;
    }
    let Some(joined) = joined() else { return };
    if event_level <= highest_level(joined) {
        record(joined, generation, told, arguments);
    }
}

fn record(joined: &'static Joined, generation: u64, told: &Told, arguments: &[ArgumentValue<'_>]) {
    if !is_leased(joined, if told.shape == Shape::Counter { told.begin_ticks } else { told.end_ticks }) {
        return;
    }
    threads::write(joined, generation as u32, |writer| {
        let generation = generation as u32;
        // All of it or nothing: slots first, since they may fail.
        let name = writer.name(told.name.into())?;
        let category = told.category.map_or(Some(0), |category| writer.category(category.into()))?;
        let mut count: u16 = 0;
        for argument in arguments.iter().take(MAX_ARGUMENTS) {
            match argument {
                ArgumentValue::Nothing => continue,
                ArgumentValue::Number(key, value) => {
                    let key = writer.key((*key).into())?;
                    writer.push(&Record::Argument(Argument { generation, key, value: *value }))?;
                }
                ArgumentValue::Text(key, text) => {
                    let key = writer.key((*key).into())?;
                    let mut part = 0;
                    while let Some(argument) = Argument::of_text(generation, key, text, part) {
                        writer.push(&Record::Argument(argument))?;
                        part = part.wrapping_add(1);
                    }
                }
            }
            count = count.wrapping_add(1);
        }
        let Told { shape, begin_ticks, end_ticks, depth, track, device_ns, flow, .. } = *told;
        writer.push(&Record::Event(Event {
            generation,
            shape,
            begin_ticks,
            end_ticks,
            name,
            category,
            depth,
            arguments: count,
            track,
            device_ns,
            flow,
        }))
    });
}

/// A logical track gets its name.
pub(super) fn track(number: u64, name: &'static Named) {
    let generation = wanted();
    if generation == 0 || number == 0 {
        return;
    }
    let Some(joined) = joined() else { return };
    threads::write(joined, generation as u32, |writer| {
        let name = writer.name(name.into())?;
        writer.push(&Record::Track(Track { generation: generation as u32, track: number, name }))
    });
}

/// Something happened to a request; its id is told unless it is empty.
pub(super) fn request(mut told: Request, id: &[u8]) {
    let generation = wanted();
    if generation == 0 {
        return;
    }
    let Some(joined) = joined() else { return };
    if !takes(joined.segment.control().request_shift.load(Ordering::Relaxed), told.request)
        || !is_leased(joined, told.ticks)
    {
        return;
    }
    threads::write(joined, generation as u32, |writer| {
        told.generation = generation as u32;
        if !id.is_empty() {
            // Not interned: there is no end of them. Odd, where the keys of what is interned are even.
            told.id = writer.name(Text { key: told.request | 1, bytes: cut(id, TEXT_BYTES) })?;
        }
        writer.push(&Record::Request(told))
    });
}

/// The iteration that runs computes so many tokens of these requests.
pub(super) fn served(iteration: u64, requests: impl Iterator<Item = (u64, u32)>) {
    let generation = wanted();
    if generation == 0 {
        return;
    }
    let Some(joined) = joined() else { return };
    let shift = joined.segment.control().request_shift.load(Ordering::Relaxed);
    let mut requests = requests.filter(|&(number, _)| number != 0 && takes(shift, number));
    threads::write(joined, generation as u32, |writer| {
        loop {
            let mut some = [(0, 0); SERVED];
            let mut count: usize = 0;
            for (place, request) in some.iter_mut().zip(&mut requests) {
                *place = request;
                count = count.wrapping_add(1);
            }
            if count == 0 {
                return Some(());
            }
            writer.push(&Record::Served(Served { generation: generation as u32, iteration, requests: some }))?;
        }
    });
}

/// Whether the sidecar still renews its lease, as far as it was looked at lately. What is told of a time before that look
/// has it looked at once more.
#[inline]
fn is_leased(joined: &Joined, now: u64) -> bool {
    if now.wrapping_sub(LEASE_SEEN_TICKS.load(Ordering::Relaxed)) < LEASE_LOOK_TICKS {
        return true;
    }
    look_at_lease(joined, now)
}

#[cold]
#[inline(never)]
fn look_at_lease(joined: &Joined, now: u64) -> bool {
    if monotonic_ns() > joined.segment.control().lease_deadline_ns.load(Ordering::Relaxed) {
        return false;
    }
    LEASE_SEEN_TICKS.store(now, Ordering::Relaxed);
    true
}

impl From<&'static Named> for Text<'static> {
    fn from(named: &'static Named) -> Self {
        Self { key: named.key(), bytes: named.text }
    }
}
