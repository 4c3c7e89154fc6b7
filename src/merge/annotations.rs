//! The iterations that another tool's trace shows, for whoever asks which of ours they are. Called by `native`.

use std::path::Path;

use super::iterations::{EMPTY, name_hash};
use super::losses::ReadError;
use super::survey::survey_keeping;

/// What a trace shows of an engine's iterations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Events in it, metadata not counted.
    pub events: u64,
    /// When each of its iterations began, nanoseconds since the epoch, in order.
    pub begins_ns: Vec<i64>,
    /// Steps in which nothing was computed: they are no iterations.
    pub empty: u64,
    /// Why its bytes end too early, if they do.
    pub cut: Option<String>,
}

/// Reads a trace to its end; only its iterations take memory, some 40 bytes each.
///
/// # Errors
/// Why it can't be read, in words.
pub fn annotations(path: &Path) -> Result<Annotations, String> {
    let survey = survey_keeping(path, usize::MAX).map_err(|error| match error {
        ReadError::Io(error) => format!("it can't be read: {error}"),
        ReadError::NoTrace(_) => error.to_string(),
    })?;
    let Some(base_ns) = survey.base_ns.or_else(|| survey.iterations.is_empty().then_some(0)) else {
        return Err("it does not say when its time 0 is (no baseTimeNanoseconds)".into());
    };
    let empty = name_hash(EMPTY);
    let filled = survey.iterations.iter().filter(|iteration| iteration.name != empty);
    let mut begins_ns: Vec<i64> = filled.map(|i| i.begin_ns.saturating_add(base_ns)).collect();
    begins_ns.sort_unstable();
    let empty = (survey.iterations.len() - begins_ns.len()) as u64;
    Ok(Annotations { events: survey.events, begins_ns, empty, cut: survey.cut })
}
