//! The ledger: one row per iteration, all ranks, by begin time, as JSON lines or CSV. Streams like the trace does.
//!
//! Times agree with the trace: same clock map, same trimming, same clamping. Rates are in whole nanoseconds; what was not
//! given or is not known is null, and empty in CSV. CSV is RFC 4180's: a header line, CRLF, a field in quotes where it
//! has to be.

use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;

use super::csv::CsvBuffer;
use super::event::Flags;
use super::export::ExportSummary;
use super::fragment::FragmentIdentity;
use super::json::JsonBuffer;
use super::merge::{Lane, Merge, Placed};
use super::meta::{ExportMeta, Selection};
use super::output::LedgerFormat;
use super::requests::Labels;

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
/// The column of the requests that an iteration computed: an object of ids and tokens, in CSV `ID=TOKENS` with spaces between.
const REQUESTS: &str = "requests";

/// Writes the ledger of a capture, or of the selected ranks of it; with the requests of each iteration where `meta` has them
/// looked for.
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
    fn header(&mut self, requests: bool);
    /// The beginning of all rows of a rank, as it stands in each.
    fn whose(identity: &FragmentIdentity) -> String;
    /// With requests, if those were asked for: what each is known by, and its tokens.
    fn row(&mut self, whose: &str, numbers: &[Option<u64>; 9], flags: Flags, requests: Option<&[(Rc<str>, u32)]>);
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
    let mut merge = Merge::open(fragments, meta, meta.requests);
    let labels = meta.requests.then(|| merge.requests.labels());
    let takes = |lane: &Lane| selection.takes(&lane.identity.job, &lane.identity.group, lane.identity.rank);
    merge.start(takes);
    let whose: Vec<String> = merge.lanes.iter().map(|lane| R::whose(&lane.identity)).collect();
    let mut count = 0;
    rows.header(labels.is_some());
    while let Some((at, placed)) = merge.next() {
        let requests = labels.as_ref().map(|labels| {
            let lane = &mut merge.lanes[at];
            let job = lane.identity.job.clone();
            let served = lane.served(placed.iteration.iteration);
            served.map(|(request, tokens)| (label_of(labels, &job, request), tokens)).collect::<Vec<_>>()
        });
        rows.row(&whose[at], &numbers(&placed), placed.iteration.flags, requests.as_deref());
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

/// What a request is known by: its id where that was told, else its number.
fn label_of(labels: &Labels, job: &str, request: u64) -> Rc<str> {
    let known = labels.get(job).and_then(|of_job| of_job.get(&request));
    known.cloned().unwrap_or_else(|| format!("{request:016x}").into())
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
    fn header(&mut self, _: bool) {}

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

    fn row(&mut self, whose: &str, numbers: &[Option<u64>; 9], flags: Flags, requests: Option<&[(Rc<str>, u32)]>) {
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
        if let Some(requests) = requests {
            key(self, REQUESTS);
            for (i, (label, tokens)) in requests.iter().enumerate() {
                self.raw(if i == 0 { "{" } else { "," });
                self.string(label);
                self.raw(":");
                self.number((*tokens).into());
            }
            self.raw(if requests.is_empty() { "{}" } else { "}" });
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
    fn header(&mut self, requests: bool) {
        let names = WHOSE.into_iter().chain(NUMBERS).chain(FLAGS.map(|(name, _)| name));
        names.chain(requests.then_some(REQUESTS)).for_each(|name| self.field(name));
        self.end_row();
    }

    fn whose(identity: &FragmentIdentity) -> String {
        let mut head = Self::default();
        head.field(&identity.job);
        head.field(&identity.group);
        head.field(&identity.rank.to_string());
        String::from_utf8_lossy(head.bytes()).into_owned()
    }

    fn row(&mut self, whose: &str, numbers: &[Option<u64>; 9], flags: Flags, requests: Option<&[(Rc<str>, u32)]>) {
        self.fields(whose);
        numbers.iter().for_each(|&value| self.number(value));
        FLAGS.into_iter().for_each(|(_, flag)| self.field(if flags.has(flag) { "true" } else { "false" }));
        if let Some(requests) = requests {
            let each = requests.iter().map(|(label, tokens)| format!("{label}={tokens}"));
            self.field(&each.collect::<Vec<_>>().join(" "));
        }
        self.end_row();
    }

    fn text(&self) -> &[u8] {
        self.bytes()
    }

    fn clear(&mut self) {
        self.clear();
    }
}
