//! The ledger: one JSON line per iteration, all ranks, by begin time. Streams like the trace does.
//!
//! Times agree with the trace: same clock map, same trimming, same clamping. Rates are in whole nanoseconds, numbers of
//! a batch that was not given are null.

use std::io::{self, Write};
use std::path::PathBuf;

use super::event::Flags;
use super::export::ExportSummary;
use super::json::JsonBuffer;
use super::merge::{Merge, Placed};
use super::meta::{ExportMeta, Selection};

const FLUSH_BYTES: usize = 64 * 1024;

/// Writes the ledger of a capture, or of the selected ranks of it.
///
/// # Errors
/// What the sink says.
pub fn write_ledger(
    fragments: &[PathBuf],
    meta: &ExportMeta,
    selection: &Selection,
    sink: &mut dyn Write,
) -> io::Result<ExportSummary> {
    let mut merge = Merge::open(fragments, meta, false);
    let takes =
        |lane: &super::merge::Lane| selection.takes(&lane.identity.job, &lane.identity.group, lane.identity.rank);
    merge.start(takes);
    let heads: Vec<String> = merge
        .lanes
        .iter()
        .map(|lane| {
            let mut head = JsonBuffer::default();
            head.raw("{\"job\":");
            head.string(&lane.identity.job);
            head.raw(",\"group\":");
            head.string(&lane.identity.group);
            head.raw(",\"rank\":");
            head.number(lane.identity.rank.into());
            String::from_utf8_lossy(head.bytes()).into_owned()
        })
        .collect();
    let mut text = JsonBuffer::with_capacity(FLUSH_BYTES + 4096);
    let mut rows = 0;
    while let Some((at, placed)) = merge.next() {
        text.raw(&heads[at]);
        write_row(&mut text, &placed);
        rows += 1;
        if text.len() >= FLUSH_BYTES {
            sink.write_all(text.bytes())?;
            text.clear();
        }
    }
    sink.write_all(text.bytes())?;
    sink.flush()?;
    Ok(ExportSummary { events: rows, ..ExportSummary::of(&merge, takes) })
}

fn write_row(text: &mut JsonBuffer, placed: &Placed) {
    let Placed { iteration, begin_ns, end_ns, next_begin_ns, .. } = *placed;
    let flags = iteration.flags;
    let mut field = |key: &str, value: Option<u64>| {
        text.raw(",\"");
        text.raw(key);
        text.raw("\":");
        match value {
            Some(value) => text.number(value),
            None => text.raw("null"),
        }
    };
    field("iteration", Some(iteration.iteration));
    field("start_ns", Some(begin_ns));
    field("duration_ns", Some(end_ns - begin_ns));
    field("interval_ns", next_begin_ns.map(|next_ns| next_ns - begin_ns));
    field("device_ns", iteration.device_ns);
    let batch = (!flags.has(Flags::NO_BATCH)).then_some(iteration.batch);
    field("context_requests", batch.map(|b| b.context_requests.into()));
    field("context_tokens", batch.map(|b| b.context_tokens.into()));
    field("generation_requests", batch.map(|b| b.generation_requests.into()));
    field("generation_tokens", batch.map(|b| b.generation_tokens.into()));
    for (key, flag) in [("dummy", Flags::DUMMY), ("mid_iteration", Flags::MID_ITERATION), ("unended", Flags::UNENDED)] {
        text.raw(",\"");
        text.raw(key);
        text.raw("\":");
        text.boolean(flags.has(flag));
    }
    text.raw("}\n");
}
