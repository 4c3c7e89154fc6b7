//! The ledger: one row per iteration, all ranks, by begin time, as JSON lines or CSV. Streams like the trace does.
//!
//! Times agree with the trace: same clock map, same trimming, same clamping. Rates are in whole nanoseconds; what was not
//! given or is not known is null, and empty in CSV. CSV is RFC 4180's: a header line, CRLF, a field in quotes where it
//! has to be.

use std::io::{self, Write};
use std::path::PathBuf;

use super::csv::CsvBuffer;
use super::event::Flags;
use super::export::ExportSummary;
use super::fragment::FragmentIdentity;
use super::json::JsonBuffer;
use super::merge::{Lane, Merge, Placed};
use super::meta::{ExportMeta, Selection};
use super::output::LedgerFormat;

const FLUSH_BYTES: usize = 64 * 1024;

/// All columns: whose row it is, numbers, flags.
const WHOSE: [&str; 3] = ["job", "group", "rank"];
const NUMBERS: [&str; 9] = [
    "iteration",
    "start_ns",
    "duration_ns",
    "interval_ns",
    "device_ns",
    "context_requests",
    "context_tokens",
    "generation_requests",
    "generation_tokens",
];
const FLAGS: [(&str, Flags); 3] =
    [("dummy", Flags::DUMMY), ("mid_iteration", Flags::MID_ITERATION), ("unended", Flags::UNENDED)];

/// Writes the ledger of a capture, or of the selected ranks of it.
///
/// # Errors
/// What the sink says.
pub fn write_ledger(
    fragments: &[PathBuf],
    meta: &ExportMeta,
    selection: &Selection,
    format: LedgerFormat,
    sink: &mut dyn Write,
) -> io::Result<ExportSummary> {
    match format {
        LedgerFormat::JsonLines => write_rows(fragments, meta, selection, JsonBuffer::default(), sink),
        LedgerFormat::Csv => write_rows(fragments, meta, selection, CsvBuffer::default(), sink),
    }
}

/// Rows as text, flushed by their owner.
trait Rows {
    /// What stands above the rows.
    fn header(&mut self);
    /// The beginning of all rows of a rank, as it stands in each.
    fn whose(identity: &FragmentIdentity) -> String;
    fn row(&mut self, whose: &str, numbers: &[Option<u64>; 9], flags: Flags);
    fn text(&self) -> &[u8];
    fn clear(&mut self);
}

fn write_rows<R: Rows>(
    fragments: &[PathBuf],
    meta: &ExportMeta,
    selection: &Selection,
    mut rows: R,
    sink: &mut dyn Write,
) -> io::Result<ExportSummary> {
    let mut merge = Merge::open(fragments, meta);
    let takes = |lane: &Lane| selection.takes(&lane.identity.job, &lane.identity.group, lane.identity.rank);
    merge.start(takes);
    let whose: Vec<String> = merge.lanes.iter().map(|lane| R::whose(&lane.identity)).collect();
    let mut count = 0;
    rows.header();
    while let Some((at, placed)) = merge.next() {
        rows.row(&whose[at], &numbers(&placed), placed.iteration.flags);
        count += 1;
        if rows.text().len() >= FLUSH_BYTES {
            sink.write_all(rows.text())?;
            rows.clear();
        }
    }
    sink.write_all(rows.text())?;
    sink.flush()?;
    Ok(ExportSummary { events: count, ..ExportSummary::of(&merge, takes) })
}

/// In the order of [`NUMBERS`].
fn numbers(placed: &Placed) -> [Option<u64>; 9] {
    let Placed { iteration, begin_ns, end_ns, next_begin_ns, .. } = *placed;
    let batch = (!iteration.flags.has(Flags::NO_BATCH)).then_some(iteration.batch);
    [
        Some(iteration.iteration),
        Some(begin_ns),
        Some(end_ns - begin_ns),
        next_begin_ns.map(|next_ns| next_ns - begin_ns),
        iteration.device_ns,
        batch.map(|b| b.context_requests.into()),
        batch.map(|b| b.context_tokens.into()),
        batch.map(|b| b.generation_requests.into()),
        batch.map(|b| b.generation_tokens.into()),
    ]
}

impl Rows for JsonBuffer {
    fn header(&mut self) {}

    fn whose(identity: &FragmentIdentity) -> String {
        let [job, group, rank] = WHOSE;
        let mut head = Self::default();
        for (key, text) in [(job, &identity.job), (group, &identity.group)] {
            head.raw(if head.len() == 0 { "{" } else { "," });
            head.string(key);
            head.raw(":");
            head.string(text);
        }
        head.raw(",");
        head.string(rank);
        head.raw(":");
        head.number(identity.rank.into());
        String::from_utf8_lossy(head.bytes()).into_owned()
    }

    fn row(&mut self, whose: &str, numbers: &[Option<u64>; 9], flags: Flags) {
        self.raw(whose);
        let key = |text: &mut Self, key| {
            text.raw(",\"");
            text.raw(key);
            text.raw("\":");
        };
        for (name, value) in NUMBERS.into_iter().zip(numbers) {
            key(self, name);
            match value {
                Some(value) => self.number(*value),
                None => self.raw("null"),
            }
        }
        for (name, flag) in FLAGS {
            key(self, name);
            self.boolean(flags.has(flag));
        }
        self.raw("}\n");
    }

    fn text(&self) -> &[u8] {
        self.bytes()
    }

    fn clear(&mut self) {
        self.clear();
    }
}

impl Rows for CsvBuffer {
    fn header(&mut self) {
        WHOSE.into_iter().chain(NUMBERS).chain(FLAGS.map(|(name, _)| name)).for_each(|name| self.field(name));
        self.end_row();
    }

    fn whose(identity: &FragmentIdentity) -> String {
        let mut head = Self::default();
        head.field(&identity.job);
        head.field(&identity.group);
        head.field(&identity.rank.to_string());
        String::from_utf8_lossy(head.bytes()).into_owned()
    }

    fn row(&mut self, whose: &str, numbers: &[Option<u64>; 9], flags: Flags) {
        self.fields(whose);
        numbers.iter().for_each(|&value| self.number(value));
        FLAGS.into_iter().for_each(|(_, flag)| self.field(if flags.has(flag) { "true" } else { "false" }));
        self.end_row();
    }

    fn text(&self) -> &[u8] {
        self.bytes()
    }

    fn clear(&mut self) {
        self.clear();
    }
}
