//! The one interface behind which every trace format lives. An exporter calls it, a format implements it.
//!
//! Order of calls: [`TraceWriter::begin`] once, then names and events in any order, [`TraceWriter::metadata`] at most
//! once, [`TraceWriter::finish`] once. Times are nanoseconds since the epoch. Whoever calls takes care that the slices
//! of one track are nested or disjoint.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Text.
    Text(&'a str),
}

/// An argument: a plain name, of letters, digits, spaces and underscores, and a value.
pub type Argument<'a> = (&'static str, Value<'a>);

/// A slice.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a> {
    /// Where.
    pub track: Track,
    /// Plain word that viewers filter by.
    pub category: &'static str,
    /// What it is called.
    pub name: &'a str,
    /// Begin, nanoseconds since the epoch.
    pub begin_ns: u64,
    /// How long, nanoseconds.
    pub duration_ns: u64,
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
    fn instant(&mut self, track: Track, category: &'static str, name: &str, at_ns: u64) -> io::Result<()>;
    /// The values of a counter from now on.
    fn counter(&mut self, process: ProcessId, name: &str, at_ns: u64, values: &[(&'static str, u64)])
    -> io::Result<()>;
    /// The value of a counter that is measured, from now on. Not finite: nothing is written.
    fn gauge(&mut self, process: ProcessId, name: &str, at_ns: u64, value: f64) -> io::Result<()>;
    /// What is said about the trace as a whole.
    fn metadata(&mut self, metadata: &serde_json::Value) -> io::Result<()>;
    /// The last call: everything is handed to the sink.
    fn finish(&mut self) -> io::Result<()>;
    /// Events written so far: slices, instants and counter values.
    fn events(&self) -> u64;
}
