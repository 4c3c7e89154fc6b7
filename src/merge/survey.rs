//! The first pass over an input: what has to be known of it before a byte is written.
//!
//! A merge reads its inputs twice. So it can say no before it has begun, knows the earliest time and every process when it
//! writes its first line, and keeps next to nothing in memory.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::iterations::{Iteration, name_hash};
use super::losses::{Losses, ReadError};
use super::micros;
use super::processes::{Processes, unquoted};
use super::reader::Reader;
use super::scan::{Fields, members};
use super::source::Source;

/// Iterations that are kept of one input, to compare clocks by.
const MOST_ITERATIONS: usize = 8192;
/// Bytes of a member of the head that goes into the output's metadata.
const LONGEST_SAID: usize = 16 * 1024;

/// Who wrote a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Maker {
    /// We did.
    Stepscope,
    /// PyTorch's profiler; vLLM's and SGLang's too.
    Kineto,
    /// nsys, by its export.
    Nsys,
    /// Somebody else.
    Other,
}

/// A rank of one of our captures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CapturedRank {
    pub(super) job: String,
    pub(super) group: String,
    pub(super) rank: u32,
    /// The process id that the engine itself knows.
    pub(super) pid: u64,
    /// First and last iteration.
    pub(super) iterations: Option<(u64, u64)>,
}

/// What is known of an input.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) maker: Maker,
    /// Events, metadata not counted.
    pub(super) events: u64,
    /// Of those, without a time that can be read.
    pub(super) timeless: u64,
    /// Earliest and latest begin of an event, by the input's own clock.
    pub(super) span_ns: Option<(i64, i64)>,
    /// Nanoseconds since the epoch of its time 0, if it says so.
    pub(super) base_ns: Option<i64>,
    /// How far off its clock may be, if it says so.
    pub(super) uncertainty_ns: Option<u64>,
    /// How far the wall clock was set while a capture of ours was recorded.
    pub(super) stepped_ns: i64,
    pub(super) host: Option<String>,
    /// Its rank, if it is of one rank.
    pub(super) rank: Option<u32>,
    /// Ranks of a capture of ours, in the order of its processes.
    pub(super) ranks: Vec<CapturedRank>,
    pub(super) processes: Processes,
    pub(super) iterations: Vec<Iteration>,
    /// What it says of itself beside its events.
    pub(super) said: serde_json::Map<String, Value>,
    pub(super) losses: Losses,
    /// Why its bytes ended too early.
    pub(super) cut: Option<String>,
    /// Length and checksum.
    pub(super) digest: (u64, u32),
}

/// Reads a file to its end.
///
/// # Errors
/// It can't be read, or is no trace.
pub(super) fn survey(path: &Path) -> Result<Survey, ReadError> {
    survey_keeping(path, MOST_ITERATIONS)
}

/// The same, and keeps so many iterations.
pub(super) fn survey_keeping(path: &Path, most_iterations: usize) -> Result<Survey, ReadError> {
    let mut reader = Reader::new(Source::open(path)?);
    let mut survey = Survey {
        maker: Maker::Other,
        events: 0,
        timeless: 0,
        span_ns: None,
        base_ns: None,
        uncertainty_ns: None,
        stepped_ns: 0,
        host: None,
        rank: None,
        ranks: Vec::new(),
        processes: Processes::default(),
        iterations: Vec::new(),
        said: serde_json::Map::new(),
        losses: Losses::default(),
        cut: None,
        digest: (0, 0),
    };
    let ended = walk(&mut reader, &mut survey, most_iterations);
    let source = reader.source();
    survey.cut = source.cut().map(str::to_owned);
    survey.digest = source.digest();
    match (ended, &survey.cut) {
        (Err(ReadError::NoTrace(_)), Some(_)) => {
            return Err(ReadError::NoTrace("it is cut off before its first event"));
        }
        (ended, _) => ended?,
    }
    survey.losses = reader.losses().clone();
    let no_event = survey.events == 0 && survey.processes.all().is_empty();
    if no_event && survey.losses.strays + survey.losses.damaged > 0 {
        return Err(ReadError::NoTrace("nothing in its array is an event"));
    }
    survey.read_head(&reader.head().members);
    Ok(survey)
}

fn walk<R: Read>(reader: &mut Reader<R>, survey: &mut Survey, most_iterations: usize) -> Result<(), ReadError> {
    while reader.advance()? {
        let (bytes, fields) = reader.event();
        let process = survey.processes.index(fields.pid.of(bytes));
        if fields.ph.of(bytes) == b"\"M\"" {
            name(survey, process, bytes, fields);
            continue;
        }
        survey.events += 1;
        survey.processes.get_mut(process).events += 1;
        let Some(ts_ns) = micros::parse(fields.ts.of(bytes)) else {
            survey.timeless += 1;
            continue;
        };
        let (first_ns, last_ns) = survey.span_ns.unwrap_or((ts_ns, ts_ns));
        survey.span_ns = Some((first_ns.min(ts_ns), last_ns.max(ts_ns)));
        if survey.iterations.len() < most_iterations
            && let Some(iteration) = iteration(process, ts_ns, bytes, fields)
        {
            survey.iterations.push(iteration);
        }
    }
    Ok(())
}

/// Takes a process's name and place.
fn name(survey: &mut Survey, process: usize, bytes: &[u8], fields: &Fields) {
    let is_name = match fields.name.of(bytes) {
        b"\"process_name\"" => true,
        b"\"process_sort_index\"" => false,
        _ => return,
    };
    let Ok(arguments) = serde_json::from_slice::<Value>(fields.args.of(bytes)) else { return };
    let process = survey.processes.get_mut(process);
    if is_name {
        process.name = arguments["name"].as_str().map(str::to_owned).or(process.name.take());
    } else {
        process.sort_index = arguments["sort_index"].as_i64().or(process.sort_index);
    }
}

/// An iteration: ours, vLLM's own annotation of one, or our NVTX range as nsys saw it.
#[inline]
fn iteration(process: usize, begin_ns: i64, bytes: &[u8], fields: &Fields) -> Option<Iteration> {
    let is_numbered = match fields.cat.of(bytes) {
        b"\"iteration\"" | b"\"nvtx_iteration\"" => true,
        b"\"user_annotation\"" => false,
        _ => return None,
    };
    let name = fields.name.of(bytes);
    if !name.starts_with(b"\"execute") && !is_numbered {
        return None;
    }
    let mut number = None;
    if is_numbered {
        let arguments = fields.args.of(bytes);
        let mut take = |key: &[u8], value: super::scan::Place| {
            if key == b"iteration" {
                number = std::str::from_utf8(value.of(arguments)).ok().and_then(|text| text.parse().ok());
            }
        };
        if arguments.first() == Some(&b'{') {
            let _ = members(arguments, &mut false, &mut take);
        }
    }
    let duration_ns = micros::parse(fields.dur.of(bytes)).unwrap_or(0);
    Some(Iteration { process: process as u32, number, name: name_hash(name), begin_ns, duration_ns })
}

impl Survey {
    /// What stands beside the events.
    fn read_head(&mut self, members: &[(String, String)]) {
        let mut about = serde_json::Map::new();
        for (key, text) in members {
            let Ok(value) = serde_json::from_str::<Value>(text) else { continue };
            if text.len() <= LONGEST_SAID && !["displayTimeUnit", "baseTimeNanoseconds"].contains(&key.as_str()) {
                self.said.insert(key.clone(), value.clone());
            }
            about.insert(key.clone(), value);
        }
        let get = |key: &str| about.get(key).unwrap_or(&Value::Null);
        let metadata = get("metadata");
        let is_kineto = ["schemaVersion", "deviceProperties", "distributedInfo", "traceName"];
        self.maker = if metadata["stepscope_version"].is_string() {
            Maker::Stepscope
        } else if metadata["nsys"].is_string() {
            Maker::Nsys
        } else if is_kineto.iter().any(|key| about.contains_key(*key)) {
            Maker::Kineto
        } else if self.iterations.iter().any(|iteration| iteration.number.is_some()) {
            // Cut off in front of its own metadata.
            Maker::Stepscope
        } else {
            Maker::Other
        };
        self.base_ns = match get("baseTimeNanoseconds") {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        self.uncertainty_ns = metadata["clock"]["uncertainty_ns"].as_u64();
        self.stepped_ns = metadata["clock"]["wall_clock_stepped_ns"].as_i64().unwrap_or(0);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.host = text(get("host_name")).or_else(|| text(&metadata["clock"]["host"]));
        let number = |value: &Value| value.as_u64().and_then(|rank| u32::try_from(rank).ok());
        self.rank = number(get("rank")).or_else(|| number(&get("distributedInfo")["rank"]));
        if self.maker == Maker::Stepscope {
            let ranks = metadata["ranks"].as_array().map_or(&[][..], Vec::as_slice);
            self.ranks = ranks.iter().map(captured).collect();
        }
    }

    /// The name of a rank of ours.
    pub(super) fn process_of_rank(&self, rank: usize) -> Option<usize> {
        (rank < self.ranks.len() && rank < self.processes.all().len()).then_some(rank)
    }

    /// What it calls itself where there is no better name.
    pub(super) fn pid_text(&self, process: usize) -> String {
        String::from_utf8_lossy(unquoted(&self.processes.all()[process].pid)).into_owned()
    }
}

fn captured(rank: &Value) -> CapturedRank {
    let text = |key: &str| rank[key].as_str().unwrap_or_default().to_owned();
    CapturedRank {
        job: text("job"),
        group: text("group"),
        rank: rank["rank"].as_u64().unwrap_or_default() as u32,
        pid: rank["pid"].as_u64().unwrap_or_default(),
        iterations: rank["first_iteration"].as_u64().zip(rank["last_iteration"].as_u64()),
    }
}
