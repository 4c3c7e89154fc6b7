//! Chrome JSON, streamed: opens in Perfetto, chrome://tracing and HolisticTraceAnalysis.
//!
//! * `ts` and `dur` are microseconds with exactly three decimals, relative to `baseTimeNanoseconds` (as Kineto does it:
//!   unix_ns = baseTimeNanoseconds + ts × 1000).
//! * `"rank": N`, with the space and before the first event, stands in a file of one rank only: HolisticTraceAnalysis
//!   searches for `"rank":\s+(\d+)` and takes the first hit. Everything else is written without spaces, so that no
//!   other place of a file can match.
//! * A flow is an event `s`, `t` or `f` right behind its slice, with the slice's process, track and begin.
//! * The text goes to the sink in pieces of 64 KiB; nothing else is kept.

use std::io::{self, Write};

use super::json::JsonBuffer;
use super::writer::{Argument, Flow, FlowStep, ProcessId, Slice, TraceStart, TraceWriter, Track, Value};

const FLUSH_BYTES: usize = 64 * 1024;

/// Writes Chrome JSON to a sink.
#[derive(Debug)]
pub struct ChromeWriter<W: Write> {
    sink: W,
    text: JsonBuffer,
    base_ns: u64,
    events: u64,
    entries: u64,
    metadata: Option<String>,
}

impl<W: Write> ChromeWriter<W> {
    /// A writer in front of its first call. The sink need not be buffered.
    pub fn new(sink: W) -> Self {
        let text = JsonBuffer::with_capacity(FLUSH_BYTES + 4096);
        Self { sink, text, base_ns: 0, events: 0, entries: 0, metadata: None }
    }

    /// The sink; call it after [`TraceWriter::finish`].
    pub fn into_inner(self) -> W {
        self.sink
    }

    #[inline]
    fn open(&mut self, head: &str) {
        self.text.raw(if self.entries == 0 { "\n" } else { ",\n" });
        self.entries += 1;
        self.text.raw(head);
    }

    #[inline]
    fn place(&mut self, track: Track) {
        self.text.raw(",\"pid\":");
        self.text.number(track.process.0.into());
        self.text.raw(",\"tid\":");
        self.text.number(track.row.into());
    }

    #[inline]
    fn time(&mut self, at_ns: u64) {
        self.text.raw(",\"ts\":");
        self.text.micros(at_ns.saturating_sub(self.base_ns));
    }

    #[inline]
    fn close(&mut self) -> io::Result<()> {
        self.text.raw("}");
        if self.text.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(self.text.bytes())?;
        self.text.clear();
        Ok(())
    }

    /// A metadata event with one argument.
    fn name(&mut self, track: Track, what: &str, key: &str, value: Value<'_>) -> io::Result<()> {
        self.open("{\"ph\":\"M\",\"name\":\"");
        self.text.raw(what);
        self.text.raw("\"");
        self.place(track);
        self.text.raw(",\"args\":{\"");
        self.text.raw(key);
        self.text.raw("\":");
        self.value(value);
        self.text.raw("}");
        self.close()
    }

    #[inline]
    fn arguments(&mut self, arguments: &[Argument<'_>]) {
        for (i, &(key, value)) in arguments.iter().enumerate() {
            self.text.between(if i == 0 { ",\"args\":{\"" } else { ",\"" }, key, "\":");
            self.value(value);
        }
        if !arguments.is_empty() {
            self.text.raw("}");
        }
    }

    #[inline]
    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Number(number) => self.text.number(number),
            Value::Signed(number) => self.text.signed(number),
            Value::Decimal(number) if number.is_finite() => self.text.decimal(number),
            Value::Decimal(_) => self.text.raw("null"),
            Value::Flag(flag) => self.text.boolean(flag),
            Value::Text(text) => self.text.string(text),
        }
    }

    fn flow(&mut self, slice: &Slice<'_>, flow: Flow) -> io::Result<()> {
        self.open(match flow.step {
            FlowStep::Begin => "{\"ph\":\"s\"",
            FlowStep::Step => "{\"ph\":\"t\",\"bp\":\"e\"",
            FlowStep::End => "{\"ph\":\"f\",\"bp\":\"e\"",
        });
        self.text.raw(",\"cat\":\"request\",\"name\":\"request\",\"id\":");
        self.text.number(flow.id);
        self.place(slice.track);
        self.time(slice.begin_ns);
        self.close()
    }
}

impl<W: Write> TraceWriter for ChromeWriter<W> {
    fn begin(&mut self, start: TraceStart) -> io::Result<()> {
        self.base_ns = start.base_ns;
        self.text.raw("{\"displayTimeUnit\":\"ms\",\"baseTimeNanoseconds\":");
        self.text.number(start.base_ns);
        if let Some(rank) = start.only_rank {
            self.text.raw(",\n\"rank\": ");
            self.text.number(rank.into());
        }
        self.text.raw(",\n\"traceEvents\":[");
        Ok(())
    }

    fn process(&mut self, process: ProcessId, name: &str, label: &str, sort_index: u32) -> io::Result<()> {
        let track = Track { process, row: 0 };
        self.name(track, "process_name", "name", Value::Text(name))?;
        if !label.is_empty() {
            self.name(track, "process_labels", "labels", Value::Text(label))?;
        }
        self.name(track, "process_sort_index", "sort_index", Value::Number(sort_index.into()))
    }

    fn track(&mut self, track: Track, name: &str, sort_index: u32) -> io::Result<()> {
        self.name(track, "thread_name", "name", Value::Text(name))?;
        self.name(track, "thread_sort_index", "sort_index", Value::Number(sort_index.into()))
    }

    fn slice(&mut self, slice: Slice<'_>, arguments: &[Argument<'_>]) -> io::Result<()> {
        self.events += 1;
        self.open("{\"ph\":\"X\",\"cat\":");
        self.text.between("\"", slice.category, "\",\"name\":\"");
        self.text.between("", slice.name, "\"");
        self.place(slice.track);
        self.time(slice.begin_ns);
        self.text.raw(",\"dur\":");
        self.text.micros(slice.duration_ns);
        self.arguments(arguments);
        self.close()?;
        slice.flows.iter().try_for_each(|&flow| self.flow(&slice, flow))
    }

    fn async_slice(&mut self, slice: Slice<'_>, id: u64, arguments: &[Argument<'_>]) -> io::Result<()> {
        let end_ns = slice.begin_ns.saturating_add(slice.duration_ns);
        for (head, at_ns, arguments) in
            [("{\"ph\":\"b\",\"cat\":", slice.begin_ns, arguments), ("{\"ph\":\"e\",\"cat\":", end_ns, &[])]
        {
            self.events += 1;
            self.open(head);
            self.text.string(slice.category);
            self.text.raw(",\"id\":");
            self.text.number(id);
            self.text.raw(",\"name\":");
            self.text.string(slice.name);
            self.place(slice.track);
            self.time(at_ns);
            self.arguments(arguments);
            self.close()?;
        }
        Ok(())
    }

    fn instant(
        &mut self,
        track: Track,
        category: &str,
        name: &str,
        at_ns: u64,
        arguments: &[Argument<'_>],
    ) -> io::Result<()> {
        self.events += 1;
        self.open("{\"ph\":\"i\",\"s\":\"t\",\"cat\":");
        self.text.string(category);
        self.text.raw(",\"name\":");
        self.text.string(name);
        self.place(track);
        self.time(at_ns);
        self.arguments(arguments);
        self.close()
    }

    fn counter(&mut self, process: ProcessId, name: &str, at_ns: u64, values: &[(&str, u64)]) -> io::Result<()> {
        self.events += 1;
        self.open("{\"ph\":\"C\",\"name\":");
        self.text.string(name);
        self.place(Track { process, row: 0 });
        self.time(at_ns);
        self.text.raw(",\"args\":{");
        for (i, &(key, value)) in values.iter().enumerate() {
            self.text.between(if i == 0 { "\"" } else { ",\"" }, key, "\":");
            self.text.number(value);
        }
        self.text.raw("}");
        self.close()
    }

    fn gauge(&mut self, process: ProcessId, name: &str, at_ns: u64, value: f64) -> io::Result<()> {
        if !value.is_finite() {
            return Ok(());
        }
        self.events += 1;
        self.open("{\"ph\":\"C\",\"name\":");
        self.text.string(name);
        self.place(Track { process, row: 0 });
        self.time(at_ns);
        self.text.raw(",\"args\":{\"value\":");
        self.text.decimal(value);
        self.text.raw("}");
        self.close()
    }

    fn metadata(&mut self, metadata: &serde_json::Value) -> io::Result<()> {
        self.metadata = Some(metadata.to_string());
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.text.raw("\n]");
        if let Some(metadata) = self.metadata.take() {
            self.text.raw(",\n\"metadata\":");
            self.text.raw(&metadata);
        }
        self.text.raw("}\n");
        self.flush()?;
        self.sink.flush()
    }

    fn events(&self) -> u64 {
        self.events
    }
}
