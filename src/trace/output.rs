//! A trace as a file or a download: the Chrome writer, with or without gzip around its sink.

use std::io::{self, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::chrome::ChromeWriter;
use super::export::{ExportSummary, export};
use super::meta::{ExportMeta, Selection};

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, level 1: a fifth of the time of level 6 for twice its size.
    Gzip,
}

/// Streams the Chrome JSON of a capture, or of the selected ranks of it, into a sink, to its last byte.
///
/// # Errors
/// What the sink says.
pub fn write_chrome(
    fragments: &[PathBuf],
    meta: &ExportMeta,
    selection: &Selection,
    packing: Packing,
    sink: &mut dyn Write,
) -> io::Result<ExportSummary> {
    match packing {
        Packing::Plain => export(fragments, meta, selection, &mut ChromeWriter::new(sink)),
        Packing::Gzip => {
            let mut writer = ChromeWriter::new(GzEncoder::new(sink, Compression::new(1)));
            let summary = export(fragments, meta, selection, &mut writer)?;
            writer.into_inner().finish()?.flush()?;
            Ok(summary)
        }
    }
}
