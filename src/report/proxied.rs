//! What passing through the sidecar took, where it stands in front of the engine: stages of the requests that it saw.
//!
//! The stages of a whole request add up to its end-to-end time exactly, as those of [`super::requests`] do. They are the
//! proxy's: from the head that it read to the last piece that it wrote.

use serde::{Deserialize, Serialize};

use super::distribution::{Recorder, rounded};
use super::model::Distribution;
use super::requests::StageRow;
use crate::trace::passed::{Ending, PassedStages, STAGES};

/// Requests that passed through the sidecar.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Proxied {
    /// Whether any was recorded.
    pub recorded: bool,
    /// All that touched the window.
    pub seen: u64,
    /// Those whose whole answer went through: they are in the rows below.
    pub complete: u64,
    /// Their client went first.
    pub client_left: u64,
    /// The engine was not there, or broke off.
    pub engine_failed: u64,
    /// They could not be passed on.
    pub refused: u64,
    /// Still under way when the capture ended.
    pub open: u64,
    /// Stage by stage, in order; their shares add up to 1.
    pub stages: Vec<StageRow>,
    /// From the request's head to the answer's end.
    pub end_to_end_ns: Option<Distribution>,
    /// From the request's head to the first piece of the answer's body.
    pub time_to_first_chunk_ns: Option<Distribution>,
}

/// Takes requests.
#[derive(Debug, Default)]
pub(super) struct ProxiedRecorder {
    proxied: Proxied,
    stages: [Recorder; 5],
    end_to_end: Recorder,
    first_chunk: Recorder,
}

impl ProxiedRecorder {
    pub(super) fn add(&mut self, passed: PassedStages) {
        let proxied = &mut self.proxied;
        proxied.seen += 1;
        match passed.ending {
            Ending::Finished => {}
            Ending::ClientLeft => return proxied.client_left += 1,
            Ending::EngineFailed => return proxied.engine_failed += 1,
            Ending::Refused => return proxied.refused += 1,
            Ending::Open => return proxied.open += 1,
        }
        let stages: Vec<u64> = passed.stages_ns.iter().flatten().copied().collect();
        let sum = stages.iter().fold(0, |sum: u64, &stage| sum.saturating_add(stage));
        if stages.len() < STAGES.len() || sum != passed.total_ns {
            return; // a stranger's file may say anything
        }
        proxied.complete += 1;
        for (recorder, &stage) in self.stages.iter_mut().zip(&stages) {
            recorder.add(stage);
        }
        self.end_to_end.add(sum);
        self.first_chunk.add(stages.iter().take(3).sum());
    }

    pub(super) fn finish(self, recorded: bool) -> Proxied {
        let all = self.end_to_end.sum();
        let rows = STAGES.iter().zip(&self.stages).filter_map(|(stage, recorder)| {
            let share = if all == 0 { 0.0 } else { rounded(recorder.sum() as f64 / all as f64) };
            Some(StageRow { stage: (*stage).into(), time_ns: recorder.distribution()?, share })
        });
        Proxied {
            recorded,
            stages: rows.collect(),
            end_to_end_ns: self.end_to_end.distribution(),
            time_to_first_chunk_ns: self.first_chunk.distribution(),
            ..self.proxied
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up_and_what_is_not_whole_is_counted_and_in_no_row() {
        let whole = PassedStages { ending: Ending::Finished, total_ns: 155, stages_ns: [10, 20, 40, 80, 5].map(Some) };
        let mut recorder = ProxiedRecorder::default();
        recorder.add(whole);
        for ending in [Ending::ClientLeft, Ending::EngineFailed, Ending::Refused, Ending::Open] {
            recorder.add(PassedStages { ending, ..whole });
        }
        recorder.add(PassedStages { total_ns: 156, ..whole });
        let p = recorder.finish(true);
        assert_eq!((p.seen, p.complete, p.client_left, p.engine_failed, p.refused, p.open), (6, 1, 1, 1, 1, 1));
        assert_eq!(p.stages.iter().map(|row| row.time_ns.max).collect::<Vec<_>>(), [10, 20, 40, 80, 5]);
        assert!((p.stages.iter().map(|row| row.share).sum::<f64>() - 1.0).abs() < 1e-5);
        assert_eq!(p.time_to_first_chunk_ns.map(|d| d.max), Some(70));
    }
}
