//! The second pass of an export: what one fragment tells besides its iterations, as it comes. NVTX ranges, and the spans,
//! instants, counters and durations of the recorder.
//!
//! Spans come in the order in which they ended, a parent behind all that is in it, so there is no order by begin to be had
//! without keeping everything. Viewers need none. What they need is that the slices of a track nest or are disjoint, and
//! that is made sure of here ([`super::nesting`]), whatever the fragment says. Memory is bounded by the number of rings, of
//! tracks, and of slices that a slice holds directly.
//!
//! The recorder is on for some milliseconds before a window and after it; what lies in it is shown, and what does not touch
//! it is left out and counted.

use std::collections::BTreeMap;
use std::io;

use super::event::{Event, Span, Thread, ThreadName};
use super::fragment::FragmentReader;
use super::recorded::{Recorded, Shape};
use super::ring::{MAX_ARGUMENTS, Ring};
use super::tracks::{TrackHead, TrackKey, Tracks};
use super::writer::{Argument, Flow, Value};

/// Thread ids from here on are none: those of rings whose thread is not known. The system's have 22 bits.
pub(super) const UNTOLD: u64 = 1 << 63;

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ToldCounts {
    /// Spans written.
    pub(super) spans: u64,
    /// Instants, counter values and durations written.
    pub(super) others: u64,
    /// Spans moved so that their track nests.
    pub(super) clamped: u64,
    /// Left out: there are more threads, domains and tracks than rows.
    pub(super) homeless: u64,
    /// Left out: before the window, or behind it.
    pub(super) outside: u64,
}

/// How something is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Drawn {
    /// A slice of its track.
    Slice,
    /// A slice that may overlap others.
    Async,
    /// A moment.
    Instant,
    /// A counter's value.
    Counter(f64),
}

/// Something on its way into a trace.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) drawn: Drawn,
    /// The row's number; of a counter it means nothing.
    pub(super) track: u32,
    pub(super) category: &'a str,
    pub(super) name: &'a str,
    pub(super) begin_ns: u64,
    pub(super) end_ns: u64,
    pub(super) arguments: &'a [Argument<'a>],
    pub(super) flow: Option<Flow>,
}

/// Where it all goes.
pub(super) trait ToldSink {
    /// Comes in front of the track's first event, and again when its name changes.
    fn track(&mut self, track: &TrackHead) -> io::Result<()>;
    fn placed(&mut self, placed: &Placed<'_>) -> io::Result<()>;
}

/// Times of a fragment in those of the trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times<F> {
    /// Makes ticks into times, and never runs backwards.
    pub(super) ns: F,
    /// When the window opened and closed, as far as it is known.
    pub(super) window: (u64, u64),
}

/// Hands on all of a fragment.
pub(super) fn each_told(
    reader: &mut FragmentReader,
    times: Times<impl Fn(u64) -> u64>,
    sink: &mut impl ToldSink,
) -> io::Result<ToldCounts> {
    let mut rings: BTreeMap<u32, Ring> = BTreeMap::new();
    let mut pass = Pass { times, sink, tracks: Tracks::default(), counts: ToldCounts::default() };
    reader.rewind();
    // What can't be read was found and told by the first pass.
    while let Ok(Some(block)) = reader.next_block() {
        let ring = rings.entry(block.ring).or_default();
        for event in block.events().flatten() {
            match event {
                Event::Thread(thread) => ring.thread = Some(thread),
                Event::Text(part) => ring.take(&part),
                Event::Argument(argument) => ring.argument(&argument),
                Event::Span(span) => pass.span(ring, block.ring, &span)?,
                Event::Track(track) => pass.tracks.name(track.track, ring.text(track.name), pass.sink)?,
                Event::Recorded(event) => {
                    pass.recorded(ring, block.ring, &event)?;
                    ring.forget_arguments();
                }
                _ => {}
            }
        }
    }
    Ok(pass.counts)
}

struct Pass<'a, F, S> {
    times: Times<F>,
    sink: &'a mut S,
    tracks: Tracks,
    counts: ToldCounts,
}

/// The thread of a ring; one whose thread nobody told is its own.
fn thread_of(ring: &Ring, number: u32) -> Thread {
    ring.thread.unwrap_or_else(|| Thread { tid: UNTOLD + u64::from(number), name: ThreadName::new(b"") })
}

impl<F: Fn(u64) -> u64, S: ToldSink> Pass<'_, F, S> {
    fn span(&mut self, ring: &Ring, number: u32, span: &Span) -> io::Result<()> {
        let domain = ring.domain(span.domain);
        let thread = (!span.is_async).then(|| thread_of(ring, number));
        let key = thread.map_or(TrackKey::Ranges, |thread| TrackKey::Thread(thread.tid, domain.clone()));
        let Some(track) = self.tracks.of(key, thread, self.sink)? else {
            self.counts.homeless += 1;
            return Ok(());
        };
        let told = ((self.times.ns)(span.begin_ticks), (self.times.ns)(span.end_ticks));
        let placed = if span.is_async { told } else { track.nesting.place(told.0, told.1, span.depth) };
        self.counts.spans += 1;
        self.counts.clamped += u64::from(placed != told);
        let clamped = (placed != told).then_some(("clamped", Value::Flag(true)));
        let domain = domain.as_deref().map(|domain| ("domain", Value::Text(domain)));
        let mut arguments = [("", Value::Flag(true)); 2];
        let count = fill(&mut arguments, clamped.into_iter().chain(domain));
        self.sink.placed(&Placed {
            drawn: if span.is_async { Drawn::Async } else { Drawn::Slice },
            track: track.head.number,
            category: "nvtx",
            name: &ring.name(span),
            begin_ns: placed.0,
            end_ns: placed.1,
            arguments: &arguments[..count],
            flow: None,
        })
    }

    fn recorded(&mut self, ring: &Ring, number: u32, event: &Recorded) -> io::Result<()> {
        let begin_ns = (self.times.ns)(event.begin_ticks);
        let end_ns = match event.shape {
            Shape::Span | Shape::Duration => (self.times.ns)(event.end_ticks),
            Shape::Instant | Shape::Counter => begin_ns,
        };
        if end_ns < self.times.window.0 || begin_ns > self.times.window.1 {
            self.counts.outside += 1;
            return Ok(());
        }
        let (key, thread) = match (event.shape, event.track) {
            (Shape::Duration, _) => (TrackKey::Durations, None),
            (_, 0) => {
                let thread = thread_of(ring, number);
                (TrackKey::Recorder(thread.tid), Some(thread))
            }
            (_, logical) => (TrackKey::Logical(logical), None),
        };
        let drawn = match event.shape {
            Shape::Span => Drawn::Slice,
            Shape::Instant => Drawn::Instant,
            Shape::Counter => Drawn::Counter(f64::from_bits(event.end_ticks)),
            Shape::Duration => Drawn::Async,
        };
        let (mut row, mut placed) = (0, (begin_ns, end_ns));
        // A counter is the process's.
        if event.shape != Shape::Counter {
            let Some(track) = self.tracks.of(key, thread, self.sink)? else {
                self.counts.homeless += 1;
                return Ok(());
            };
            row = track.head.number;
            if event.shape == Shape::Span {
                placed = track.nesting.place(begin_ns, end_ns, event.depth);
            }
        }
        let clamped = placed != (begin_ns, end_ns);
        self.counts.clamped += u64::from(clamped);
        match event.shape {
            Shape::Span => self.counts.spans += 1,
            _ => self.counts.others += 1,
        }
        let mut arguments = [("", Value::Flag(true)); MAX_ARGUMENTS + 2];
        let device = event.device_ns.map(|device_ns| ("device_ns", Value::Number(device_ns)));
        let clamped = clamped.then_some(("clamped", Value::Flag(true)));
        let about = device.into_iter().chain(clamped);
        let count = fill(&mut arguments, ring.arguments(event.arguments).take(MAX_ARGUMENTS).chain(about));
        let category = ring.domain(event.category);
        self.sink.placed(&Placed {
            drawn,
            track: row,
            category: category.as_deref().unwrap_or("span"),
            name: &ring.text(event.name),
            begin_ns: placed.0,
            end_ns: placed.1,
            arguments: &arguments[..count],
            flow: event.flow.map(|(step, number)| Flow::new(number, step)),
        })
    }
}

/// Puts what there is into the places; says how many.
fn fill<'a>(places: &mut [Argument<'a>], arguments: impl Iterator<Item = Argument<'a>>) -> usize {
    let mut count = 0;
    for (place, argument) in places.iter_mut().zip(arguments) {
        *place = argument;
        count += 1;
    }
    count
}
