//! Requests in the trace: a process with a row for each, its stages inside, and arrows to the iterations that served it.

use std::io;

use super::lifecycle::Outcome;
use super::requests::Course;
use super::writer::{Argument, Flow, FlowStep, ProcessId, Slice, TraceWriter, Track, Value};

/// Rows for requests; what is beyond has none, and is counted in the trace's metadata.
pub(super) const MAX_ROWS: usize = 10_000;

/// Where they go, and when what is still open is cut.
pub(super) struct RequestTracks {
    pub(super) process: ProcessId,
    pub(super) end_ns: Option<u64>,
}

impl RequestTracks {
    pub(super) fn write<W: TraceWriter + ?Sized>(&self, requests: &[Course], writer: &mut W) -> io::Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        writer.process(self.process, "requests", "", self.process.0)?;
        for (row, course) in (1..).zip(requests.iter().take(MAX_ROWS)) {
            let name = course.label.as_deref().map_or_else(|| format!("request {:016x}", course.request), Into::into);
            let track = Track { process: self.process, row };
            writer.track(track, &name, row)?;
            self.one(track, &name, course, writer)?;
        }
        Ok(())
    }

    fn one<W: TraceWriter + ?Sized>(
        &self,
        track: Track,
        name: &str,
        course: &Course,
        writer: &mut W,
    ) -> io::Result<()> {
        let Some(begin_ns) = course.begin_ns() else { return Ok(()) };
        let stages = course.stages();
        let last_ns = stages.iter().map(|stage| stage.2.unwrap_or(stage.1)).max().unwrap_or(begin_ns);
        // What goes on is drawn to the end of the window, at least to what is known of it.
        let open_ns = self.end_ns.unwrap_or(last_ns).max(last_ns);
        let ended_ns = course.ended_ns().unwrap_or(open_ns).max(last_ns);
        let lifecycle = course.lifecycle();
        let outcome = match lifecycle.outcome {
            Outcome::Finished => "finished",
            Outcome::Aborted => "aborted",
            Outcome::Open => "open",
        };
        let mut arguments: Vec<Argument<'_>> = vec![("request", Value::Text(name)), ("outcome", Value::Text(outcome))];
        let number = |value: Option<u32>| value.map(|value| Value::Number(value.into()));
        arguments.extend(number(lifecycle.prompt_tokens).map(|value| ("prompt_tokens", value)));
        arguments.extend(number(lifecycle.output_tokens).map(|value| ("output_tokens", value)));
        if course.cached_tokens > 0 {
            arguments.push(("cached_tokens", Value::Number(course.cached_tokens.into())));
        }
        if lifecycle.preemptions > 0 {
            arguments.push(("preemptions", Value::Number(lifecycle.preemptions.into())));
            arguments.push(("preempted_ns", Value::Number(lifecycle.preempted_ns)));
        }
        let slice = |name, begin_ns, end_ns: u64, flows| Slice {
            track,
            category: "request",
            name,
            begin_ns,
            duration_ns: end_ns.saturating_sub(begin_ns),
            flows,
        };
        writer.slice(slice("request", begin_ns, ended_ns, &[]), &arguments)?;
        let begins = [Flow::new(course.request, FlowStep::Begin)];
        for (stage, from_ns, to_ns) in stages {
            // Their arrows need no end: the last iteration is one, and what follows may take no time at all, which viewers do not
            // take for a slice.
            let flows: &[Flow] = if stage == "prefill" { &begins } else { &[] };
            let open: &[Argument<'_>] = if to_ns.is_none() { &[("open", Value::Flag(true))] } else { &[] };
            let to_ns = to_ns.unwrap_or(open_ns);
            writer.slice(slice(stage, from_ns, to_ns, flows), open)?;
            for (preempted_ns, resumed_ns) in course.preempted() {
                let resumed_ns = resumed_ns.unwrap_or(open_ns);
                let (begin_ns, end_ns) = (preempted_ns.max(from_ns), resumed_ns.min(to_ns));
                if begin_ns < end_ns {
                    writer.slice(slice("preempted", begin_ns, end_ns, &[]), &[])?;
                }
            }
        }
        Ok(())
    }
}
