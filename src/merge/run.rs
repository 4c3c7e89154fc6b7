//! The merge: read what there is, decide, write.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::clocks::{self, Clocks};
use super::ids::Ids;
use super::inputs::{Input, Inputs};
use super::kway::{self, Lane};
use super::losses::ReadError;
use super::numbering::{self, ProcessReport};
use super::output::{Output, PIECE};
use super::reader::Reader;
use super::report::{InputReport, Report};
use super::rewrite::{Became, Rewrite};
use super::source::{Source, memory_bytes};
use super::strings::quote;
use crate::launch::report::Scratch;

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Files, in the order in which they are numbered.
    pub inputs: Vec<PathBuf>,
    /// The file to write: packed if it ends in `.gz` or `.zst`.
    pub output: PathBuf,
    /// Nanoseconds to add to the times of an input, by its label; for one that states no base, its base.
    pub offsets: HashMap<String, i64>,
    /// Merge what can't be aligned well, too.
    pub force: bool,
    /// The nsys that exports reports.
    pub nsys: PathBuf,
}

/// Why there is no merged file. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// None of the inputs is left.
    #[error("there is nothing to merge:\n  {}", .0.join("\n  "))]
    Nothing(Vec<String>),
    /// `--offset` names nobody.
    #[error("--offset {label}: there is no such input; there are {}", .labels.join(", "))]
    NoSuchLabel {
        /// What it names.
        label: String,
        /// What there is.
        labels: Vec<String>,
    },
    /// The clocks don't do for it.
    #[error("not merged: {0}")]
    Uncertain(String),
    /// An input was there before, and is not now.
    #[error("{label} was changed while it was merged: {what}")]
    Changed {
        /// Which.
        label: String,
        /// How that shows.
        what: String,
    },
    /// The output.
    #[error("{path}: {source}")]
    Output {
        /// Its name.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reports of nsys need a folder.
    #[error("no folder for temporary files: {0}")]
    Scratch(String),
}

/// A lane's trouble, before its label is known.
enum Trouble {
    Lane(usize, ReadError),
    Strange(usize),
    Sink(io::Error),
}

impl From<(usize, ReadError)> for Trouble {
    fn from((lane, error): (usize, ReadError)) -> Self {
        Self::Lane(lane, error)
    }
}

/// Merges files into one.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(wanted: &Wanted) -> Result<Report, MergeError> {
    let scratch = Scratch::new().map_err(|error| MergeError::Scratch(error.to_string()))?;
    let mut inputs = Inputs::read(&wanted.inputs, &wanted.nsys, scratch.path());
    for label in wanted.offsets.keys() {
        if !inputs.kept.iter().any(|input| input.label == *label) {
            let labels = inputs.kept.iter().map(|input| input.label.clone()).collect();
            return Err(MergeError::NoSuchLabel { label: label.clone(), labels });
        }
    }
    let mut clocks = clocks::align(&inputs.kept, &wanted.offsets, wanted.force);
    let no_place: Vec<(String, String)> = inputs
        .kept
        .iter()
        .zip(&clocks.inputs)
        .filter_map(|(input, placed)| Some((input.label.clone(), placed.as_ref().err()?.clone())))
        .collect();
    for (label, why) in no_place {
        inputs.refuse(&label, why);
    }
    clocks.inputs.retain(Result::is_ok);
    if inputs.kept.is_empty() {
        let why = inputs.refused.iter().map(|refused| format!("{}: {}", refused.path, refused.why));
        return Err(MergeError::Nothing(why.collect()));
    }
    if let (Some(refusal), false) = (&clocks.refusal, wanted.force) {
        return Err(MergeError::Uncertain(refusal.clone()));
    }
    Merge::new(&mut inputs, clocks).write(&inputs, &wanted.output)
}

/// A merge that has been decided on.
struct Merge {
    report: Report,
    rewrites: Vec<Rewrite>,
    numbered: Vec<Vec<Option<ProcessReport>>>,
    /// Events left out because they are there twice, and written, by input.
    twice: Vec<u64>,
    written: Vec<u64>,
}

impl Merge {
    fn new(inputs: &mut Inputs, clocks: Clocks) -> Self {
        let kept = &inputs.kept;
        let aligned: Vec<_> = clocks.inputs.into_iter().flatten().collect();
        let begins = kept
            .iter()
            .zip(&aligned)
            .filter_map(|(input, aligned)| Some(input.survey.span_ns?.0.saturating_add(aligned.shift_ns)));
        // A whole millisecond, and none of the times below zero.
        let earliest_ns = begins.min().unwrap_or(0).div_euclid(1_000_000) * 1_000_000;
        let numbered = numbering::number(kept);
        let rewrites = aligned.iter().zip(&numbered).enumerate().map(|(at, (aligned, processes))| Rewrite {
            shift_ns: aligned.shift_ns.saturating_sub(earliest_ns),
            ids: Ids::new(at, kept.len()),
            numbers: processes.iter().map(|process| process.as_ref().map(|process| process.pid.to_string())).collect(),
        });
        let rewrites = rewrites.collect();
        let reports = kept.iter().zip(&aligned).zip(&numbered).map(|((input, aligned), processes)| InputReport {
            label: input.label.clone(),
            path: input.path.display().to_string(),
            maker: input.survey.maker,
            clock: aligned.clock.clone(),
            base_ns: input.survey.base_ns,
            offset_ns: aligned.offset_ns,
            uncertainty_ns: aligned.uncertainty_ns,
            events: 0,
            mended: input.survey.losses.mended,
            timeless: input.survey.timeless,
            damaged: input.survey.losses.damaged,
            oversized: input.survey.losses.oversized,
            strays: input.survey.losses.strays,
            twice: 0,
            cut_bytes: input.survey.losses.cut_bytes,
            cut: cut(input),
            rank: input.survey.rank,
            processes: processes.iter().flatten().cloned().collect(),
            says: input.survey.said.clone(),
        });
        let report = Report {
            events: 0,
            base_ns: u64::try_from(earliest_ns).ok().filter(|_| clocks.is_absolute),
            rank: one_rank(kept),
            uncertainty_ns: clocks.uncertainty_ns,
            looking_at_ns: clocks.looking_at_ns,
            forced: clocks.refusal,
            inputs: reports.collect(),
            refused: std::mem::take(&mut inputs.refused),
            duplicates: std::mem::take(&mut inputs.twice),
            matches: clocks.matches,
        };
        Self { report, rewrites, numbered, twice: vec![0; kept.len()], written: vec![0; kept.len()] }
    }

    fn write(mut self, inputs: &Inputs, path: &Path) -> Result<Report, MergeError> {
        let failed = |source| MergeError::Output { path: path.display().to_string(), source };
        let mut output = Output::create(path).map_err(failed)?;
        let mut text = Vec::with_capacity(2 * PIECE);
        self.head(&mut text);
        let label = |at: usize| inputs.kept[at].label.clone();
        self.events(inputs, &mut output, &mut text).map_err(|trouble| match trouble {
            Trouble::Sink(source) => failed(source),
            Trouble::Lane(at, error) => MergeError::Changed { label: label(at), what: error.to_string() },
            Trouble::Strange(at) => {
                MergeError::Changed { label: label(at), what: "it has a process that was not there before".into() }
            }
        })?;
        for (at, input) in self.report.inputs.iter_mut().enumerate() {
            (input.events, input.twice) = (self.written[at], self.twice[at]);
        }
        self.report.events = self.written.iter().sum();
        text.extend_from_slice(b"\n],\n\"metadata\":");
        let about = serde_json::json!({"stepscope_version": env!("CARGO_PKG_VERSION"), "merge": self.report});
        text.extend_from_slice(about.to_string().as_bytes());
        text.extend_from_slice(b"}\n");
        output.hand_over(&mut text).map_err(failed)?;
        output.finish().map_err(failed)?;
        Ok(self.report)
    }

    /// What stands before the events of the inputs: base, rank, and the names of all processes.
    fn head(&self, text: &mut Vec<u8>) {
        let mut head = String::from("{\"displayTimeUnit\":\"ms\"");
        if let Some(base_ns) = self.report.base_ns {
            head.push_str(&format!(",\"baseTimeNanoseconds\":{base_ns}"));
        }
        if let Some(rank) = self.report.rank {
            // With the space, and before all else that could be taken for it: HolisticTraceAnalysis searches for it.
            head.push_str(&format!(",\n\"rank\": {rank}"));
        }
        head.push_str(",\n\"traceEvents\":[");
        text.extend_from_slice(head.as_bytes());
        for (at, process) in self.numbered.iter().flatten().flatten().enumerate() {
            let begin = if at == 0 { "\n" } else { ",\n" };
            let named = format!(
                "{begin}{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{},\"tid\":0,\"args\":{{\"name\":",
                process.pid
            );
            text.extend_from_slice(named.as_bytes());
            quote(&process.name, text);
            let placed = format!(
                "}}}},\n{{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":{},\"tid\":0,\"args\":{{\"sort_index\":{}}}}}",
                process.pid, process.sort_index
            );
            text.extend_from_slice(placed.as_bytes());
        }
    }

    fn events(&mut self, inputs: &Inputs, output: &mut Output, text: &mut Vec<u8>) -> Result<(), Trouble> {
        let kept = &inputs.kept;
        let memory = kept.iter().enumerate().map(|(at, input)| {
            let own = memory_bytes(&input.data).map_err(|error| Trouble::Lane(at, error.into()))?;
            Ok(own + super::buffer::PIECE)
        });
        let memory = memory.collect::<Result<Vec<_>, Trouble>>()?;
        let mut processes: Vec<_> = kept.iter().map(|input| input.survey.processes.clone()).collect();
        let mut is_first = self.numbered.iter().flatten().flatten().next().is_none();
        for round in kway::rounds(&memory) {
            let mut lanes = Vec::new();
            for at in round {
                let source = Source::open(&kept[at].data).map_err(|error| Trouble::Lane(at, error.into()))?;
                lanes.push(Lane::new(Reader::new(source), at));
            }
            let rewrites = &self.rewrites;
            let time = |lane: &Lane<Source>| {
                let (bytes, fields) = lane.reader.event();
                rewrites[lane.input].time(bytes, fields)
            };
            kway::each(&mut lanes, time, |lane, time| {
                let (bytes, fields) = lane.reader.event();
                let before = text.len();
                text.extend_from_slice(if is_first { b"\n" } else { b",\n" });
                match rewrites[lane.input].write(&mut processes[lane.input], bytes, fields, time, text) {
                    Became::Written => {
                        is_first = false;
                        self.written[lane.input] += u64::from(fields.ph.of(bytes) != b"\"M\"");
                    }
                    Became::Name => text.truncate(before),
                    Became::Twice => {
                        text.truncate(before);
                        self.twice[lane.input] += 1;
                    }
                    Became::Strange => return Err(Trouble::Strange(lane.input)),
                }
                if text.len() >= PIECE { output.hand_over(text).map_err(Trouble::Sink) } else { Ok(()) }
            })?;
        }
        Ok(())
    }
}

fn cut(input: &Input) -> Option<String> {
    let torn = input.survey.losses.is_torn.then(|| "it does not end as a trace ends".to_owned());
    input.survey.cut.clone().or(torn)
}

/// The rank of all inputs, where each is of that one.
fn one_rank(inputs: &[Input]) -> Option<u32> {
    let mut ranks = inputs.iter().flat_map(|input| {
        let ours = input.survey.ranks.iter().map(|rank| rank.rank);
        ours.chain(input.survey.rank)
    });
    let first = ranks.next()?;
    ranks.all(|rank| rank == first).then_some(first)
}
