//! What one request went through, as the engine told it.
//!
//! A lifecycle is what is known, never more: a time that no event carried is `None`, and whoever reads it decides what
//! can be said. All times are nanoseconds since the epoch, on the clock of the iterations.
//!
//! Filled from a capture's fragments by [`each_lifecycle`]; read by the report.

use std::path::PathBuf;

use super::merge::Merge;
use super::meta::ExportMeta;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It ran to its end.
    Finished,
    /// Whoever asked, or the engine, gave it up.
    Aborted,
    /// No end was seen: it still ran when the window closed, or its end was lost.
    #[default]
    Open,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lifecycle {
    /// Its number in the engine, unique in a capture.
    pub request: u64,
    /// The engine's own name for it. Never anything of its prompt.
    pub label: Option<String>,
    /// It reached the engine's front end.
    pub arrived_ns: Option<u64>,
    /// It stood in the scheduler's queue.
    pub queued_ns: Option<u64>,
    /// The scheduler took it into a batch for the first time.
    pub scheduled_ns: Option<u64>,
    /// Its first token was there.
    pub first_token_ns: Option<u64>,
    /// Its last token was there; that of one token is its first.
    pub last_token_ns: Option<u64>,
    /// The engine was through with it.
    pub finished_ns: Option<u64>,
    /// All the time for which it was preempted, nanoseconds.
    pub preempted_ns: u64,
    /// The part of that which lies before its first token; the rest lies between its first and its last one.
    pub preempted_before_first_token_ns: u64,
    /// How often it was preempted.
    pub preemptions: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of its prompt.
    pub prompt_tokens: Option<u32>,
    /// Tokens that it was given.
    pub output_tokens: Option<u32>,
}

/// Hands on every request that touches its job's window, complete or not, by when it begins. `false`: this capture
/// recorded no requests, which is not the same as that there were none.
pub fn each_lifecycle(fragments: &[PathBuf], meta: &ExportMeta, take: &mut dyn FnMut(Lifecycle)) -> bool {
    if !meta.requests {
        return false;
    }
    let requests = Merge::open(fragments, meta, true).requests;
    let told = requests.told;
    requests.touching(|job| meta.window(job)).iter().for_each(|course| take(course.lifecycle()));
    told
}
