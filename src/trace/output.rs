//! Traces and ledgers as files and downloads: the one place that knows the formats, their names, file names and media types.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::chrome::ChromeWriter;
use super::export::{ExportSummary, export};
use super::meta::{ExportMeta, Selection};
use super::perfetto::PerfettoWriter;
use super::writer::TraceWriter;

/// Level 1 of gzip takes a fifth of the time of level 6 for twice its size.
const GZIP_LEVEL: u32 = 1;
/// Over 100 MB of an exported trace (`zstd -b1 -e6`): level 1 packs 12.2 times at 1005 MB/s, level 3 packs 11.6 times at 497,
/// level 6 12.8 times at 146.
const ZSTD_LEVEL: i32 = 1;

/// What a trace may be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Chrome JSON.
    Json,
    /// Chrome JSON, gzip.
    JsonGz,
    /// Chrome JSON, Zstandard.
    JsonZst,
    /// Perfetto's protobuf.
    Perfetto,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::JsonGz, Self::JsonZst, Self::Perfetto];

    /// What callers say for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonGz => "json.gz",
            Self::JsonZst => "json.zst",
            Self::Perfetto => "perfetto",
        }
    }

    /// What the name of a file ends in, behind a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json | Self::JsonGz | Self::JsonZst => self.name(),
            Self::Perfetto => "pftrace",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonGz => "application/gzip",
            Self::JsonZst => "application/zstd",
            Self::Perfetto => "application/x-protobuf",
        }
    }

    /// The format of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format that the name of a file asks for, `None` if it ends in nothing that is known.
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        Self::ALL.into_iter().find(|format| {
            name.strip_suffix(format.extension()).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
        })
    }

    /// All names, as a sentence lists them.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// What the ledger may be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LedgerFormat {
    /// A JSON object a line.
    JsonLines,
    /// Comma-separated values, with a header line.
    Csv,
}

impl LedgerFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::JsonLines, Self::Csv];

    /// What callers say for it, and what the name of a file ends in.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The format of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format that the name of a file asks for.
    pub fn of_file(path: &Path) -> Option<Self> {
        Self::of_name(path.extension()?.to_str()?)
    }

    /// All names, as a sentence lists them.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// Streams the trace of a capture, or of the selected ranks of it, into a sink, to its last byte.
///
/// # Errors
/// What the sink says.
pub fn write_trace(
    fragments: &[PathBuf],
    meta: &ExportMeta,
    selection: &Selection,
    format: Format,
    sink: &mut dyn Write,
) -> io::Result<ExportSummary> {
    pack(format, sink, Export { fragments, meta, selection })
}

/// Has `write` write a trace, from `begin` to `finish`, into a sink, in any format; what packs it is ended behind it.
///
/// # Errors
/// What `write` and the sink say.
pub fn write_with<T>(
    format: Format,
    sink: &mut dyn Write,
    write: impl FnOnce(&mut dyn TraceWriter) -> io::Result<T>,
) -> io::Result<T> {
    pack(format, sink, Closure(write))
}

/// Something that writes a trace with whatever writer it is given.
trait Job {
    type Outcome;
    fn run(self, writer: &mut impl TraceWriter) -> io::Result<Self::Outcome>;
}

/// The export of a capture, made for each writer anew: a call through a table for each event would be seen.
struct Export<'a> {
    fragments: &'a [PathBuf],
    meta: &'a ExportMeta,
    selection: &'a Selection,
}

impl Job for Export<'_> {
    type Outcome = ExportSummary;

    fn run(self, writer: &mut impl TraceWriter) -> io::Result<ExportSummary> {
        export(self.fragments, self.meta, self.selection, writer)
    }
}

struct Closure<F>(F);

impl<T, F: FnOnce(&mut dyn TraceWriter) -> io::Result<T>> Job for Closure<F> {
    type Outcome = T;

    fn run(self, writer: &mut impl TraceWriter) -> io::Result<T> {
        self.0(writer)
    }
}

/// The one place that puts a writer of a format, and what packs its bytes, in front of a sink.
fn pack<J: Job>(format: Format, sink: &mut dyn Write, job: J) -> io::Result<J::Outcome> {
    match format {
        Format::Json => job.run(&mut ChromeWriter::new(sink)),
        Format::JsonGz => {
            let mut writer = ChromeWriter::new(GzEncoder::new(sink, Compression::new(GZIP_LEVEL)));
            let outcome = job.run(&mut writer)?;
            writer.into_inner().finish()?.flush()?;
            Ok(outcome)
        }
        Format::JsonZst => {
            let mut encoder = zstd::Encoder::new(sink, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            let mut writer = ChromeWriter::new(encoder);
            let outcome = job.run(&mut writer)?;
            writer.into_inner().finish()?.flush()?;
            Ok(outcome)
        }
        Format::Perfetto => job.run(&mut PerfettoWriter::new(sink)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_chooses_the_format() {
        let of = |name: &str| Format::of_file(Path::new(name)).map(Format::name);
        assert_eq!(of("a/b.c.json"), Some("json"));
        assert_eq!(of("x.json.gz"), Some("json.gz"));
        assert_eq!(of("x.trace.json.zst"), Some("json.zst"));
        assert_eq!(of("/tmp/x.pftrace"), Some("perfetto"));
        for none in ["x.gz", "x.zst", "xjson", ".json", "json", "x.perfetto", "-", ""] {
            assert_eq!(of(none), None, "{none}");
        }
        assert!(Format::ALL.into_iter().all(|format| Format::of_name(format.name()) == Some(format)));
    }
}
