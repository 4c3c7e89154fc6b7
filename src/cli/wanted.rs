//! What `get` is to bring: a trace or the ledger, and in which format. Named by `--format`, `--iterations` or the file.

use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::exit::UsageError;
use crate::client::Wanted as Download;
use crate::trace::output::{Format, LedgerFormat};

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The trace.
    Trace(Format),
    /// The ledger: one row per iteration.
    Ledger(LedgerFormat),
}

impl Wanted {
    /// All of it, with a line of help each.
    const ALL: [(Self, &str); 6] = [
        (Self::Trace(Format::Json), "Chrome JSON"),
        (Self::Trace(Format::JsonGz), "Chrome JSON, gzip"),
        (Self::Trace(Format::JsonZst), "Chrome JSON, Zstandard"),
        (Self::Trace(Format::Perfetto), "Perfetto's protobuf, .pftrace"),
        (Self::Ledger(LedgerFormat::JsonLines), "the ledger, a JSON object a line"),
        (Self::Ledger(LedgerFormat::Csv), "the ledger, comma-separated values"),
    ];

    /// Of one of the words that [`Self::ALL`] lists.
    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        let values = Self::ALL.map(|(wanted, help)| PossibleValue::new(wanted.name()).help(help));
        PossibleValuesParser::new(values).try_map(|name| {
            let found = Self::ALL.into_iter().find(|(wanted, _)| wanted.name() == name);
            found.map(|(wanted, _)| wanted).ok_or("no such format")
        })
    }

    /// What the arguments say together: a format that is named wins over what the file is called.
    pub(super) fn of(format: Option<Self>, iterations: bool, file: Option<&Path>) -> Result<Self, UsageError> {
        let by_name = || {
            let trace = || Format::of_file(file?).map(Self::Trace);
            LedgerFormat::of_file(file?).map(Self::Ledger).or_else(trace)
        };
        let fallback = if iterations { Self::Ledger(LedgerFormat::JsonLines) } else { Self::Trace(Format::JsonGz) };
        let wanted = match format {
            Some(wanted) => wanted,
            None => by_name().unwrap_or(fallback),
        };
        match wanted {
            Self::Trace(format) if iterations => Err(UsageError(format!(
                "--iterations is the ledger, and {} is a trace: choose --format {} or another file name",
                format.name(),
                LedgerFormat::names().replace(", ", " or "),
            ))),
            wanted => Ok(wanted),
        }
    }

    /// As the sidecar is asked for it.
    pub(super) fn download(self, rank: Option<u32>) -> Download<'static> {
        let (resource, extension) = match self {
            Self::Trace(format) => ("trace", format.extension()),
            Self::Ledger(format) => ("iterations", format.name()),
        };
        Download { resource, format: self.name(), extension, rank }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trace(format) => format.name(),
            Self::Ledger(format) => format.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_can_be_wanted() {
        let traces = Format::ALL.map(Wanted::Trace);
        let ledgers = LedgerFormat::ALL.map(Wanted::Ledger);
        assert_eq!(Wanted::ALL.map(|(wanted, _)| wanted).to_vec(), [&traces[..], &ledgers[..]].concat());
    }

    #[test]
    fn a_format_that_is_named_wins_then_the_file_then_the_default() {
        let of = |format, iterations, file: &str| {
            Wanted::of(format, iterations, (!file.is_empty()).then(|| Path::new(file))).map(Wanted::name).ok()
        };
        let perfetto = Some(Wanted::Trace(Format::Perfetto));
        assert_eq!(of(None, false, ""), Some("json.gz"));
        assert_eq!(of(None, false, "folder"), Some("json.gz"));
        assert_eq!(of(None, false, "a.pftrace"), Some("perfetto"));
        assert_eq!(of(None, false, "a.json.zst"), Some("json.zst"));
        assert_eq!(of(None, false, "a.csv"), Some("csv"));
        assert_eq!(of(perfetto, false, "a.json"), Some("perfetto"));
        assert_eq!(of(None, true, ""), Some("jsonl"));
        assert_eq!(of(None, true, "a.csv"), Some("csv"));
        assert_eq!(of(perfetto, true, ""), None);
        assert_eq!(of(None, true, "a.json"), None);
    }
}
