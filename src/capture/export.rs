//! From a manifest and its fragments to files and streams: what the trace room is told about a capture.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::report::about::{About, RankAbout};
use crate::report::model::ProfilerCalls;
use crate::report::{build, html};
use crate::trace::ledger::write_ledger;
use crate::trace::meta::{ExportMeta, RankWindow, Selection};
use crate::trace::output::{self, Format, LedgerFormat};

use super::manifest::{Artifact, CallReport, ClosedBy, Complete, Manifest, RankReport};
use super::request::ReportFormat;

/// The format of the trace that stays with its capture; others are made when they are asked for.
const KEPT: Format = Format::JsonGz;

/// Something that writes itself, to be run where blocking is allowed.
pub type Export = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()> + Send>;

/// What the trace of a capture is called, in its folder and as a download.
pub(super) fn trace_name(manifest: &Manifest, format: Format, rank: Option<u32>) -> String {
    let infix = if format == Format::Perfetto { "" } else { ".trace" };
    format!("{}{infix}.{}", stem(manifest, rank), format.extension())
}

/// What the ledger of a capture is called as a download.
pub(super) fn ledger_name(manifest: &Manifest, format: LedgerFormat, rank: Option<u32>) -> String {
    format!("{}.iterations.{}", stem(manifest, rank), format.name())
}

fn stem(manifest: &Manifest, rank: Option<u32>) -> String {
    let prefix = manifest.profile_prefix.as_deref().map_or(String::new(), |p| format!("{p}-"));
    let rank = rank.map_or(String::new(), |r| format!("-rank{r}"));
    format!("{prefix}{}{rank}", manifest.capture_id)
}

/// The manifest's word for why a window closed.
fn word(by: ClosedBy) -> Option<String> {
    serde_json::to_value(by).ok().and_then(|v| v.as_str().map(str::to_owned))
}

/// What the trace says of its capture.
pub(super) fn meta(manifest: &Manifest) -> ExportMeta {
    ExportMeta {
        capture_id: manifest.capture_id.0.clone(),
        stepscope_version: manifest.stepscope_version.clone(),
        complete: match manifest.complete {
            Complete::Yes => Some(true),
            Complete::No => Some(false),
            Complete::Unknown => None,
        },
        missing: manifest.missing.clone(),
        requests: manifest.request_moments > 0,
        // A rate that was all the time every request's says nothing.
        sampling: manifest
            .sampling
            .iter()
            .filter(|_| manifest.sampling.len() > 1)
            .map(|sampling| (sampling.at_ns, sampling.one_in.trailing_zeros()))
            .collect(),
        ranks: manifest
            .ranks
            .iter()
            .map(|r| RankWindow {
                job: r.job.clone(),
                group: r.group.clone(),
                rank: r.rank,
                first_iteration: r.first_iteration,
                // A rank that captured nothing may have recorded before its window was called off.
                last_iteration: r.last_iteration.or(Some(0)),
                dropped: r.dropped,
                opened_at_ns: r.opened_at_ns,
                closed_at_ns: r.closed_at_ns,
                closed_by: r.closed_by.and_then(word),
            })
            .collect(),
    }
}

/// What the report is told besides.
fn about(manifest: &Manifest) -> About {
    let rank = |rank: &RankReport| RankAbout {
        job: rank.job.clone(),
        group: rank.group.clone(),
        rank: rank.rank,
        iterations: rank.iterations,
        before: rank.pace_before,
        after: rank.pace_after,
        calls: calls(rank),
    };
    About {
        meta: meta(manifest),
        accepted_at: manifest.accepted_at.clone(),
        profiler: manifest.profiler.clone(),
        closed_by: manifest.closed_by.and_then(word),
        ranks: manifest.ranks.iter().map(rank).collect(),
        gpu_values_dropped: manifest.gpus.dropped,
        gpus_absent: manifest.gpus.absent.clone(),
    }
}

/// What the profiler's calls of one rank took; `None`: it made none.
fn calls(rank: &RankReport) -> Option<ProfilerCalls> {
    let profiler = rank.profiler.as_ref()?;
    let ns = |call: &Option<CallReport>| call.as_ref().map(|call| call.duration_ns);
    let calls = ProfilerCalls {
        job: rank.job.clone(),
        group: rank.group.clone(),
        rank: rank.rank,
        start_ns: ns(&profiler.start),
        stop_ns: ns(&profiler.stop),
        synchronize_open_ns: ns(&profiler.synchronize_open),
        synchronize_close_ns: ns(&profiler.synchronize_close),
    };
    let made = [calls.start_ns, calls.stop_ns, calls.synchronize_open_ns, calls.synchronize_close_ns];
    made.iter().any(Option::is_some).then_some(calls)
}

/// A writer of the trace, made anew from the fragments.
pub(super) fn trace(manifest: &Manifest, fragments: Vec<PathBuf>, format: Format, rank: Option<u32>) -> Export {
    let meta = meta(manifest);
    let selection = rank.map_or_else(Selection::default, Selection::rank);
    Box::new(move |sink| output::write_trace(&fragments, &meta, &selection, format, sink).map(drop))
}

/// A writer of the ledger.
pub(super) fn ledger(
    manifest: &Manifest,
    fragments: Vec<PathBuf>,
    format: LedgerFormat,
    rank: Option<u32>,
    requests: bool,
) -> Export {
    let meta = ExportMeta { requests, ..meta(manifest) };
    let selection = rank.map_or_else(Selection::default, Selection::rank);
    Box::new(move |sink| write_ledger(&fragments, &meta, &selection, format, sink).map(drop))
}

/// A writer of the report.
pub(super) fn report(manifest: &Manifest, fragments: Vec<PathBuf>, format: ReportFormat) -> Export {
    let about = about(manifest);
    Box::new(move |sink| {
        let report = build(&fragments, &about);
        match format {
            ReportFormat::Json => serde_json::to_writer(sink, &report).map_err(io::Error::other),
            ReportFormat::Html => sink.write_all(html::page(&report).as_bytes()),
        }
    })
}

/// A writer of a file that is there.
pub(super) fn file(path: PathBuf) -> Export {
    Box::new(move |sink| io::copy(&mut File::open(path)?, sink).map(drop))
}

/// Writes the merged trace into the capture's folder, whole or not at all.
///
/// # Errors
/// What the file system said.
pub(super) fn write_trace(manifest: &Manifest, folder: &Path, fragments: &[PathBuf]) -> io::Result<Artifact> {
    let name = trace_name(manifest, KEPT, None);
    let part = folder.join(format!("{name}.part"));
    let written = (|| {
        let mut sink = BufWriter::with_capacity(1 << 18, File::create(&part)?);
        let summary = output::write_trace(fragments, &meta(manifest), &Selection::default(), KEPT, &mut sink)?;
        sink.flush()?;
        let file = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_data()?;
        let bytes = file.metadata()?.len();
        fs::rename(&part, folder.join(&name))?;
        Ok(Artifact { name, kind: "trace".into(), bytes, events: summary.events, rank: None, written_at: None })
    })();
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}
