//! A report of nsys as a Chrome trace in a temporary file, which is then an input like any other.
//!
//! | in the report | in the trace |
//! | --- | --- |
//! | NVTX push/pop ranges and marks | a track per thread and domain; our iterations have the category `nvtx_iteration` |
//! | NVTX start/end ranges | asynchronous slices |
//! | calls of CUDA's runtime and of the system (`osrt`) | the thread's own track |
//! | kernels, copies, sets, graphs | a process per GPU of a process, a track per stream, with Kineto's words |
//! | which call launched what | flows `ac2g` |
//!
//! Ranges that never end are instants with `"open":true`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::micros;
use super::strings::quote;
use crate::launch::report;
use crate::launch::timeline::{Place, Sink, Span, TimelineError, Value, tell};

/// Rows of tracks that are no thread's own begin here: beyond any thread's number.
const FIRST_ROW: u64 = 1 << 32;

/// Why a report could not be made a trace of.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("the report can't be read: {0}")]
    Report(#[from] report::ReadError),
    #[error("the report can't be read: {0}")]
    Timeline(#[from] TimelineError),
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Writes the trace of a report to `into` and returns that. `None`: the file is no report.
pub(super) fn convert(path: &Path, nsys: &Path, into: &Path) -> Result<Option<PathBuf>, ConvertError> {
    let mut head = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut head)?;
    let has = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    let tables = if head.starts_with(b"SQLite format 3\0") {
        path.to_owned()
    } else if has(b"NVIDIA Nsight Systems Stream") || has(b"NVIDIA Tegra Profiler Report") {
        let scratch = into.with_extension("report");
        std::fs::create_dir(&scratch)?;
        report::export(path, nsys, &scratch)?
    } else {
        return Ok(None);
    };
    let mut trace = Trace::new(File::create(into)?);
    tell(&tables, &mut trace)?;
    trace.out.write_all(b"\n]}\n")?;
    trace.out.flush()?;
    if tables != path {
        // As large as the trace, and needed no more.
        std::fs::remove_file(&tables)?;
    }
    Ok(Some(into.to_owned()))
}

struct Trace {
    out: BufWriter<File>,
    text: Vec<u8>,
    is_first: bool,
    processes: HashMap<u32, String>,
    threads: HashMap<(u32, u32), String>,
    /// Tracks that have a name already, and their rows.
    rows: HashMap<(u32, Place), u64>,
    /// Processes that have one, and GPUs of processes.
    named: HashSet<(u32, Option<i64>)>,
}

impl Trace {
    fn new(file: File) -> Self {
        Self {
            out: BufWriter::new(file),
            text: Vec::new(),
            is_first: true,
            processes: HashMap::new(),
            threads: HashMap::new(),
            rows: HashMap::new(),
            named: HashSet::new(),
        }
    }

    fn open(&mut self, head: &str) {
        self.text.clear();
        self.text.extend_from_slice(if self.is_first { b"\n" } else { b",\n" });
        self.is_first = false;
        self.raw(head);
    }

    fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn time(&mut self, key: &str, ns: i64) {
        self.raw(key);
        micros::write(ns, &mut self.text);
    }

    fn close(&mut self) -> io::Result<()> {
        self.text.push(b'}');
        self.out.write_all(&self.text)
    }

    /// `"pid":…,"tid":…` of a place, which gets its names when it is first met.
    fn place(&mut self, pid: u32, place: &Place) -> io::Result<String> {
        let gpu = match place {
            Place::Stream { device, .. } => Some(*device),
            _ => None,
        };
        let process = gpu.map_or_else(|| pid.to_string(), |device| format!("\"GPU {device} of {pid}\""));
        if self.named.insert((pid, gpu)) {
            let name = match (gpu, self.processes.get(&pid)) {
                (Some(device), _) => format!("GPU {device} (process {pid})"),
                (None, Some(name)) if !name.is_empty() => name.clone(),
                (None, _) => format!("process {pid}"),
            };
            self.name(&format!("\"pid\":{process}"), "process_name", &name)?;
        }
        let fresh = FIRST_ROW + self.rows.len() as u64;
        let row = match place {
            Place::Thread(tid) => u64::from(*tid),
            Place::Stream { stream, .. } => stream.unsigned_abs(),
            Place::Ranges(..) | Place::Process => self.rows.get(&(pid, place.clone())).copied().unwrap_or(fresh),
        };
        let at = format!("\"pid\":{process},\"tid\":{row}");
        if self.rows.insert((pid, place.clone()), row).is_none() {
            let thread = |tid: &u32| {
                let name = self.threads.get(&(pid, *tid)).map_or("thread", |name| name.as_str());
                format!("{name} {tid}")
            };
            let name = match place {
                Place::Thread(tid) => format!("{}, calls", thread(tid)),
                Place::Ranges(tid, domain) if domain.is_empty() => format!("{}, NVTX", thread(tid)),
                Place::Ranges(tid, domain) => format!("{}, NVTX {domain}", thread(tid)),
                Place::Stream { stream, .. } => format!("stream {stream}"),
                Place::Process => "NVTX start/end".into(),
            };
            self.name(&at, "thread_name", &name)?;
        }
        Ok(at)
    }

    fn name(&mut self, at: &str, what: &str, name: &str) -> io::Result<()> {
        self.open(&format!("{{\"ph\":\"M\",\"name\":\"{what}\",{at},\"args\":{{\"name\":"));
        quote(name, &mut self.text);
        self.raw("}");
        self.close()
    }

    fn arguments(&mut self, span: &Span, is_open: bool) {
        self.raw(",\"args\":{");
        for (at, (key, value)) in span.arguments.iter().enumerate() {
            self.raw(if at == 0 { "" } else { "," });
            quote(key, &mut self.text);
            self.raw(":");
            match value {
                Value::Number(number) => self.raw(&number.to_string()),
                Value::Text(text) => quote(text, &mut self.text),
                Value::Three([x, y, z]) => self.raw(&format!("[{x},{y},{z}]")),
            }
        }
        if is_open {
            self.raw(if span.arguments.is_empty() { "\"open\":true" } else { ",\"open\":true" });
        }
        self.raw("}");
    }

    /// One event of a span: `head` has its phase.
    fn event(&mut self, head: &str, at: &str, span: &Span, ns: i64) {
        self.open(&format!("{{{head},\"cat\":\"{}\",\"name\":", span.category));
        quote(&span.name, &mut self.text);
        self.raw(",");
        self.raw(at);
        self.time(",\"ts\":", ns);
    }
}

impl Sink for Trace {
    fn session(&mut self, begin_ns: i64) -> io::Result<()> {
        write!(self.out, "{{\"metadata\":{{\"nsys\":\"report\"}},\"baseTimeNanoseconds\":{begin_ns},\"traceEvents\":[")
    }

    fn process(&mut self, pid: u32, name: &str) -> io::Result<()> {
        self.processes.insert(pid, name.to_owned());
        Ok(())
    }

    fn thread(&mut self, pid: u32, tid: u32, name: &str) -> io::Result<()> {
        self.threads.insert((pid, tid), name.to_owned());
        Ok(())
    }

    fn span(&mut self, span: &Span) -> io::Result<()> {
        let at = self.place(span.pid, &span.place)?;
        match (span.end_ns.filter(|end_ns| *end_ns >= span.begin_ns), span.range) {
            (None, range) => {
                self.event("\"ph\":\"i\",\"s\":\"t\"", &at, span, span.begin_ns);
                self.arguments(span, range.is_some() || span.category == "nvtx_iteration");
                self.close()
            }
            (Some(end_ns), None) => {
                self.event("\"ph\":\"X\"", &at, span, span.begin_ns);
                self.time(",\"dur\":", end_ns - span.begin_ns);
                self.arguments(span, false);
                self.close()
            }
            (Some(end_ns), Some(range)) => {
                // Ranges are numbered by process.
                let head = |phase: &str| format!("\"ph\":\"{phase}\",\"id2\":{{\"local\":\"{:#x}\"}}", range);
                self.event(&head("b"), &at, span, span.begin_ns);
                self.arguments(span, false);
                self.close()?;
                self.event(&head("e"), &at, span, end_ns);
                self.close()
            }
        }
    }

    fn flow(&mut self, pid: u32, correlation: i64, from: (&Place, i64), to: (&Place, i64)) -> io::Result<()> {
        // Correlations are numbered by process.
        let id = (u64::from(pid) << 32) | (correlation.unsigned_abs() & 0xffff_ffff);
        for (phase, (place, ns)) in [("\"s\"", from), ("\"f\",\"bp\":\"e\"", to)] {
            let at = self.place(pid, place)?;
            self.open(&format!("{{\"ph\":{phase},\"id\":{id},\"cat\":\"ac2g\",\"name\":\"ac2g\",{at}"));
            self.time(",\"ts\":", ns);
            self.close()?;
        }
        Ok(())
    }
}
