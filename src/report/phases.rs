//! Iterations by phase: durations, intervals, gaps, device times, tokens.

use super::distribution::{Recorder, rounded};
use super::model::{BatchFacts, Phase, PhaseRow};
use crate::trace::event::{Flags, Iteration};

/// What is known of one iteration once the next one of its rank is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) phase: Phase,
    /// Null where its end is not known.
    pub(super) duration_ns: Option<u64>,
    /// Null where the next one is missing.
    pub(super) interval_ns: Option<u64>,
    pub(super) device_ns: Option<u64>,
    /// There was work at its end: a request of the next iteration's decode.
    pub(super) is_followed: bool,
    pub(super) batch: Option<BatchFacts>,
}

impl Measured {
    pub(super) fn gap_ns(&self) -> Option<u64> {
        Some(self.interval_ns?.saturating_sub(self.duration_ns?))
    }

    /// The time that is this iteration's: to the next one's begin, where there was work to go on with; else its call.
    pub(super) fn time_ns(&self) -> Option<u64> {
        self.interval_ns.filter(|_| self.is_followed).or(self.duration_ns)
    }
}

/// The phase of an iteration.
pub(super) fn phase_of(iteration: &Iteration) -> Phase {
    let batch = iteration.batch;
    match (iteration.flags.has(Flags::DUMMY), iteration.flags.has(Flags::NO_BATCH)) {
        (true, _) => Phase::Dummy,
        (false, true) => Phase::Unknown,
        (false, false) => match (batch.context_requests > 0, batch.generation_requests > 0) {
            (true, true) => Phase::Mixed,
            (true, false) => Phase::Prefill,
            (false, true) => Phase::Decode,
            (false, false) => Phase::Unknown,
        },
    }
}

/// Takes iterations of one phase.
#[derive(Debug, Default)]
pub(super) struct PhaseRecorder {
    iterations: u64,
    pub(super) duration: Recorder,
    interval: Recorder,
    gap: Recorder,
    device: Recorder,
    /// The time that is theirs.
    pub(super) time: Recorder,
    context_tokens: u64,
    generation_tokens: u64,
    /// Tokens of iterations that have a time.
    timed_tokens: u64,
}

impl PhaseRecorder {
    pub(super) fn add(&mut self, measured: &Measured) {
        self.iterations += 1;
        let pairs = [
            (&mut self.duration, measured.duration_ns),
            (&mut self.interval, measured.interval_ns),
            (&mut self.gap, measured.gap_ns()),
            (&mut self.device, measured.device_ns),
            (&mut self.time, measured.time_ns()),
        ];
        for (recorder, value) in pairs {
            if let Some(value) = value {
                recorder.add(value);
            }
        }
        if let Some(batch) = measured.batch {
            let (context, generation) = (u64::from(batch.context_tokens), u64::from(batch.generation_tokens));
            self.context_tokens += context;
            self.generation_tokens += generation;
            if measured.time_ns().is_some() {
                self.timed_tokens += context + generation;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iterations == 0
    }

    /// `all_ns`: the time of all phases. `ranks`: how many ranks work on batches of their own.
    pub(super) fn row(&self, phase: Phase, all_ns: u128, ranks: f64) -> PhaseRow {
        let time_ns = self.time.sum();
        let tells_tokens = time_ns > 0 && self.timed_tokens > 0;
        PhaseRow {
            phase,
            iterations: self.iterations,
            duration_ns: self.duration.distribution(),
            interval_ns: self.interval.distribution(),
            gap_ns: self.gap.distribution(),
            device_ns: self.device.distribution(),
            share_of_time: rounded(if all_ns == 0 { 0.0 } else { time_ns as f64 / all_ns as f64 }),
            context_tokens: self.context_tokens,
            generation_tokens: self.generation_tokens,
            tokens_per_second: tells_tokens.then(|| rounded(self.timed_tokens as f64 / (time_ns as f64 / 1e9) * ranks)),
            durations: self.duration.bins(),
        }
    }
}
