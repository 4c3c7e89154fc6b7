//! Requests' stages: where the time of a request went, from its arrival to its end.
//!
//! The stages of a request add up to its end-to-end time exactly, to the nanosecond: each is the difference of two
//! neighbouring times, and the time for which it was preempted is taken out of the stage in which it was. A request of
//! which any time is missing, or whose times run backwards, is counted and enters no row.

use serde::{Deserialize, Serialize};

use super::distribution::{Recorder, rounded};
use super::model::Distribution;
use super::points::scramble;
use crate::trace::lifecycle::{Lifecycle, Outcome};

/// Most single requests of a report.
pub const MAX_REQUESTS: usize = 1000;

/// What requests went through.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Whether requests were recorded at all.
    pub recorded: bool,
    /// All that were seen in the window.
    pub seen: u64,
    /// Those with every time: they are in the rows below.
    pub complete: u64,
    /// Finished, but some time is missing: most often they arrived before the window.
    pub incomplete: u64,
    /// Their times run backwards.
    pub disordered: u64,
    /// Given up.
    pub aborted: u64,
    /// No end was seen.
    pub open: u64,
    /// Preemptions of all that were seen.
    pub preemptions: u64,
    /// Stage by stage, in order; their shares add up to 1.
    pub stages: Vec<StageRow>,
    /// From arrival to the end.
    pub end_to_end_ns: Option<Distribution>,
    /// From arrival to the first token.
    pub time_to_first_token_ns: Option<Distribution>,
    /// From the first token to the last, preemption included, by the tokens behind the first.
    pub time_per_output_token_ns: Option<Distribution>,
    /// Single requests, or an even choice of them: stages in the order of `stages`.
    pub rows: Vec<RequestRow>,
}

/// One stage of all complete requests.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StageRow {
    /// What it is called.
    pub stage: String,
    /// Its times.
    pub time_ns: Distribution,
    /// Of the end-to-end time of all.
    pub share: f64,
}

/// One complete request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestRow {
    /// Its number in the engine.
    pub request: u64,
    /// When it arrived, nanoseconds since the epoch.
    pub arrived_ns: u64,
    /// From there to the first token.
    pub time_to_first_token_ns: u64,
    /// Stage by stage.
    pub stages_ns: Vec<u64>,
    /// Tokens of its prompt.
    pub prompt_tokens: Option<u32>,
    /// Tokens that it was given.
    pub output_tokens: Option<u32>,
}

impl RequestRow {
    /// From arrival to the end.
    pub fn total_ns(&self) -> u64 {
        self.stages_ns.iter().fold(0, |sum, &stage| sum.saturating_add(stage))
    }
}

/// The stages, in order.
pub const STAGES: [&str; 6] = ["frontend", "queue", "prefill", "decode", "finish", "preempted"];

/// Why a request is in no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomplete {
    /// Given up.
    Aborted,
    /// No end was seen.
    Open,
    /// Some time is missing.
    Missing,
    /// Its times run backwards, or it was preempted for longer than the stage took.
    Disordered,
}

/// The stages of one request, in the order of [`STAGES`], nanoseconds. Their sum is its end-to-end time.
///
/// # Errors
/// Why it has none.
pub fn stages(lifecycle: &Lifecycle) -> Result<[u64; 6], Incomplete> {
    match lifecycle.outcome {
        Outcome::Finished => {}
        Outcome::Aborted => return Err(Incomplete::Aborted),
        Outcome::Open => return Err(Incomplete::Open),
    }
    let times = [
        lifecycle.arrived_ns,
        lifecycle.queued_ns,
        lifecycle.scheduled_ns,
        lifecycle.first_token_ns,
        lifecycle.last_token_ns,
        lifecycle.finished_ns,
    ];
    let mut stages = [0; 6];
    for (stage, pair) in stages.iter_mut().zip(times.windows(2)) {
        let (Some(begin), Some(end)) = (pair[0], pair[1]) else { return Err(Incomplete::Missing) };
        *stage = end.checked_sub(begin).ok_or(Incomplete::Disordered)?;
    }
    let early = lifecycle.preempted_before_first_token_ns;
    let late = lifecycle.preempted_ns.checked_sub(early).ok_or(Incomplete::Disordered)?;
    stages[2] = stages[2].checked_sub(early).ok_or(Incomplete::Disordered)?;
    stages[3] = stages[3].checked_sub(late).ok_or(Incomplete::Disordered)?;
    stages[5] = lifecycle.preempted_ns;
    Ok(stages)
}

/// Takes requests.
#[derive(Debug, Default)]
pub(super) struct RequestRecorder {
    requests: Requests,
    stages: [Recorder; 6],
    end_to_end: Recorder,
    first_token: Recorder,
    per_token: Recorder,
    halvings: u32,
}

impl RequestRecorder {
    pub(super) fn add(&mut self, lifecycle: &Lifecycle) {
        let requests = &mut self.requests;
        requests.seen += 1;
        requests.preemptions += u64::from(lifecycle.preemptions);
        let stages = match stages(lifecycle) {
            Ok(stages) => stages,
            Err(Incomplete::Aborted) => return requests.aborted += 1,
            Err(Incomplete::Open) => return requests.open += 1,
            Err(Incomplete::Missing) => return requests.incomplete += 1,
            Err(Incomplete::Disordered) => return requests.disordered += 1,
        };
        requests.complete += 1;
        for (recorder, &stage) in self.stages.iter_mut().zip(&stages) {
            recorder.add(stage);
        }
        let arrived_ns = lifecycle.arrived_ns.unwrap_or_default();
        let first_ns = lifecycle.first_token_ns.unwrap_or_default();
        self.end_to_end.add(stages.iter().sum());
        self.first_token.add(first_ns - arrived_ns);
        if let Some(further) = lifecycle.output_tokens.and_then(|tokens| tokens.checked_sub(1)).filter(|&n| n > 0) {
            self.per_token.add((lifecycle.last_token_ns.unwrap_or_default() - first_ns) / u64::from(further));
        }
        self.choose(lifecycle, arrived_ns, &stages);
    }

    /// By its number, as points are chosen.
    fn choose(&mut self, lifecycle: &Lifecycle, arrived_ns: u64, stages: &[u64; 6]) {
        let is_chosen = |request: u64, halvings: u32| scramble(request).leading_zeros() >= halvings;
        if !is_chosen(lifecycle.request, self.halvings) {
            return;
        }
        self.requests.rows.push(RequestRow {
            request: lifecycle.request,
            arrived_ns,
            time_to_first_token_ns: lifecycle.first_token_ns.unwrap_or(arrived_ns) - arrived_ns,
            stages_ns: stages.to_vec(),
            prompt_tokens: lifecycle.prompt_tokens,
            output_tokens: lifecycle.output_tokens,
        });
        while self.requests.rows.len() > MAX_REQUESTS {
            self.halvings += 1;
            let halvings = self.halvings;
            self.requests.rows.retain(|row| is_chosen(row.request, halvings));
        }
    }

    pub(super) fn finish(mut self, recorded: bool) -> Requests {
        let all = self.end_to_end.sum();
        self.requests.recorded = recorded;
        self.requests.rows.sort_by_key(|row| (row.arrived_ns, row.request));
        let rows = STAGES.iter().zip(&self.stages).filter_map(|(stage, recorder)| {
            let share = if all == 0 { 0.0 } else { rounded(recorder.sum() as f64 / all as f64) };
            Some(StageRow { stage: (*stage).into(), time_ns: recorder.distribution()?, share })
        });
        Requests {
            stages: rows.collect(),
            end_to_end_ns: self.end_to_end.distribution(),
            time_to_first_token_ns: self.first_token.distribution(),
            time_per_output_token_ns: self.per_token.distribution(),
            ..self.requests
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(times: [u64; 6]) -> Lifecycle {
        Lifecycle {
            arrived_ns: Some(times[0]),
            queued_ns: Some(times[1]),
            scheduled_ns: Some(times[2]),
            first_token_ns: Some(times[3]),
            last_token_ns: Some(times[4]),
            finished_ns: Some(times[5]),
            outcome: Outcome::Finished,
            output_tokens: Some(11),
            ..Lifecycle::default()
        }
    }

    #[test]
    fn preempted_time_is_taken_out_of_the_stage_in_which_it_was() {
        let plain = whole([10, 20, 40, 80, 160, 165]);
        assert_eq!(stages(&plain), Ok([10, 20, 40, 80, 5, 0]));
        let preempted =
            Lifecycle { preempted_ns: 50, preempted_before_first_token_ns: 15, preemptions: 2, ..plain.clone() };
        assert_eq!(stages(&preempted), Ok([10, 20, 25, 45, 5, 50]));
        let longer = Lifecycle { preempted_ns: 41, preempted_before_first_token_ns: 41, ..plain.clone() };
        assert_eq!(stages(&longer), Err(Incomplete::Disordered));
        let more_early_than_ever = Lifecycle { preempted_before_first_token_ns: 1, ..plain };
        assert_eq!(stages(&more_early_than_ever), Err(Incomplete::Disordered));
    }

    #[test]
    fn what_is_not_whole_is_counted_and_in_no_row() {
        let mut recorder = RequestRecorder::default();
        let plain = whole([10, 20, 40, 80, 160, 165]);
        recorder.add(&plain);
        recorder.add(&Lifecycle { arrived_ns: None, ..plain.clone() });
        recorder.add(&Lifecycle { finished_ns: Some(1), ..plain.clone() });
        recorder.add(&Lifecycle { outcome: Outcome::Aborted, preemptions: 3, ..plain.clone() });
        recorder.add(&Lifecycle { outcome: Outcome::Open, ..plain });
        let r = recorder.finish(true);
        assert_eq!((r.seen, r.complete, r.incomplete, r.disordered, r.aborted, r.open), (5, 1, 1, 1, 1, 1));
        assert_eq!((r.preemptions, r.rows.len(), r.end_to_end_ns.map(|d| (d.count, d.max))), (3, 1, Some((1, 155))));
        assert_eq!(r.time_to_first_token_ns.map(|d| d.p50), Some(70));
        assert_eq!(r.time_per_output_token_ns.map(|d| d.p50), Some(8));
    }

    #[test]
    fn a_request_of_one_token_has_no_time_per_token() {
        let mut recorder = RequestRecorder::default();
        recorder.add(&Lifecycle { output_tokens: Some(1), ..whole([0, 1, 2, 3, 3, 4]) });
        let r = recorder.finish(true);
        assert_eq!((r.complete, r.time_per_output_token_ns), (1, None));
    }

    #[test]
    fn many_requests_are_an_even_choice_and_the_table_has_all() {
        let mut recorder = RequestRecorder::default();
        (0..10_000).for_each(|request| recorder.add(&Lifecycle { request, ..whole([0, 1, 2, 3, 4, 5]) }));
        let r = recorder.finish(true);
        assert!(r.rows.len() <= MAX_REQUESTS && r.rows.len() > MAX_REQUESTS / 4, "{}", r.rows.len());
        assert_eq!((r.complete, r.stages[0].time_ns.count), (10_000, 10_000));
    }

    proptest! {
        #[test]
        fn stages_add_up_to_end_to_end_and_shares_to_one(
            all in proptest::collection::vec((any::<[u32; 6]>(), 0u64..1000, 0u64..1000), 1..20)) {
            let mut recorder = RequestRecorder::default();
            let mut complete = 0;
            for (steps, early, late) in all {
                let mut times = [1_800_000_000_000_000_000u64; 6];
                for i in 0..6 {
                    times[i] = if i == 0 { times[0] } else { times[i - 1] } + u64::from(steps[i]);
                }
                let request = Lifecycle { preempted_ns: early + late, preempted_before_first_token_ns: early, ..whole(times) };
                if let Ok(stages) = stages(&request) {
                    prop_assert_eq!(stages.iter().sum::<u64>(), times[5] - times[0]);
                    complete += 1;
                }
                recorder.add(&request);
            }
            let r = recorder.finish(true);
            prop_assert_eq!(r.complete, complete);
            if r.end_to_end_ns.as_ref().is_some_and(|d| d.max > 0) {
                let shares: f64 = r.stages.iter().map(|row| row.share).sum();
                prop_assert!((shares - 1.0).abs() < 1e-5, "{shares}");
            }
        }
    }
}
