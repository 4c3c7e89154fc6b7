//! What happened to requests: the moments that the processes of an engine told, put together by request.
//!
//! Moments come from several fragments, told early or late, so a request is known once all have been read. Of most moments
//! the earliest counts; a request may be scheduled and preempted many times. Nothing is made up: a stage is drawn between
//! two moments that were told. Memory is bounded by [`MAX_REQUESTS`]; what is beyond is left out and counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use super::event::Event;
use super::fragment::FragmentReader;
use super::lifecycle::{Lifecycle, Outcome};
use super::recorded::{Moment, RequestMoment};
use super::ring::Ring;

/// Most requests of a capture.
pub(super) const MAX_REQUESTS: usize = 1 << 16;
/// Most times that one request is seen scheduled or preempted.
const MAX_TURNS: usize = 1024;

/// One request, as far as it was told.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) request: u64,
    pub(super) label: Option<Rc<str>>,
    times: [Option<u64>; 8],
    /// When it was scheduled (`true`) and preempted.
    turns: Vec<(u64, bool)>,
    prompt_tokens: u32,
    output_tokens: u32,
    /// As it was told with its end: an engine may have gone on for a step.
    finished_tokens: Option<u32>,
    pub(super) cached_tokens: u32,
}

/// Ids of requests, by job and number.
pub(super) type Labels = BTreeMap<String, BTreeMap<u64, Rc<str>>>;

/// All requests of a capture, by job and number.
#[derive(Debug, Default)]
pub(super) struct Requests {
    courses: BTreeMap<(String, u64), Course>,
    /// Moments of requests that were too many.
    pub(super) left_out: u64,
    /// Whether any moment was told.
    pub(super) told: bool,
}

impl Requests {
    /// Reads one fragment.
    pub(super) fn read(&mut self, job: &str, reader: &mut FragmentReader, ns: impl Fn(u64) -> u64) {
        let mut rings: BTreeMap<u32, Ring> = BTreeMap::new();
        reader.rewind();
        // What can't be read was found and told by the first pass.
        while let Ok(Some(block)) = reader.next_block() {
            let ring = rings.entry(block.ring).or_default();
            for event in block.events().flatten() {
                match event {
                    Event::Text(part) => ring.take(&part),
                    Event::Request(moment) => {
                        let label = (moment.id != 0).then(|| ring.text_if_known(moment.id)).flatten();
                        self.take(job, &moment, ns(moment.ticks), label);
                    }
                    _ => {}
                }
            }
        }
    }

    fn take(&mut self, job: &str, told: &RequestMoment, at_ns: u64, label: Option<Rc<str>>) {
        self.told = true;
        let full = self.courses.len() >= MAX_REQUESTS;
        let course = match self.courses.entry((job.to_owned(), told.request)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => {
                self.left_out += 1;
                return;
            }
            Entry::Vacant(entry) => entry.insert(Course { request: told.request, ..Course::default() }),
        };
        if course.label.is_none() {
            course.label = label;
        }
        course.prompt_tokens = course.prompt_tokens.max(told.prompt_tokens);
        course.output_tokens = course.output_tokens.max(told.output_tokens);
        course.cached_tokens = course.cached_tokens.max(told.cached_tokens);
        if told.moment == Moment::Finished && course.at(Moment::Finished).is_none_or(|time| at_ns < time) {
            course.finished_tokens = Some(told.output_tokens).filter(|&tokens| tokens != 0);
        }
        let time = &mut course.times[told.moment as usize];
        *time = Some(match (*time, told.moment) {
            // A last token that is told again was not the last one.
            (Some(time), Moment::LastToken) => time.max(at_ns),
            (Some(time), _) => time.min(at_ns),
            (None, _) => at_ns,
        });
        if matches!(told.moment, Moment::Scheduled | Moment::Preempted) && course.turns.len() < MAX_TURNS {
            course.turns.push((at_ns, told.moment == Moment::Scheduled));
        }
    }

    /// What requests are known by, where that was told.
    pub(super) fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        for ((job, request), course) in &self.courses {
            if let Some(label) = &course.label {
                labels.entry(job.clone()).or_default().insert(*request, label.clone());
            }
        }
        labels
    }

    /// Those that touch a window, by when they begin. `window` says when a job's opened and closed.
    pub(super) fn touching(mut self, window: impl Fn(&str) -> (u64, u64)) -> Vec<Course> {
        let mut courses = Vec::new();
        for ((job, _), mut course) in std::mem::take(&mut self.courses) {
            let (opened_ns, closed_ns) = window(&job);
            course.settle();
            let ended_ns = course.ended_ns().unwrap_or(u64::MAX);
            if course.begin_ns().is_some_and(|begin_ns| begin_ns <= closed_ns) && ended_ns >= opened_ns {
                courses.push(course);
            }
        }
        courses.sort_by_key(|course| (course.begin_ns(), course.request));
        courses
    }
}

impl Course {
    pub(super) fn at(&self, moment: Moment) -> Option<u64> {
        self.times[moment as usize]
    }

    /// Puts its turns in order, each once.
    fn settle(&mut self) {
        self.turns.sort_unstable();
        self.turns.dedup_by(|next, last| next.1 == last.1);
    }

    /// The first moment that was told.
    pub(super) fn begin_ns(&self) -> Option<u64> {
        self.times.iter().flatten().copied().min()
    }

    /// When it was over; `None`: it was not seen to be.
    pub(super) fn ended_ns(&self) -> Option<u64> {
        self.at(Moment::Finished).into_iter().chain(self.at(Moment::Aborted)).min()
    }

    /// When it was back in the queue, and until when; without an end: it still was.
    pub(super) fn preempted(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        let ended_ns = self.ended_ns();
        self.turns.iter().enumerate().filter(|(_, turn)| !turn.1).map(move |(i, turn)| {
            let resumed_ns = self.turns.get(i + 1).map(|next| next.0).or(ended_ns);
            (turn.0, resumed_ns.map(|ns| ns.max(turn.0)))
        })
    }

    /// As the report reads it.
    pub(super) fn lifecycle(&self) -> Lifecycle {
        let first_token_ns = self.at(Moment::FirstToken);
        let whole = || self.preempted().filter_map(|(from, to)| Some((from, to?)));
        let before = |(from, to): (u64, u64)| to.min(first_token_ns.unwrap_or(to)).saturating_sub(from);
        // What a front end's stop string ends is finished there, and then aborted in the engine.
        let outcome = match (self.at(Moment::Finished), self.at(Moment::Aborted)) {
            (Some(finished_ns), Some(aborted_ns)) if finished_ns <= aborted_ns => Outcome::Finished,
            (_, Some(_)) => Outcome::Aborted,
            (Some(_), None) => Outcome::Finished,
            (None, None) => Outcome::Open,
        };
        let finished_tokens = self.finished_tokens.filter(|_| outcome == Outcome::Finished);
        let output_tokens = finished_tokens.unwrap_or(self.output_tokens);
        Lifecycle {
            request: self.request,
            label: self.label.as_deref().map(Into::into),
            arrived_ns: self.at(Moment::Arrived),
            queued_ns: self.at(Moment::Queued),
            scheduled_ns: self.at(Moment::Scheduled),
            first_token_ns,
            last_token_ns: self.at(Moment::LastToken),
            finished_ns: self.ended_ns(),
            preempted_ns: whole().map(|(from, to)| to - from).sum(),
            preempted_before_first_token_ns: whole().map(before).sum(),
            preemptions: self.preempted().count() as u32,
            outcome,
            prompt_tokens: Some(self.prompt_tokens).filter(|&tokens| tokens != 0),
            output_tokens: (outcome != Outcome::Open || output_tokens != 0).then_some(output_tokens),
        }
    }

    /// The stages that were told whole, and the last one of a request that goes on, without an end: name, from, to.
    pub(super) fn stages(&self) -> Vec<(&'static str, u64, Option<u64>)> {
        const STAGES: [(&str, Moment, Moment); 5] = [
            ("frontend", Moment::Arrived, Moment::Queued),
            ("queued", Moment::Queued, Moment::Scheduled),
            ("prefill", Moment::Scheduled, Moment::FirstToken),
            ("decode", Moment::FirstToken, Moment::LastToken),
            ("finish", Moment::LastToken, Moment::Finished),
        ];
        let ended_ns = self.ended_ns();
        let mut stages = Vec::new();
        let mut floor_ns = 0;
        for (name, from, to) in STAGES {
            // Clocks of two processes, or of the wall, may be at odds: nothing is drawn backwards.
            let Some(from_ns) = self.at(from).filter(|&ns| ns >= floor_ns) else { continue };
            let goes_on = STAGES.iter().skip_while(|stage| stage.1 != to).any(|stage| self.at(stage.1).is_some());
            match self.at(to).or_else(|| ended_ns.filter(|_| !goes_on)) {
                Some(to_ns) if to_ns >= from_ns => {
                    stages.push((name, from_ns, Some(to_ns)));
                    floor_ns = to_ns;
                }
                None if !goes_on => {
                    stages.push((name, from_ns, None));
                    break;
                }
                Some(_) | None => {}
            }
        }
        stages
    }
}
