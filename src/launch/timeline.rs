//! All that a report of nsys holds, row by row: NVTX ranges, calls of CUDA's runtime and of the system, kernels, copies.
//!
//! Reads nsys's export to SQLite, whose tables NVIDIA documents. Tables are made lazily and columns come and go with the
//! version: what is not there is not told. Nothing is kept but the names of domains.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

/// Event types of the table NVTX_EVENTS.
const MARK: i64 = 34;
const PUSH_POP: [i64; 2] = [59, 70];
const START_END: [i64; 2] = [60, 71];
const DOMAIN_CREATE: i64 = 75;
/// NVTX domain of our agent.
const OURS: &str = "stepscope";

/// Why a report could not be told.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The tables are not as they should be.
    #[error("it is no export of nsys: {0}")]
    Tables(#[from] rusqlite::Error),
    /// Whoever listens failed.
    #[error("{0}")]
    Sink(#[from] io::Error),
}

/// Where something happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a thread of the system: calls.
    Thread(u32),
    /// In a thread: NVTX ranges of a domain; the default one has no name.
    Ranges(u32, String),
    /// On a GPU.
    Stream {
        /// Its number.
        device: i64,
        /// The stream's.
        stream: i64,
    },
    /// In no one place: a start/end range.
    Process,
}

/// A value of an argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// Three numbers.
    Three([i64; 3]),
}

/// One thing that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Process id.
    pub pid: u32,
    /// Where.
    pub place: Place,
    /// Kineto's word for its kind.
    pub category: &'static str,
    /// What it is called.
    pub name: String,
    /// Begin, from the session's start.
    pub begin_ns: i64,
    /// End. `None`: a point in time, or never.
    pub end_ns: Option<i64>,
    /// The number of a start/end range.
    pub range: Option<i64>,
    /// What else is known.
    pub arguments: Vec<(&'static str, Value)>,
}

/// What a report says, in the order of the calls.
pub trait Sink {
    /// The session began at this time, nanoseconds since 1970. The first call.
    ///
    /// # Errors
    /// Whatever stops the telling; likewise for the others.
    fn session(&mut self, begin_ns: i64) -> io::Result<()>;
    /// A process has a name.
    fn process(&mut self, pid: u32, name: &str) -> io::Result<()>;
    /// A thread has a name.
    fn thread(&mut self, pid: u32, tid: u32, name: &str) -> io::Result<()>;
    /// Something happened.
    fn span(&mut self, span: &Span) -> io::Result<()>;
    /// A call led to something on a GPU: from when and where, and to.
    fn flow(&mut self, pid: u32, correlation: i64, from: (&Place, i64), to: (&Place, i64)) -> io::Result<()>;
}

/// Tells all that the export `tables` holds.
///
/// # Errors
/// See [`TimelineError`].
pub fn tell(tables: &Path, sink: &mut dyn Sink) -> Result<(), TimelineError> {
    let tables = Tables(Connection::open_with_flags(tables, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
    tables.0.pragma_update(None, "cache_size", -8192)?;
    let begin_ns = tables.0.query_row("SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME", [], |row| row.get(0))?;
    sink.session(begin_ns)?;
    tables.names(sink)?;
    tables.ranges(sink)?;
    tables.calls("CUPTI_ACTIVITY_KIND_RUNTIME", "cuda_runtime", sink)?;
    tables.calls("OSRT_API", "osrt", sink)?;
    tables.kernels(sink)?;
    tables.copies("CUPTI_ACTIVITY_KIND_MEMCPY", "gpu_memcpy", "Memcpy", sink)?;
    tables.copies("CUPTI_ACTIVITY_KIND_MEMSET", "gpu_memset", "Memset", sink)?;
    tables.graphs(sink)?;
    for table in ["CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"] {
        tables.flows(table, sink)?;
    }
    Ok(())
}

struct Tables(Connection);

/// Process and thread of a `globalTid`.
fn ids(global: i64) -> (u32, u32) {
    (((global >> 24) & 0xff_ffff) as u32, (global & 0xff_ffff) as u32)
}

impl Tables {
    /// Columns of a table; none if it is not there.
    fn columns(&self, table: &str) -> Result<Vec<String>, TimelineError> {
        let mut statement = self.0.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names)
    }

    /// The rows of a table, by the wanted columns; NULL where there is no such column. A column that ends in `Name` or is
    /// `textId` is the text that it stands for.
    fn each(
        &self,
        table: &str,
        wanted: &[&str],
        mut take: impl FnMut(&Row<'_>) -> Result<(), TimelineError>,
    ) -> Result<(), TimelineError> {
        let there = self.columns(table)?;
        if there.is_empty() {
            return Ok(());
        }
        let select = wanted.iter().map(|name| match there.iter().any(|column| column == name) {
            false => "NULL".to_owned(),
            true if name.ends_with("Name") || name.ends_with("nameId") || *name == "textId" => {
                format!("(SELECT value FROM StringIds WHERE id = t.{name})")
            }
            true => format!("t.{name}"),
        });
        let select = select.collect::<Vec<_>>().join(", ");
        let mut statement = self.0.prepare(&format!("SELECT {select} FROM {table} t"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    }

    fn names(&self, sink: &mut dyn Sink) -> Result<(), TimelineError> {
        self.each("PROCESSES", &["pid", "name"], |row| {
            let (pid, name): (Option<u32>, Option<String>) = (row.get(0)?, row.get(1)?);
            Ok(sink.process(pid.unwrap_or_default(), name.as_deref().unwrap_or_default())?)
        })?;
        self.each("ThreadNames", &["globalTid", "nameId"], |row| {
            let (global, name): (Option<i64>, Option<String>) = (row.get(0)?, row.get(1)?);
            let (pid, tid) = ids(global.unwrap_or_default());
            Ok(sink.thread(pid, tid, name.as_deref().unwrap_or_default())?)
        })
    }

    fn ranges(&self, sink: &mut dyn Sink) -> Result<(), TimelineError> {
        let mut domains: HashMap<(u32, i64), String> = HashMap::new();
        let columns =
            ["globalTid", "eventType", "text", "textId", "domainId", "start", "end", "rangeId", "uint64Value"];
        let text = |row: &Row<'_>| -> Result<String, TimelineError> {
            Ok(row.get::<_, Option<String>>(2)?.or(row.get(3)?).unwrap_or_default())
        };
        self.each("NVTX_EVENTS", &columns, |row| {
            if row.get::<_, i64>(1)? == DOMAIN_CREATE {
                let pid = ids(row.get::<_, Option<i64>>(0)?.unwrap_or_default()).0;
                domains.insert((pid, row.get::<_, Option<i64>>(4)?.unwrap_or_default()), text(row)?);
            }
            Ok(())
        })?;
        self.each("NVTX_EVENTS", &columns, |row| {
            let kind: i64 = row.get(1)?;
            let (is_mark, is_range) = (kind == MARK, START_END.contains(&kind));
            if !is_mark && !is_range && !PUSH_POP.contains(&kind) {
                return Ok(());
            }
            let (pid, tid) = ids(row.get::<_, Option<i64>>(0)?.unwrap_or_default());
            let domain = domains.get(&(pid, row.get::<_, Option<i64>>(4)?.unwrap_or_default()));
            let payload: Option<i64> = row.get(8)?;
            let mut arguments = Vec::new();
            let is_iteration = PUSH_POP.contains(&kind) && domain.is_some_and(|domain| domain == OURS);
            if let Some(payload) = payload {
                arguments.push((if is_iteration { "iteration" } else { "payload" }, Value::Number(payload)));
            }
            arguments.extend(domain.map(|domain| ("domain", Value::Text(domain.clone()))));
            let place = if is_range { Place::Process } else { Place::Ranges(tid, domain.cloned().unwrap_or_default()) };
            Ok(sink.span(&Span {
                pid,
                place,
                category: if is_iteration { "nvtx_iteration" } else { "nvtx" },
                name: text(row)?,
                begin_ns: row.get(5)?,
                end_ns: row.get::<_, Option<i64>>(6)?.filter(|_| !is_mark),
                range: if is_range { Some(row.get::<_, Option<i64>>(7)?.unwrap_or_default()) } else { None },
                arguments,
            })?)
        })
    }

    fn calls(&self, table: &str, category: &'static str, sink: &mut dyn Sink) -> Result<(), TimelineError> {
        self.each(table, &["globalTid", "nameId", "start", "end", "correlationId", "returnValue"], |row| {
            let (pid, tid) = ids(row.get::<_, Option<i64>>(0)?.unwrap_or_default());
            let mut arguments = Vec::new();
            for (at, name) in [(4, "correlation"), (5, "return value")] {
                arguments.extend(row.get::<_, Option<i64>>(at)?.map(|number| (name, Value::Number(number))));
            }
            // cudaLaunchKernel_v7000 is what everybody calls cudaLaunchKernel.
            let name: String = row.get::<_, Option<String>>(1)?.unwrap_or_else(|| "call".into());
            let name = name.split_once("_v").map_or(name.clone(), |(plain, version)| {
                let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
                if is_version { plain.to_owned() } else { name.clone() }
            });
            let (begin_ns, end_ns) = (row.get(2)?, row.get(3)?);
            let place = Place::Thread(tid);
            Ok(sink.span(&Span { pid, place, category, name, begin_ns, end_ns, range: None, arguments })?)
        })
    }

    /// What lies on a GPU: columns `globalPid`, `start`, `end`, `deviceId`, `streamId`, `contextId`, `correlationId`, then
    /// those of the kind.
    fn on_gpu(
        &self,
        table: &str,
        more: &[&str],
        mut describe: impl FnMut(&Row<'_>, &mut Span) -> Result<(), TimelineError>,
        sink: &mut dyn Sink,
    ) -> Result<(), TimelineError> {
        let mut columns = vec!["globalPid", "start", "end", "deviceId", "streamId", "contextId", "correlationId"];
        columns.extend(more);
        self.each(table, &columns, |row| {
            let number = |at: usize| row.get::<_, Option<i64>>(at).map(Option::unwrap_or_default);
            let (device, stream) = (number(3)?, number(4)?);
            let mut span = Span {
                pid: ids(number(0)?).0,
                place: Place::Stream { device, stream },
                category: "kernel",
                name: String::new(),
                begin_ns: number(1)?,
                end_ns: row.get(2)?,
                range: None,
                arguments: vec![("device", Value::Number(device)), ("stream", Value::Number(stream))],
            };
            for (at, name) in [(5, "context"), (6, "correlation")] {
                span.arguments.extend(row.get::<_, Option<i64>>(at)?.map(|number| (name, Value::Number(number))));
            }
            describe(row, &mut span)?;
            Ok(sink.span(&span)?)
        })
    }

    fn kernels(&self, sink: &mut dyn Sink) -> Result<(), TimelineError> {
        let more = [
            "demangledName",
            "shortName",
            "registersPerThread",
            "staticSharedMemory",
            "dynamicSharedMemory",
            "graphNodeId",
            "gridX",
            "gridY",
            "gridZ",
            "blockX",
            "blockY",
            "blockZ",
        ];
        let describe = |row: &Row<'_>, span: &mut Span| {
            span.name = row.get::<_, Option<String>>(7)?.or(row.get(8)?).unwrap_or_else(|| "kernel".into());
            let names = ["registers per thread", "static shared memory", "dynamic shared memory", "graph node id"];
            for (at, name) in names.into_iter().enumerate() {
                span.arguments.extend(row.get::<_, Option<i64>>(9 + at)?.map(|number| (name, Value::Number(number))));
            }
            for (at, name) in [(13, "grid"), (16, "block")] {
                let mut three = [0; 3];
                for (offset, number) in three.iter_mut().enumerate() {
                    *number = row.get::<_, Option<i64>>(at + offset)?.unwrap_or_default();
                }
                span.arguments.push((name, Value::Three(three)));
            }
            Ok(())
        };
        self.on_gpu("CUPTI_ACTIVITY_KIND_KERNEL", &more, describe, sink)
    }

    fn copies(
        &self,
        table: &str,
        category: &'static str,
        word: &str,
        sink: &mut dyn Sink,
    ) -> Result<(), TimelineError> {
        let mut kinds: HashMap<i64, String> = HashMap::new();
        self.each("ENUM_CUDA_MEMCPY_OPER", &["id", "label"], |row| {
            kinds.insert(row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default());
            Ok(())
        })?;
        let describe = |row: &Row<'_>, span: &mut Span| {
            let kind = row.get::<_, Option<i64>>(8)?.and_then(|kind| kinds.get(&kind));
            // Kineto's begins are the same words: tools tell copies by them.
            span.name = kind.map_or_else(|| word.to_owned(), |kind| format!("{word} {kind}"));
            span.category = category;
            span.arguments.extend(row.get::<_, Option<i64>>(7)?.map(|bytes| ("bytes", Value::Number(bytes))));
            Ok(())
        };
        self.on_gpu(table, &["bytes", "copyKind"], describe, sink)
    }

    fn graphs(&self, sink: &mut dyn Sink) -> Result<(), TimelineError> {
        let describe = |row: &Row<'_>, span: &mut Span| {
            let graph = row.get::<_, Option<i64>>(7)?.unwrap_or_default();
            span.name = format!("CUDA graph {graph}");
            span.category = "gpu_graph";
            Ok(())
        };
        self.on_gpu("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", &["graphId"], describe, sink)
    }

    fn flows(&self, table: &str, sink: &mut dyn Sink) -> Result<(), TimelineError> {
        let calls = "CUPTI_ACTIVITY_KIND_RUNTIME";
        if self.columns(table)?.is_empty() || self.columns(calls)?.is_empty() {
            return Ok(());
        }
        let mut statement = self.0.prepare(&format!(
            "SELECT r.globalTid, k.correlationId, r.start, k.start, k.deviceId, k.streamId FROM {table} k JOIN {calls} r \
             ON r.correlationId = k.correlationId AND r.globalTid >> 24 = k.globalPid >> 24"
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (pid, tid) = ids(row.get(0)?);
            let to = Place::Stream { device: row.get(4)?, stream: row.get(5)? };
            sink.flow(pid, row.get(1)?, (&Place::Thread(tid), row.get(2)?), (&to, row.get(3)?))?;
        }
        Ok(())
    }
}
