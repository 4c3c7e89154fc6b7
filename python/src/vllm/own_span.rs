//! A span of the plugin's own, entered and left by hand on the track of the thread that runs.
//!
//! It is [`crate::span::Span`] without what a program's own spans need: it is open once at a time, and ends on the thread where it
//! began. Behind an iteration our memory is out of the caches, so that the lines of it which are touched are the cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pyo3::intern;
use pyo3::prelude::*;

use crate::event::Told;
use crate::recorder;
use crate::table::{self, Argument, shape};
use crate::texts;
use crate::tracks::{self, Left, Place, Stack};
use crate::values::Arguments;

pub(crate) struct OwnSpan {
    name: u64,
    category: u64,
    level: u32,
    /// In ticks.
    begin: AtomicU64,
    /// The capture that it is open in, or 0; then on which track, and where there.
    open_in: AtomicU64,
    track: AtomicUsize,
    place: AtomicU64,
}

impl OwnSpan {
    pub(crate) fn new(name: &Bound<'_, PyAny>, category: &Bound<'_, PyAny>, level: u32) -> Self {
        let [name, category] = [name, category].map(texts::handle);
        Self {
            name,
            category,
            level,
            begin: AtomicU64::new(0),
            open_in: AtomicU64::new(0),
            track: AtomicUsize::new(0),
            place: AtomicU64::new(0),
        }
    }

    /// Whether it has begun: `recording`, as the agent says it, wants its level. Not while it is open on another thread; one that
    /// nobody ended on this one is forgotten.
    #[inline]
    pub(crate) fn begin(&self, py: Python<'_>, recording: u64) -> bool {
        if self.level > recording as u32 & 0xff {
            return false;
        }
        let generation = recording >> 8;
        let own = tracks::of_thread(py);
        let track = Arc::as_ptr(&own).addr();
        let open_in = self.open_in.load(Ordering::Relaxed);
        if open_in == generation && self.track.load(Ordering::Relaxed) != track {
            return false;
        }
        if open_in != 0 {
            self.leave(&own);
        }
        let Some(place) = own.enter(generation) else { return false };
        self.track.store(track, Ordering::Relaxed);
        self.place.store(place.span, Ordering::Relaxed);
        self.open_in.store(generation, Ordering::Relaxed);
        self.begin.store((table::current().now)(), Ordering::Relaxed);
        true
    }

    /// It ends, if it is open, and is told with these numbers. Gives the moment.
    #[inline]
    pub(crate) fn end(&self, py: Python<'_>, numbers: &[Argument]) -> u64 {
        let now = (table::current().now)();
        if let Some(told) = self.close(py, now) {
            told.tell(numbers);
        }
        now
    }

    /// It ends with an exception, if it is open.
    #[cold]
    pub(crate) fn fail(&self, error: &Bound<'_, PyAny>) {
        let py = error.py();
        let Some(told) = self.close(py, (table::current().now)()) else { return };
        let mut arguments = Arguments::new();
        if let Ok(name) = error.get_type().getattr(intern!(py, "__name__")) {
            arguments.push(texts::handle(intern!(py, "error").as_any()), &name);
        }
        told.tell(arguments.get());
    }

    /// `None`: it is not open, or the capture that wanted it is over.
    #[inline]
    fn close(&self, py: Python<'_>, end: u64) -> Option<Told> {
        let generation = self.open_in.load(Ordering::Relaxed);
        if generation == 0 {
            return None;
        }
        let (shape, depth) = match self.leave(&tracks::of_thread(py)) {
            Left::InTurn(depth) => (shape::SPAN, depth),
            Left::OutOfTurn => (shape::DURATION, 0),
        };
        let Self { name, category, level, ref begin, .. } = *self;
        let begin = begin.load(Ordering::Relaxed);
        let told = Told { shape, depth, level, name, category, begin, end, ..Told::NOTHING };
        (recorder::recording() >> 8 == generation).then_some(told)
    }

    fn leave(&self, own: &Stack) -> Left {
        let place =
            Place { span: self.place.load(Ordering::Relaxed), generation: self.open_in.load(Ordering::Relaxed) };
        self.open_in.store(0, Ordering::Relaxed);
        own.leave(place)
    }
}
