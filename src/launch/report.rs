//! What a report of nsys holds: read by nsys's own export to SQLite, whose tables NVIDIA documents.
//!
//! `.nsys-rep` is exported with `nsys export`. A `.qdstrm`, which an nsys without its importer beside it leaves (Debian's
//! does), is imported first, by the `QdstrmImporter` that belongs to the nsys. Both write into a temporary folder.
//!
//! Times in a report count from the session's start time, which is the wall clock's; a process id is in bits 24 to 47 of
//! a `globalTid`; our numbers are the ranges' payloads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::{Connection, OpenFlags};

use super::matching::{Contents, Process};

/// Event types of the table NVTX_EVENTS.
const PUSH_POP: i64 = 59;
const START_END: i64 = 60;
const DOMAIN_CREATE: i64 = 75;

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A tool failed, or there is none.
    #[error("{0}")]
    Tool(String),
    /// The tables are not as they should be.
    #[error("the export can't be read: {0}")]
    Tables(#[from] rusqlite::Error),
}

/// Reports of the output name `name` (`--output`, without ending), in nsys's order: `name`, `name.1`, `name.2`, …; of a
/// whole file name that one alone. Where a `.qdstrm` was imported, only its `.nsys-rep` counts.
pub fn list(name: &Path) -> Vec<PathBuf> {
    if name.is_file() {
        return vec![name.to_owned()];
    }
    let folder = name.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    list_all(folder).into_iter().filter(|path| split(path).is_some_and(|(base, _, _)| base == stem)).collect()
}

/// All reports in a folder, likewise.
pub fn list_all(folder: &Path) -> Vec<PathBuf> {
    let mut found: BTreeMap<(String, u64), PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = if folder == Path::new(".") { entry.file_name().into() } else { entry.path() };
        if let Some((base, number, ending)) = split(&path)
            && (ending == "nsys-rep" || !found.contains_key(&(base.clone(), number)))
        {
            found.insert((base, number), path);
        }
    }
    found.into_values().collect()
}

/// `report`, 2 and `nsys-rep` of `report.2.nsys-rep`.
fn split(path: &Path) -> Option<(String, u64, String)> {
    let ending = path.extension()?.to_str().filter(|e| ["nsys-rep", "qdstrm"].contains(e))?;
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let numbered = stem.rsplit_once('.').and_then(|(base, number)| Some((base.to_owned(), number.parse().ok()?)));
    let (base, number) = numbered.unwrap_or((stem, 0));
    Some((base, number, ending.to_owned()))
}

/// Reads one.
///
/// # Errors
/// See [`ReadError`].
pub fn read(report: &Path, nsys: &Path) -> Result<Contents, ReadError> {
    exported(report, nsys, contents)
}

/// Exports it to tables, and hands those on.
fn exported<T>(report: &Path, nsys: &Path, take: impl FnOnce(&Path) -> Result<T, ReadError>) -> Result<T, ReadError> {
    let scratch = Scratch::new()?;
    take(&export(report, nsys, &scratch.0)?)
}

/// Exports one to SQLite, into the folder `scratch`; the file.
///
/// # Errors
/// See [`ReadError`].
pub fn export(report: &Path, nsys: &Path, scratch: &Path) -> Result<PathBuf, ReadError> {
    let mut report = report.to_owned();
    let stem = report.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if report.extension().is_some_and(|ending| ending == "qdstrm") {
        let imported = scratch.join(format!("{stem}.nsys-rep"));
        let importer = importer(nsys)?;
        tool(Command::new(importer).arg("-i").arg(&report).arg("-o").arg(&imported), &imported)?;
        report = imported;
    }
    let tables = scratch.join(format!("{stem}.sqlite"));
    let mut export = Command::new(nsys);
    export.args(["export", "--type=sqlite", "--force-overwrite=true", "-o"]).arg(&tables).arg(&report);
    tool(&mut export, &tables)?;
    Ok(tables)
}

/// What CUDA did in a report, and what else is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Activity {
    /// Kernels, one by one.
    pub kernels: u64,
    /// CUDA graphs that were recorded as a whole: their kernels are not among those.
    pub graphs: u64,
    /// Its iterations.
    pub contents: Contents,
}

/// Reads one, and counts its kernels.
///
/// # Errors
/// See [`ReadError`].
pub fn activity(report: &Path, nsys: &Path) -> Result<Activity, ReadError> {
    exported(report, nsys, |tables| {
        let connection = Connection::open_with_flags(tables, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let kernels = rows(&connection, "CUPTI_ACTIVITY_KIND_KERNEL")?;
        let graphs = rows(&connection, "CUPTI_ACTIVITY_KIND_GRAPH_TRACE")?;
        Ok(Activity { kernels, graphs, contents: contents(tables)? })
    })
}

/// Rows of a table; they are lazily made: one that is not there has none.
fn rows(tables: &Connection, table: &'static str) -> Result<u64, ReadError> {
    if !tables.prepare("SELECT 1 FROM sqlite_master WHERE name = ?1")?.exists([table])? {
        return Ok(0);
    }
    let count: i64 = tables.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// Runs a tool that has to make a file.
fn tool(command: &mut Command, makes: &Path) -> Result<(), ReadError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| ReadError::Tool(format!("{name} can't be run: {e}")))?;
    // The tools' exit codes do not tell; what they make does.
    if makes.exists() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").trim();
    Err(ReadError::Tool(format!("{name} made no {}: {last}", makes.extension().unwrap_or_default().display())))
}

/// The importer that belongs to this nsys.
fn importer(nsys: &Path) -> Result<PathBuf, ReadError> {
    let found = which(nsys).and_then(|nsys| nsys.canonicalize().ok());
    let mut homes: Vec<PathBuf> =
        found.iter().flat_map(|nsys| nsys.ancestors().skip(1).take(3)).map(Path::to_owned).collect();
    homes.push("/usr/lib/nsight-systems".into());
    let hosts = homes.iter().flat_map(|home| std::fs::read_dir(home).into_iter().flatten().flatten());
    let mut hosts = hosts.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"host-linux"));
    hosts.find_map(|host| Some(host.path().join("QdstrmImporter")).filter(|file| file.is_file())).ok_or_else(|| {
        ReadError::Tool(
            "it is a .qdstrm, and nsys has no importer here: open it once with nsys-ui, which makes a .nsys-rep".into(),
        )
    })
}

/// A program as `PATH` finds it.
fn which(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn contents(tables: &Path) -> Result<Contents, ReadError> {
    let tables = Connection::open_with_flags(tables, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let begin: i64 = tables.query_row("SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME", [], |row| row.get(0))?;
    let length: i64 = tables.query_row("SELECT max(duration) FROM ANALYSIS_DETAILS", [], |row| row.get(0)).unwrap_or(0);
    let span_ns = (begin, begin.saturating_add(length));
    // Lazily made: a report without NVTX has no such table.
    let has_nvtx = tables.prepare("SELECT 1 FROM sqlite_master WHERE name = 'NVTX_EVENTS'")?.exists([])?;
    if !has_nvtx {
        return Ok(Contents { span_ns, processes: Vec::new() });
    }
    let mut statement = tables.prepare(
        "SELECT (e.globalTid >> 24) & 0xffffff, e.eventType, coalesce(e.text, s.value, ''), e.uint64Value, e.start \
         FROM NVTX_EVENTS e LEFT JOIN StringIds s ON s.id = e.textId \
         JOIN NVTX_EVENTS d ON d.eventType = ?1 AND d.domainId = e.domainId AND d.globalTid >> 24 = e.globalTid >> 24 \
         LEFT JOIN StringIds n ON n.id = d.textId \
         WHERE coalesce(d.text, n.value) = 'stepscope' AND e.eventType IN (?2, ?3) ORDER BY 4",
    )?;
    let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
    let mut rows = statement.query([DOMAIN_CREATE, PUSH_POP, START_END])?;
    while let Some(row) = rows.next()? {
        let pid: u32 = row.get(0)?;
        let (kind, text, number, start): (i64, String, Option<i64>, i64) =
            (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let process = processes.entry(pid).or_insert(Process { pid, ..Process::default() });
        match kind {
            START_END if text == "capture" => process.captures += 1,
            PUSH_POP => {
                let number = number.unwrap_or_default().cast_unsigned();
                process.iterations.push((number, begin.saturating_add(start), text));
            }
            _ => {}
        }
    }
    Ok(Contents { span_ns, processes: processes.into_values().collect() })
}

/// A folder of its own, gone when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in the system's folder for such.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new() -> Result<Self, ReadError> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("stepscope-report-{}", uuid::Uuid::now_v7().simple()));
        // Reports hold the environment of processes: nobody else's business.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|source| ReadError::File { path: path.display().to_string(), source })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_counted_where_there_is_a_table_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let tables = folder.path().join("r.sqlite");
        let connection = Connection::open(&tables).expect("a database");
        assert_eq!(rows(&connection, "CUPTI_ACTIVITY_KIND_KERNEL").expect("a count"), 0);
        let made = "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT); INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1), (2)";
        connection.execute_batch(made).expect("rows");
        assert_eq!(rows(&connection, "CUPTI_ACTIVITY_KIND_KERNEL").expect("a count"), 2);
    }

    #[test]
    fn reports_of_one_name_come_in_nsyss_order_and_an_imported_one_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "r.10.qdstrm",
            "r.2.nsys-rep",
            "r.2.qdstrm",
            "r.1.qdstrm",
            "r.nsys-rep",
            "r.x.nsys-rep",
            "rr.1.qdstrm",
            "r.1.sqlite",
        ] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let found = list(&folder.path().join("r"));
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy()).collect();
        assert_eq!(names, ["r.nsys-rep", "r.1.qdstrm", "r.2.nsys-rep", "r.10.qdstrm"]);
    }
}
