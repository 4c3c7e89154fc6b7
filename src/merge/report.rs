//! What a merge did: for the user, and in the output's metadata.

use serde::Serialize;
use serde_json::Value;

use super::clocks::Match;
use super::inputs::Refused;
use super::numbering::ProcessReport;
use super::survey::Maker;

/// A merge.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Events written, metadata not counted.
    pub events: u64,
    /// Nanoseconds since 1970 of the output's time 0. `None`: no input states a time.
    pub base_ns: Option<u64>,
    /// The rank, if all inputs are of one.
    pub rank: Option<u32>,
    /// Two inputs lie at most this far off each other. `None`: nobody knows.
    pub uncertainty_ns: Option<u64>,
    /// What is being looked at: the median iteration, or a millisecond.
    pub looking_at_ns: u64,
    /// Why there would have been no merge without `--force`.
    pub forced: Option<String>,
    /// Input by input.
    pub inputs: Vec<InputReport>,
    /// Those that are not in it.
    pub refused: Vec<Refused>,
    /// What was there twice, in words.
    pub duplicates: Vec<String>,
    /// How far iterations that two inputs show lie apart.
    pub matches: Vec<Match>,
}

/// One input.
#[derive(Debug, Clone, Serialize)]
pub struct InputReport {
    /// What it is called.
    pub label: String,
    /// As it was given.
    pub path: String,
    /// Who wrote it.
    pub maker: Maker,
    /// Where its time comes from, in words.
    pub clock: String,
    /// Nanoseconds since 1970 of its time 0, as it states it.
    pub base_ns: Option<i64>,
    /// What was added to its times beyond that.
    pub offset_ns: i64,
    /// How far off it may lie. `None`: nobody knows.
    pub uncertainty_ns: Option<u64>,
    /// Its events in the output, metadata not counted.
    pub events: u64,
    /// Events with characters or words that are no JSON: they are in the output, mended.
    pub mended: u64,
    /// Events without a time that can be read: they are in the output as they were.
    pub timeless: u64,
    /// Places that are broken; at least an event each is left out.
    pub damaged: u64,
    /// Events left out: longer than 4 MiB.
    pub oversized: u64,
    /// Elements left out: no events.
    pub strays: u64,
    /// Events left out: an earlier input has them.
    pub twice: u64,
    /// Bytes left out.
    pub cut_bytes: u64,
    /// Why it ends too early.
    pub cut: Option<String>,
    /// Its rank, if it is of one.
    pub rank: Option<u32>,
    /// Its processes.
    pub processes: Vec<ProcessReport>,
    /// What it says of itself, as far as that is short.
    pub says: serde_json::Map<String, Value>,
}

impl InputReport {
    /// What is missing of it, in words.
    pub fn lost(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |count: u64, one: &str, many: &str| {
            if count > 0 {
                words.push(format!("{count} {}", if count == 1 { one } else { many }));
            }
        };
        say(self.damaged, "broken place", "broken places");
        say(self.oversized, "event longer than 4 MiB", "events longer than 4 MiB");
        say(self.strays, "element that is no event", "elements that are no events");
        if let Some(cut) = &self.cut {
            words.push(cut.clone());
        }
        if self.cut_bytes > 0 {
            words.push(format!("{} bytes left out", self.cut_bytes));
        }
        words
    }
}

impl Report {
    /// Whether all that was asked for is there.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.inputs.iter().all(|input| input.lost().is_empty())
    }
}
