//! A request that passed through the sidecar on its way to the engine, and its way into a trace.
//!
//! In a fragment of its own (role [`PROXY`](super::fragment::PROXY)) it stands as what any process tells of itself: spans with
//! arguments on a logical track. Tracks are places: requests that are under way at once have one each, and a place that is
//! free again is the next one's. So the exporter needs to know nothing of it, and the process stands beside the
//! engine's, apart from what the engine tells of the same requests. Its ticks are CLOCK_MONOTONIC itself.
//!
//! Stages are told with their durations as arguments of the request too, which is where the report reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::event::{Event, TEXT_BYTES, TEXT_PART_BYTES, TextPart};
use super::merge::Merge;
use super::meta::ExportMeta;
use super::recorded::{ArgumentValue, Recorded, RecordedArgument, Shape, TrackName};
use super::ring::Ring;
use super::writer::Value;

/// What its fragment calls itself.
pub const LABEL: &str = "proxy";

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// The whole answer went through.
    Finished,
    /// The client went first.
    ClientLeft,
    /// The engine was not there, or broke off.
    EngineFailed,
    /// It could not be passed on: it may be read in two ways.
    Refused,
    /// It is still under way.
    #[default]
    Open,
}

impl Ending {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Finished, "finished"),
        (Self::ClientLeft, "client left"),
        (Self::EngineFailed, "engine failed"),
        (Self::Refused, "refused"),
        (Self::Open, "open"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(ending, _)| *ending == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(ending, _)| *ending)
    }
}

/// When it got where, CLOCK_MONOTONIC nanoseconds; 0: it did not (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedTimes {
    /// Its head was read.
    pub accepted_ns: u64,
    /// There was a connection, and it went out.
    pub forwarded_ns: u64,
    /// The head of the answer was there.
    pub head_ns: u64,
    /// The first piece of the answer's body.
    pub first_ns: u64,
    /// The last one.
    pub last_ns: u64,
    /// It was over.
    pub ended_ns: u64,
}

/// The stages, in order.
pub const STAGES: [&str; 5] = ["connect", "engine", "first chunk", "stream", "close"];

impl PassedTimes {
    /// Begin and end of each stage that was passed through; of a body without pieces the two in the middle take no time.
    pub fn stages(&self) -> [Option<(u64, u64)>; 5] {
        let has_ended = self.ended_ns != 0 && self.head_ns != 0;
        let piece = |ns: u64| if ns == 0 && has_ended { self.head_ns } else { ns };
        let (first_ns, last_ns) = (piece(self.first_ns), piece(self.last_ns));
        let ended_ns = if has_ended { self.ended_ns } else { 0 };
        // The last piece is only known as such when the end is.
        let last_ns = if has_ended { last_ns } else { 0 };
        let times = [self.accepted_ns, self.forwarded_ns, self.head_ns, first_ns, last_ns, ended_ns];
        let mut stages = [None; 5];
        for (stage, pair) in stages.iter_mut().zip(times.windows(2)) {
            *stage = (pair[0] != 0 && pair[1] >= pair[0]).then_some((pair[0], pair[1]));
        }
        stages
    }
}

/// One request. Never anything of its body, its query or its credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passed {
    /// Its place, from 1.
    pub place: u32,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What the client sent as `X-Request-Id`.
    pub request_id: Option<String>,
    /// The answer's status; 0: there is none.
    pub status: u16,
    /// When it got where.
    pub times: PassedTimes,
    /// Pieces of the answer's body.
    pub chunks: u64,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// How it ended.
    pub ending: Ending,
}

/// Slots of the texts, from 1, and what stands in them.
const WORDS: [&str; 15] = [
    LABEL,
    "request",
    STAGES[0],
    STAGES[1],
    STAGES[2],
    STAGES[3],
    STAGES[4],
    "method",
    "path",
    "x_request_id",
    "status",
    "outcome",
    "bytes",
    "chunks",
    "total_ns",
];
/// The slot for names of tracks.
const PLACE_SLOT: u16 = WORDS.len() as u16 + 1;

fn slot(word: &str) -> u16 {
    WORDS.iter().position(|known| *known == word).map_or(0, |at| at as u16 + 1)
}

/// Makes events of requests.
#[derive(Debug, Default)]
pub struct Script {
    begun: bool,
    named: BTreeSet<u32>,
}

impl Script {
    /// Appends the events of one request; `now_ns` ends what is still under way.
    pub fn write(&mut self, passed: &Passed, now_ns: u64, events: &mut Vec<Event>) {
        if !self.begun {
            self.begun = true;
            WORDS.iter().zip(1..).for_each(|(word, slot)| text(slot, word, events));
        }
        if self.named.insert(passed.place) {
            text(PLACE_SLOT, &format!("in flight {}", passed.place), events);
            events.push(Event::Track(TrackName { track: passed.place.into(), name: PLACE_SLOT }));
        }
        let times = passed.times;
        let track = u64::from(passed.place);
        let span = |name, begin_ticks, end_ticks, depth, arguments| {
            Event::Recorded(Recorded {
                shape: Shape::Span,
                begin_ticks,
                end_ticks,
                name,
                category: slot(LABEL),
                depth,
                arguments,
                track,
                device_ns: None,
                flow: None,
            })
        };
        let end_ns = if times.ended_ns == 0 { now_ns.max(times.accepted_ns) } else { times.ended_ns };
        let stages = times.stages();
        let mut reached_ns = times.accepted_ns;
        for (name, stage) in STAGES.iter().zip(stages) {
            let Some((begin_ns, stage_end_ns)) = stage else { break };
            // What takes no time at all is no slice to viewers.
            if stage_end_ns > begin_ns {
                events.push(span(slot(name), begin_ns, stage_end_ns, 1, 0));
            }
            reached_ns = stage_end_ns;
        }
        let under_way = stages.iter().position(Option::is_none);
        if let Some(name) = under_way.and_then(|stage| STAGES.get(stage))
            && end_ns > reached_ns
        {
            events.push(span(slot(name), reached_ns, end_ns, 1, 0));
        }
        let mut count = 0;
        let mut number = |key: &str, value: u64, events: &mut Vec<Event>| {
            events.push(Event::Argument(RecordedArgument { key: slot(key), value: ArgumentValue::Unsigned(value) }));
            count += 1;
        };
        number("total_ns", end_ns - times.accepted_ns, events);
        for (name, stage) in STAGES.iter().zip(stages) {
            if let Some((begin_ns, end_ns)) = stage {
                number(name, end_ns - begin_ns, events);
            }
        }
        if passed.status != 0 {
            number("status", passed.status.into(), events);
        }
        number("bytes", passed.bytes, events);
        number("chunks", passed.chunks, events);
        let texts = [("method", Some(&*passed.method)), ("path", Some(&*passed.path))];
        let more = [("x_request_id", passed.request_id.as_deref()), ("outcome", Some(passed.ending.word()))];
        for (key, value) in texts.into_iter().chain(more) {
            if let Some(value) = value {
                argument(slot(key), value, events);
                count += 1;
            }
        }
        events.push(span(slot("request"), times.accepted_ns, end_ns, 0, count));
    }
}

fn parts(value: &str) -> impl Iterator<Item = (u16, u16, [u8; TEXT_PART_BYTES])> {
    let value = &value.as_bytes()[..value.floor_char_boundary(TEXT_BYTES)];
    let empty: &[u8] = &[];
    let chunks = value.chunks(TEXT_PART_BYTES).chain(value.is_empty().then_some(empty));
    (0..).zip(chunks).map(|(part, chunk)| {
        let mut bytes = [0; TEXT_PART_BYTES];
        bytes[..chunk.len()].copy_from_slice(chunk);
        (part, value.len() as u16, bytes)
    })
}

fn text(slot: u16, value: &str, events: &mut Vec<Event>) {
    let parts = parts(value).map(|(part, length, bytes)| Event::Text(TextPart { slot, part, length, bytes }));
    events.extend(parts);
}

fn argument(key: u16, value: &str, events: &mut Vec<Event>) {
    let value = parts(value).map(|(part, length, bytes)| ArgumentValue::Text(part, length, bytes));
    events.extend(value.map(|value| Event::Argument(RecordedArgument { key, value })));
}

/// What the report reads of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedStages {
    /// How it ended.
    pub ending: Ending,
    /// From its acceptance to its end, or to the capture's.
    pub total_ns: u64,
    /// How long each stage took.
    pub stages_ns: [Option<u64>; 5],
}

/// Hands on every request that passed through a sidecar and touches the window. `false`: none was recorded.
pub fn each_passed(fragments: &[PathBuf], meta: &ExportMeta, take: &mut dyn FnMut(PassedStages)) -> bool {
    let mut merge = Merge::open(fragments, meta, false);
    let mut is_there = false;
    for lane in merge.lanes.iter_mut().filter(|lane| lane.is_proxy()) {
        is_there = true;
        let window = meta.window(&lane.identity.job);
        let clock = lane.clock;
        let mut rings: BTreeMap<u32, Ring> = BTreeMap::new();
        lane.each_block(|block| {
            let ring = rings.entry(block.ring).or_default();
            for event in block.events().flatten() {
                match event {
                    Event::Text(part) => ring.take(&part),
                    Event::Argument(argument) => ring.argument(&argument),
                    Event::Recorded(event) => {
                        let (begin_ns, end_ns) =
                            (clock.realtime_ns(event.begin_ticks), clock.realtime_ns(event.end_ticks));
                        if event.depth == 0 && end_ns >= window.0 && begin_ns <= window.1 {
                            take(told(ring, event.arguments));
                        }
                        ring.forget_arguments();
                    }
                    _ => {}
                }
            }
        });
    }
    is_there
}

fn told(ring: &Ring, arguments: u16) -> PassedStages {
    let mut told = PassedStages::default();
    for (key, value) in ring.arguments(arguments) {
        match value {
            Value::Number(number) => {
                if key == "total_ns" {
                    told.total_ns = number;
                } else if let Some(stage) = STAGES.iter().position(|stage| *stage == key) {
                    told.stages_ns[stage] = Some(number);
                }
            }
            Value::Text(word) if key == "outcome" => told.ending = Ending::of(word).unwrap_or_default(),
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_a_whole_request_add_up_and_an_answer_without_a_body_has_none_in_the_middle() {
        let whole =
            PassedTimes { accepted_ns: 10, forwarded_ns: 20, head_ns: 40, first_ns: 80, last_ns: 160, ended_ns: 165 };
        let lengths = |times: PassedTimes| times.stages().map(|stage| stage.map(|(from, to)| to - from));
        assert_eq!(lengths(whole), [10, 20, 40, 80, 5].map(Some));
        let empty = PassedTimes { first_ns: 0, last_ns: 0, ..whole };
        assert_eq!(lengths(empty), [10, 20, 0, 0, 125].map(Some));
        let open = PassedTimes { ended_ns: 0, ..whole };
        assert_eq!(lengths(open), [Some(10), Some(20), Some(40), None, None]);
        let waiting = PassedTimes { accepted_ns: 10, forwarded_ns: 20, ..PassedTimes::default() };
        assert_eq!(lengths(waiting), [Some(10), None, None, None, None]);
        let failed = PassedTimes { ended_ns: 30, ..waiting };
        assert_eq!(lengths(failed), [Some(10), None, None, None, None]);
    }

    #[test]
    fn what_is_written_is_read_back_and_long_texts_are_cut_between_characters() {
        let passed = Passed {
            place: 3,
            method: "POST".into(),
            path: "/ä".repeat(200),
            request_id: Some("id".into()),
            status: 200,
            times: PassedTimes {
                accepted_ns: 10,
                forwarded_ns: 20,
                head_ns: 40,
                first_ns: 80,
                last_ns: 160,
                ended_ns: 165,
            },
            chunks: 4,
            bytes: 400,
            ending: Ending::Finished,
        };
        let mut events = Vec::new();
        Script::default().write(&passed, 500, &mut events);
        let mut ring = Ring::default();
        let mut read = Vec::new();
        for event in events {
            match event {
                Event::Text(part) => ring.take(&part),
                Event::Argument(argument) => ring.argument(&argument),
                Event::Recorded(event) => {
                    if event.depth == 0 {
                        read.push(told(&ring, event.arguments));
                        let path = ring.arguments(event.arguments).find(|(key, _)| *key == "path");
                        assert_eq!(path, Some(("path", Value::Text(&"/ä".repeat(80)))));
                    }
                    ring.forget_arguments();
                }
                _ => {}
            }
        }
        let stages_ns = [10, 20, 40, 80, 5].map(Some);
        assert_eq!(read, [PassedStages { ending: Ending::Finished, total_ns: 155, stages_ns }]);
    }
}
