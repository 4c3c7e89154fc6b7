//! How long an iteration took on the device: an event on the engine's stream at either edge, asked for later.
//!
//! The engine thread records the events and never waits for them. A record whose events have not passed yet is held back,
//! in order, until they have, at most [`HELD`] of them; what can't be had is no time, and counted.

use std::ptr::null_mut;

use crate::wire::record::Iteration;

use super::driver::{Driver, Event, SUCCESS, Stream};

/// Iterations whose end the device has not reached: engines run a few ahead, not more.
pub(in crate::agent) const HELD: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Slot {
    begin: Event,
    end: Event,
    record: Option<Iteration>,
    timed: bool,
}

/// The events of one engine thread.
#[derive(Debug)]
pub(in crate::agent) struct DeviceTimes {
    slots: [Slot; HELD],
    /// The oldest that is held, and how many are.
    first: usize,
    held: usize,
    /// The stream that the iteration which runs was begun on.
    stream: Option<Stream>,
    /// Iterations without a time.
    pub(in crate::agent) missed: u64,
}

// SAFETY: handles of the driver, which any thread may use; reached behind the window's try-lock.
unsafe impl Send for DeviceTimes {}

impl DeviceTimes {
    pub(in crate::agent) const NEW: Self = Self {
        slots: [const { Slot { begin: null_mut(), end: null_mut(), record: None, timed: false } }; HELD],
        first: 0,
        held: 0,
        stream: None,
        missed: 0,
    };

    /// The iteration that runs puts its work on `stream`.
    pub(in crate::agent) fn begin(&mut self, driver: &Driver, stream: Stream) {
        self.stream = None;
        if self.held == HELD {
            return;
        }
        let slot = self.slot(self.held);
        // SAFETY: events of our own, made here; a stream that the engine says is its own.
        let recorded = unsafe {
            (!slot.begin.is_null() || (driver.event_create)(&mut slot.begin, 0) == SUCCESS)
                && (!slot.end.is_null() || (driver.event_create)(&mut slot.end, 0) == SUCCESS)
                && (driver.event_record)(slot.begin, stream) == SUCCESS
        };
        self.stream = recorded.then_some(stream);
    }

    /// Whether the iteration that runs is timed, or one before it is held.
    pub(in crate::agent) fn is_used(&self) -> bool {
        self.held > 0 || self.stream.is_some()
    }

    /// The iteration ended for the host: holds its record until the device has passed it, and hands out what is due.
    pub(in crate::agent) fn end(&mut self, driver: &Driver, record: Iteration, mut push: impl FnMut(&Iteration)) {
        if self.held == HELD {
            // The device hangs behind: the oldest goes without its time, so that the order holds.
            self.hand_out(driver, true, &mut push);
        }
        let stream = self.stream.take();
        let slot = self.slot(self.held);
        // SAFETY: the event was made in `begin`, the stream is the one of then.
        slot.timed = stream.is_some_and(|stream| unsafe { (driver.event_record)(slot.end, stream) } == SUCCESS);
        slot.record = Some(record);
        self.held += 1;
        while self.hand_out(driver, false, &mut push) {}
    }

    /// The window closes: everything that is held goes out, with its time or without.
    pub(in crate::agent) fn flush(&mut self, driver: Option<&Driver>, mut push: impl FnMut(&Iteration)) {
        while self.held > 0 {
            match driver {
                Some(driver) => {
                    self.hand_out(driver, true, &mut push);
                }
                None => self.release(None, &mut push),
            }
        }
        self.stream = None;
    }

    /// Hands the oldest out if its time is there, or without it if it has to go. `false`: nothing went.
    fn hand_out(&mut self, driver: &Driver, must: bool, push: &mut impl FnMut(&Iteration)) -> bool {
        if self.held == 0 {
            return false;
        }
        let slot = *self.slot(0);
        // SAFETY: events of our own.
        let passed = slot.timed && unsafe { (driver.event_query)(slot.end) } == SUCCESS;
        if !passed && slot.timed && !must {
            return false;
        }
        let mut milliseconds = 0f32;
        // SAFETY: events of our own, both passed; a variable of ours.
        let code = passed.then(|| unsafe { (driver.event_elapsed)(&mut milliseconds, slot.begin, slot.end) });
        let time = (code == Some(SUCCESS) && milliseconds >= 0.0).then(|| (f64::from(milliseconds) * 1e6) as u64);
        self.release(time, push);
        true
    }

    /// The slot `behind` places after the oldest.
    fn slot(&mut self, behind: usize) -> &mut Slot {
        // The remainder is in range whatever the sum.
        &mut self.slots[self.first.wrapping_add(behind) % HELD]
    }

    fn release(&mut self, device_ns: Option<u64>, push: &mut impl FnMut(&Iteration)) {
        if let Some(record) = self.slot(0).record.take() {
            self.missed += u64::from(device_ns.is_none());
            push(&Iteration { device_ns, ..record });
        }
        self.first = self.first.wrapping_add(1) % HELD;
        self.held = self.held.saturating_sub(1);
    }
}
