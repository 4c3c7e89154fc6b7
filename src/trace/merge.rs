//! The streaming merge under trace and ledger: all fragments of a capture, iteration by iteration, by begin time.
//!
//! * A rank's events may come from several rings (the engine moved its loop to another thread), whose blocks lie in the
//!   file in the order in which they were drained. A bounded reorder buffer per fragment sorts them; what is later still
//!   is left out and counted as `disordered`, so that times never run backwards on a track.
//! * An iteration is handed on when the next one of its rank is known: its end is then clamped to that one's begin, and
//!   slices of a track are disjoint whatever the fragment says.
//! * The fragment of the sidecar's own counters is no rank: it stands beside the lanes.
//! * All ranks of a host share CLOCK_MONOTONIC, so they share one way to the epoch too, that of the newest anchor: else
//!   a wall clock that is set would shift ranks against each other. A fragment whose own differs by a second or more
//!   (another time namespace) keeps its own, unless the anchors tell that the wall clock was set by that much.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque, binary_heap::PeekMut};
use std::io;
use std::path::PathBuf;

use super::clock::{ClockMap, WallClock, realtime_offset_ns};
use super::counters::Counters;
use super::event::{Event, Flags, Iteration, Thread};
use super::fragment::{Block, COUNTERS, FragmentError, FragmentIdentity, FragmentReader, FragmentScan, PROXY};
use super::meta::ExportMeta;
use super::requests::Requests;
use super::told::{Times, ToldCounts, ToldSink, each_told};

const REORDER_EVENTS: usize = 4096;
const REORDER_EVENTS_ALL_RANKS: usize = 128 * 1024;
const MAX_THREADS: usize = 64;
const MAX_DROP_POINTS: usize = 256;
/// Requests of iterations that are read and not handed on yet; a lane that has more reads no further ahead.
const SERVED_AHEAD: usize = 64 * 1024;
pub(super) const SAME_CLOCK_NS: u128 = 1_000_000_000;

/// An iteration with its times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) iteration: Iteration,
    pub(super) begin_ns: u64,
    pub(super) end_ns: u64,
    /// Begin of the next iteration of the same rank.
    pub(super) next_begin_ns: Option<u64>,
    /// The end was moved.
    pub(super) clamped: bool,
}

/// One fragment in the merge.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) identity: FragmentIdentity,
    pub(super) clock: ClockMap,
    pub(super) threads: Vec<Thread>,
    /// Drop counts in the order they grew: when, and how many then.
    pub(super) drops: Vec<(u64, u64)>,
    pub(super) dropped_total: u64,
    pub(super) iterations: u64,
    pub(super) first_iteration: Option<u64>,
    pub(super) last_iteration: Option<u64>,
    /// Left out: they came too late to be put in order.
    pub(super) disordered: u64,
    /// Left out: a kind that this version does not know.
    pub(super) unknown: u64,
    /// What became of all that it tells besides; for whoever exports it.
    pub(super) told: ToldCounts,
    pub(super) cut_bytes: u64,
    /// The file system stopped the reading.
    pub(super) unreadable: Option<String>,
    pub(super) head: Option<Placed>,
    first: u64,
    last: u64,
    tells: bool,
    /// Iteration, number of a request, tokens: in the order in which they were told.
    served: VecDeque<(u64, u64, u32)>,
    reader: FragmentReader,
    exhausted: bool,
    waiting: VecDeque<Iteration>,
    reorder: usize,
    held: Option<Iteration>,
    newest_ticks: u64,
}

impl Lane {
    fn new(reader: FragmentReader, scan: &FragmentScan, meta: &ExportMeta, reorder: usize) -> Self {
        let identity = scan.identity.clone();
        let first_anchor = scan.first_anchor.unwrap_or_default();
        let last_anchor = scan.last_anchor.unwrap_or(first_anchor);
        let window =
            meta.ranks.iter().find(|r| r.rank == identity.rank && r.group == identity.group && r.job == identity.job);
        Self {
            clock: ClockMap::new(first_anchor, last_anchor, identity.ticks_per_second),
            threads: Vec::new(),
            drops: Vec::new(),
            dropped_total: 0,
            iterations: 0,
            first_iteration: None,
            last_iteration: None,
            disordered: 0,
            unknown: 0,
            told: ToldCounts::default(),
            cut_bytes: 0,
            unreadable: None,
            head: None,
            first: window.and_then(|w| w.first_iteration).unwrap_or(0),
            last: window.and_then(|w| w.last_iteration).unwrap_or(u64::MAX),
            tells: false,
            served: VecDeque::new(),
            reader,
            exhausted: false,
            waiting: VecDeque::new(),
            reorder,
            held: None,
            newest_ticks: 0,
            identity,
        }
    }

    /// Puts the next iteration into `head`.
    fn advance(&mut self) {
        if self.held.is_none() {
            self.held = self.next_in_order();
        }
        let Some(iteration) = self.held.take() else {
            self.head = None;
            return;
        };
        self.held = self.next_in_order();
        let begin_ns = self.clock.realtime_ns(iteration.begin_ticks);
        let end_ns = self.clock.realtime_ns(iteration.end_ticks);
        let next_begin_ns = self.held.map(|next| self.clock.realtime_ns(next.begin_ticks));
        let fitting = end_ns.max(begin_ns).min(next_begin_ns.unwrap_or(u64::MAX));
        self.iterations += 1;
        self.first_iteration.get_or_insert(iteration.iteration);
        self.last_iteration = Some(iteration.iteration);
        self.head = Some(Placed { iteration, begin_ns, end_ns: fitting, next_begin_ns, clamped: fitting != end_ns });
    }

    /// Whether it is of a process that runs iterations.
    pub(super) fn is_rank(&self) -> bool {
        self.identity.runs_iterations()
    }

    /// Whether it is of the sidecar that requests passed through.
    pub(super) fn is_proxy(&self) -> bool {
        self.identity.role == PROXY
    }

    /// Hands on all of its file, from the start.
    pub(super) fn each_block(&mut self, mut take: impl FnMut(&Block<'_>)) {
        self.reader.rewind();
        // What can't be read was found and told by the first pass.
        while let Ok(Some(block)) = self.reader.next_block() {
            take(&block);
        }
    }

    /// Hands on all that it tells besides its iterations, in a second pass behind those.
    pub(super) fn each_told(&mut self, base_ns: u64, window: (u64, u64), sink: &mut impl ToldSink) -> io::Result<()> {
        // A window that was called off has nothing.
        if self.tells && self.first <= self.last {
            let clock = self.clock;
            let times = Times { ns: |ticks| clock.realtime_ns(ticks).max(base_ns), window };
            self.told = each_told(&mut self.reader, times, sink)?;
        }
        Ok(())
    }

    /// Requests that an iteration computed, and how many tokens of each; of iterations in their order.
    pub(super) fn served(&mut self, iteration: u64) -> impl Iterator<Item = (u64, u32)> {
        let is_of = |told: &(u64, u64, u32)| told.0 == iteration;
        let before = self.served.iter().take_while(|told| told.0 < iteration).count();
        let count = self.served.iter().skip(before).take_while(|told| is_of(told)).count();
        self.served.drain(..before + count).skip(before).map(|(_, request, tokens)| (request, tokens))
    }

    fn next_in_order(&mut self) -> Option<Iteration> {
        loop {
            while !self.exhausted && self.wants_more() {
                self.read_block();
            }
            let iteration = self.waiting.pop_front()?;
            if iteration.begin_ticks >= self.newest_ticks {
                self.newest_ticks = iteration.begin_ticks;
                return Some(iteration);
            }
            self.disordered += 1;
        }
    }

    fn wants_more(&self) -> bool {
        self.waiting.is_empty() || self.waiting.len() <= self.reorder && self.served.len() < SERVED_AHEAD
    }

    fn read_block(&mut self) {
        let block = match self.reader.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => {
                self.exhausted = true;
                self.cut_bytes = self.reader.tail().cut_bytes();
                return;
            }
            Err(error) => {
                self.exhausted = true;
                self.unreadable = Some(error.to_string());
                return;
            }
        };
        let mut seen_ticks = block.anchor.ticks;
        for event in block.events() {
            match event {
                Some(Event::Iteration(iteration)) => {
                    seen_ticks = seen_ticks.max(iteration.end_ticks);
                    if (self.first..=self.last).contains(&iteration.iteration) {
                        insert_in_order(&mut self.waiting, iteration);
                    }
                }
                Some(Event::Thread(thread)) => {
                    if self.threads.len() < MAX_THREADS && !self.threads.contains(&thread) {
                        self.threads.push(thread);
                    }
                }
                Some(Event::Span(span)) => {
                    seen_ticks = seen_ticks.max(span.end_ticks);
                    self.tells = true;
                }
                Some(Event::Recorded(_)) => self.tells = true,
                Some(Event::Served(served)) => {
                    let told = served.requests.iter().filter(|(request, _)| *request != 0);
                    self.served.extend(told.map(|&(request, tokens)| (served.iteration, request, tokens)));
                }
                Some(
                    Event::Text(_)
                    | Event::Skipped
                    | Event::Lost(_)
                    | Event::Counter(_)
                    | Event::Argument(_)
                    | Event::Track(_)
                    | Event::Request(_),
                ) => {}
                None => self.unknown += 1,
            }
        }
        if block.dropped_total > self.dropped_total {
            self.dropped_total = block.dropped_total;
            if self.drops.len() == MAX_DROP_POINTS {
                self.drops.pop();
            }
            self.drops.push((self.clock.realtime_ns(seen_ticks), block.dropped_total));
        }
    }
}

/// An iteration may be told of twice: cut off by whoever closed the window, and whole by the step that ended just then.
fn insert_in_order(waiting: &mut VecDeque<Iteration>, iteration: Iteration) {
    let begin = waiting.partition_point(|other| other.begin_ticks < iteration.begin_ticks);
    if let Some(twin) = waiting.get_mut(begin).filter(|other| other.iteration == iteration.iteration) {
        if twin.flags.has(Flags::MID_ITERATION) {
            *twin = iteration;
        }
        return;
    }
    if waiting.back().is_none_or(|last| last.begin_ticks <= iteration.begin_ticks) {
        waiting.push_back(iteration);
    } else {
        let at = waiting.partition_point(|other| other.begin_ticks <= iteration.begin_ticks);
        waiting.insert(at, iteration);
    }
}

/// All fragments of a capture, each at its first iteration.
#[derive(Debug)]
pub(super) struct Merge {
    /// In the order of job, group, rank, process.
    pub(super) lanes: Vec<Lane>,
    /// The GPUs' counters.
    pub(super) counters: Vec<Counters>,
    /// What happened to requests, if that was to be read.
    pub(super) requests: Requests,
    /// Files that are no fragments.
    pub(super) refused: Vec<FragmentError>,
    /// How far the wall clock was set meanwhile; times are by the clock as it was at the end.
    pub(super) stepped_ns: i64,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Merge {
    /// With `requests`, what happened to those is read first, of all fragments.
    pub(super) fn open(fragments: &[PathBuf], meta: &ExportMeta, requests: bool) -> Self {
        let mut refused = Vec::new();
        let mut opened = Vec::new();
        for path in fragments {
            match FragmentReader::open(path).and_then(|reader| reader.scan().map(|scan| (reader, scan))) {
                Ok(pair) => opened.push(pair),
                Err(error) => refused.push(error),
            }
        }
        let (beside, mut opened): (Vec<_>, Vec<_>) =
            opened.into_iter().partition(|(_, scan)| scan.identity.role == COUNTERS);
        opened.sort_by(|(_, a), (_, b)| order(&a.identity).cmp(&order(&b.identity)));
        // The ranks' clocks alone, so that the ledger, which knows no counters, gives the same times.
        let clocks = if opened.is_empty() { &beside } else { &opened };
        let mut wall_clock = WallClock::default();
        clocks.iter().for_each(|(_, scan)| wall_clock.join(&scan.wall_clock));
        let shared_ns = wall_clock.newest().map(realtime_offset_ns).unwrap_or_default();
        // What the fragment with the newest anchor saw was seen by one clock, whoever else took anchors elsewhere.
        let newest = clocks.iter().map(|(_, scan)| scan.wall_clock).find(|seen| seen.newest() == wall_clock.newest());
        let newest = newest.unwrap_or_default();
        let reorder = (REORDER_EVENTS_ALL_RANKS / opened.len().max(1)).clamp(256, REORDER_EVENTS);
        let mut lanes: Vec<Lane> =
            opened.into_iter().map(|(reader, scan)| Lane::new(reader, &scan, meta, reorder)).collect();
        for lane in &mut lanes {
            let was_set = newest.has_been(lane.clock.realtime_offset_ns());
            lane.clock = lane.clock.sharing(shared_ns, if was_set { u128::MAX } else { SAME_CLOCK_NS });
        }
        let mut told = Requests::default();
        for lane in &mut lanes {
            if requests {
                let clock = lane.clock;
                told.read(&lane.identity.job, &mut lane.reader, |ticks| clock.realtime_ns(ticks));
                lane.reader.rewind();
            }
            lane.advance();
        }
        let counters = beside.into_iter().map(|(reader, scan)| Counters::new(reader, &scan, shared_ns)).collect();
        let stepped_ns = newest.stepped_ns();
        let mut merge = Self { lanes, counters, requests: told, refused, stepped_ns, heap: BinaryHeap::new() };
        merge.start(|_| true);
        merge
    }

    /// Goes on with these lanes only.
    pub(super) fn start(&mut self, takes: impl Fn(&Lane) -> bool) {
        let heads = self.lanes.iter().enumerate().filter(|(_, lane)| takes(lane));
        self.heap = heads.filter_map(|(i, lane)| Some(Reverse((lane.head?.begin_ns, i)))).collect();
    }

    /// Begin of the earliest iteration.
    pub(super) fn first_begin_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((begin_ns, _))| *begin_ns)
    }

    /// The next iteration by begin time, and whose it is.
    pub(super) fn next(&mut self) -> Option<(usize, Placed)> {
        let mut top = self.heap.peek_mut()?;
        let at = top.0.1;
        let lane = &mut self.lanes[at];
        let placed = lane.head.take()?;
        lane.advance();
        match lane.head {
            Some(next) => top.0.0 = next.begin_ns,
            None => {
                PeekMut::pop(top);
            }
        }
        Some((at, placed))
    }
}

/// Ranks in front of processes that run no iterations.
fn order(identity: &FragmentIdentity) -> (bool, &str, &str, u32, u32, u64) {
    let FragmentIdentity { job, group, rank, pid, segment_instance, .. } = identity;
    (!identity.runs_iterations(), job, group, *rank, *pid, *segment_instance)
}
