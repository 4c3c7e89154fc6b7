//! What happens to the simulated engine's requests, told through the recorder as an engine's scheduler would.

use std::collections::BTreeMap;

use crate::agent::api::recorder::{self, Moment, Name, RequestMoment, Value};
use crate::agent::api::{self, Rank};

use super::batching::{Batching, Request, Scheduled};

/// The scheduler's process joins.
pub fn join(job: &str) {
    let scheduler = Rank {
        job: job.into(),
        engine: concat!("simulated ", env!("CARGO_PKG_VERSION")).into(),
        label: "scheduler".into(),
        is_source: true,
        ..Rank::default()
    };
    // An engine runs on without its profiler.
    let _ = api::join(&scheduler);
}

/// One that is not through yet.
#[derive(Debug, Clone, Default)]
struct Life {
    id: String,
    request: u64,
    prompt: u32,
    /// What happened so far, and when: a capture that begins later is told of it too.
    past: Vec<(Moment, u64, u64)>,
}

/// The requests of one group.
#[derive(Debug)]
pub struct Lives {
    group: u64,
    capture: u64,
    running: BTreeMap<u64, Life>,
    schedule: Name,
    category: Name,
    waiting: Name,
    requests_waiting: Name,
    requests_running: Name,
}

impl Lives {
    /// Of this group.
    pub fn new(group: u64) -> Self {
        Self {
            group,
            capture: 0,
            running: BTreeMap::new(),
            schedule: Name::new("schedule"),
            category: Name::new("scheduler"),
            waiting: Name::new("waiting"),
            requests_waiting: Name::new("requests waiting"),
            requests_running: Name::new("requests running"),
        }
    }

    /// The same with the numbers of the recorder.
    pub fn numbered(&self, served: &[(u64, u32)]) -> Vec<(u64, u32)> {
        let number = |number: &u64| self.running.get(number).map_or(0, |life| life.request);
        served.iter().map(|(request, tokens)| (number(request), *tokens)).collect()
    }

    /// Schedules iteration `iteration` under the eyes of the recorder.
    pub fn schedule(&mut self, iteration: u64, batching: &mut Batching) -> Scheduled {
        self.tell_the_past();
        let mut span = recorder::span(self.schedule, self.category);
        let scheduled = batching.schedule();
        let (waiting, running) = batching.queues();
        span.argument(self.waiting, Value::Unsigned(waiting as u64));
        drop(span);
        for request in &scheduled.arrived {
            let id = format!("group{}-request{}", self.group, request.number);
            let life = Life { request: recorder::request_number(&id), id, prompt: request.prompt, past: Vec::new() };
            self.running.insert(request.number, life);
            self.happened(request.number, Moment::Arrived, 0, 0);
            self.happened(request.number, Moment::Queued, 0, 0);
        }
        for number in &scheduled.begun {
            self.happened(*number, Moment::Scheduled, iteration, 0);
        }
        if recorder::recording().is_some() {
            recorder::counter(self.requests_waiting, waiting as f64);
            recorder::counter(self.requests_running, running as f64);
        }
        scheduled
    }

    /// The iteration is done, and its tokens are there.
    pub fn put_out(&mut self, iteration: u64, scheduled: &Scheduled) {
        let mut all = |requests: &[Request], moments: &[Moment]| {
            for request in requests {
                for moment in moments {
                    self.happened(request.number, *moment, iteration, request.output);
                }
            }
        };
        all(&scheduled.first_token, &[Moment::FirstToken]);
        all(&scheduled.done, &[Moment::LastToken, Moment::Finished]);
        for request in &scheduled.done {
            self.running.remove(&request.number);
        }
    }

    fn happened(&mut self, number: u64, moment: Moment, iteration: u64, output_tokens: u32) {
        let Some(life) = self.running.get_mut(&number) else { return };
        let at = recorder::now();
        life.past.push((moment, at, iteration));
        let told = RequestMoment { at, iteration, output_tokens, ..RequestMoment::new(life.request, moment) };
        recorder::request(&RequestMoment { prompt_tokens: life.prompt, id: &life.id, ..told });
    }

    /// A capture that began since the last iteration hears of what runs already.
    fn tell_the_past(&mut self) {
        let capture = recorder::recording().map_or(0, |capture| capture.get());
        if capture != 0 && capture != self.capture {
            for life in self.running.values() {
                for &(moment, at, iteration) in &life.past {
                    let told = RequestMoment { at, iteration, ..RequestMoment::new(life.request, moment) };
                    recorder::request(&RequestMoment { prompt_tokens: life.prompt, id: &life.id, ..told });
                }
            }
        }
        self.capture = capture;
    }
}
