//! The one interface behind which every trace format lives. An exporter calls it, a format implements it.
//!
//! Order of calls: [`TraceWriter::begin`] once, then names and events in any order, [`TraceWriter::metadata`] at most
//! once, [`TraceWriter::finish`] once. Times are nanoseconds since the epoch. Whoever calls takes care that the slices
//! of one track are nested or disjoint, and that of two that begin together the outer one comes first.

use std::io;

/// A process in the viewer: numbers of ours from 1 (two containers both have a pid 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

/// A row in the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track {
    /// Which process it is shown under.
    pub process: ProcessId,
    /// Number inside the process, from 1.
    pub row: u32,
}

/// The value of an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Number(u64),
    /// A whole number that may be below zero.
    Signed(i64),
    /// A number; one that is not finite is null in JSON and left out where a format has no null.
    Decimal(f64),
    /// Yes or no.
    Flag(bool),
    /// Text; see [`MAX_TEXT_BYTES`].
    Text(&'a str),
}

/// An argument: a name, perhaps a stranger's, and a value.
pub type Argument<'a> = (&'a str, Value<'a>);

/// Longest text that a trace holds: names, categories, names of arguments, texts. What is longer is cut between two
/// characters, and a mark behind it says how long it was: `… (1048576 bytes)`.
pub const MAX_TEXT_BYTES: usize = 8192;

/// A text as far as a trace holds it, and whether that is all of it.
#[inline]
pub(super) fn fitting(text: &str) -> (&str, bool) {
    if text.len() <= MAX_TEXT_BYTES { (text, true) } else { (&text[..text.floor_char_boundary(MAX_TEXT_BYTES)], false) }
}

/// What stands behind a text of so many bytes that was cut.
#[cold]
pub(super) fn cut_mark(bytes: usize) -> String {
    format!("… ({bytes} bytes)")
}

/// Where a flow stands in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowStep {
    /// It leaves here for the first time.
    Begin,
    /// It comes in and goes on.
    Step,
    /// It comes in and ends.
    End,
}

/// An arrow from slice to slice that passes through a slice at its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Tells it from all other flows of the trace.
    pub id: u64,
    /// Whether it begins, passes or ends here.
    pub step: FlowStep,
}

impl Flow {
    /// The arrow of this number, at this step: of which 53 bits are kept, as viewers that run in a browser do.
    pub(super) fn new(number: u64, step: FlowStep) -> Self {
        Self { id: number & ((1 << 53) - 1), step }
    }
}

/// A slice.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a> {
    /// Where.
    pub track: Track,
    /// A word that viewers filter by, perhaps a stranger's.
    pub category: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// Begin, nanoseconds since the epoch.
    pub begin_ns: u64,
    /// How long, nanoseconds.
    pub duration_ns: u64,
    /// The arrows through it. Those of an asynchronous slice are not shown.
    pub flows: &'a [Flow],
}

/// What has to be known before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceStart {
    /// Nanoseconds since the epoch that no event lies before.
    pub base_ns: u64,
    /// The rank, for a trace of one rank only.
    pub only_rank: Option<u32>,
}

/// A trace format.
pub trait TraceWriter {
    /// The first call.
    ///
    /// # Errors
    /// What the sink says; the same for all other calls.
    fn begin(&mut self, start: TraceStart) -> io::Result<()>;
    /// Names a process; lower `sort_index` is further up.
    fn process(&mut self, process: ProcessId, name: &str, label: &str, sort_index: u32) -> io::Result<()>;
    /// Names a track; lower `sort_index` is further up.
    fn track(&mut self, track: Track, name: &str, sort_index: u32) -> io::Result<()>;
    /// A slice with a begin and a duration.
    fn slice(&mut self, slice: Slice<'_>, arguments: &[Argument<'_>]) -> io::Result<()>;
    /// A slice that may overlap any other; `id` tells it from all others of its category.
    fn async_slice(&mut self, slice: Slice<'_>, id: u64, arguments: &[Argument<'_>]) -> io::Result<()>;
    /// A point in time.
    fn instant(
        &mut self,
        track: Track,
        category: &str,
        name: &str,
        at_ns: u64,
        arguments: &[Argument<'_>],
    ) -> io::Result<()>;
    /// The values of a counter from now on.
    fn counter(&mut self, process: ProcessId, name: &str, at_ns: u64, values: &[(&str, u64)]) -> io::Result<()>;
    /// The value of a counter that is measured, from now on. Not finite: nothing is written.
    fn gauge(&mut self, process: ProcessId, name: &str, at_ns: u64, value: f64) -> io::Result<()>;
    /// What is said about the trace as a whole.
    fn metadata(&mut self, metadata: &serde_json::Value) -> io::Result<()>;
    /// The last call: everything is handed to the sink.
    fn finish(&mut self) -> io::Result<()>;
    /// Events written so far: slices, instants and counter values. A flow is none: it belongs to its slice.
    fn events(&self) -> u64;
}
