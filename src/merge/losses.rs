//! What goes wrong with an input: it is no trace at all, or some of it could not be kept.

use std::io;

/// Why a file is no trace.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no Chrome trace: {0}")]
    NoTrace(&'static str),
}

/// What could not be kept as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Events with characters or words that are no JSON; they are kept, mended.
    pub(super) mended: u64,
    /// Events left out: too long.
    pub(super) oversized: u64,
    /// Places where the structure is broken: at least one event each.
    pub(super) damaged: u64,
    /// Elements of the array that are no events.
    pub(super) strays: u64,
    /// Bytes of all that was left out, and of what lies behind the end.
    pub(super) cut_bytes: u64,
    /// The file does not end as it should.
    pub(super) is_torn: bool,
}
