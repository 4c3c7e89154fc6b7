//! A span of the plugin's own, entered and left by hand on the track of the thread that runs.
//!
//! It is [`crate::span::Span`] without what a program's own spans need: it is never entered within itself, and ends on the
//! thread where it began. What is left is a handful of cache lines, which is what it costs behind an iteration that has
//! driven everything of ours out of the caches.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::intern;
use pyo3::prelude::*;

use crate::event::Told;
use crate::recorder;
use crate::table::{self, Argument, shape};
use crate::texts;
use crate::tracks;
use crate::values::Arguments;

/// When one ran, in ticks, whether it was wanted or not.
pub(crate) struct Ran {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

pub(crate) struct Stretch {
    name: u64,
    category: u64,
    level: u32,
    /// In ticks.
    begin: AtomicU64,
    /// The capture that it is open in, or 0.
    open_in: AtomicU64,
}

impl Stretch {
    pub(crate) fn new(name: &Bound<'_, PyAny>, category: &Bound<'_, PyAny>, level: u32) -> Self {
        let [name, category] = [name, category].map(texts::handle);
        Self { name, category, level, begin: AtomicU64::new(0), open_in: AtomicU64::new(0) }
    }

    /// It begins while a capture records, as the agent says it (`recording`). Whether its level is wanted; not while it is open
    /// on another thread.
    #[inline]
    pub(crate) fn begin(&self, py: Python<'_>, recording: u64) -> bool {
        let generation = recording >> 8;
        let is_wanted = self.level <= recording as u32 & 0xff && self.open_in.load(Ordering::Relaxed) != generation;
        if is_wanted {
            tracks::stretch_begins(py);
            self.open_in.store(generation, Ordering::Relaxed);
        }
        self.begin.store((table::current().now)(), Ordering::Relaxed);
        is_wanted
    }

    /// It ends, and is told with these numbers.
    #[inline]
    pub(crate) fn end(&self, numbers: &[Argument]) -> Ran {
        let ran = self.ran();
        if let Some(told) = self.told(&ran) {
            told.tell(numbers);
        }
        ran
    }

    /// It ends with an exception, if it is open.
    #[cold]
    pub(crate) fn fail(&self, error: &Bound<'_, PyAny>) {
        let py = error.py();
        let Some(told) = self.told(&self.ran()) else { return };
        let mut arguments = Arguments::new();
        if let Ok(name) = error.get_type().getattr(intern!(py, "__name__")) {
            arguments.push(texts::handle(intern!(py, "error").as_any()), &name);
        }
        told.tell(arguments.get());
    }

    fn ran(&self) -> Ran {
        Ran { begin: self.begin.load(Ordering::Relaxed), end: (table::current().now)() }
    }

    /// `None`: it was not open, or the capture that wanted it is over.
    #[inline]
    fn told(&self, ran: &Ran) -> Option<Told> {
        let open_in = self.open_in.load(Ordering::Relaxed);
        if open_in == 0 {
            return None;
        }
        self.open_in.store(0, Ordering::Relaxed);
        let depth = tracks::stretch_ends(open_in);
        let Self { name, category, level, .. } = *self;
        let told =
            Told { shape: shape::SPAN, depth, level, name, category, begin: ran.begin, end: ran.end, ..Told::NOTHING };
        (recorder::recording() >> 8 == open_in).then_some(told)
    }
}
