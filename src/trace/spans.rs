//! The second pass of an export: the spans of one fragment, as they come.
//!
//! Spans come in the order in which they ended, a parent behind all that is in it, so there is no order by begin to be had
//! without keeping everything. Viewers need none. What they need is that the slices of a track nest or are disjoint, and
//! that is made sure of here ([`Nesting`]), whatever the fragment says. Memory is bounded by the number of rings, of
//! tracks, and of slices that a slice holds directly.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::event::{Event, MAX_SLOT, Span, SpanName, TEXT_PART_BYTES, TextPart, Thread, ThreadName};
use super::fragment::FragmentReader;

/// Tracks of spans that a fragment may have; what needs more is left out and counted.
const MAX_TRACKS: usize = 1024;

/// Thread ids from here on are none: those of rings whose thread is not known. The system's have 22 bits.
pub(super) const UNTOLD: u64 = 1 << 63;

/// What became of the spans of a fragment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SpanCounts {
    /// Written.
    pub(super) written: u64,
    /// Of those, moved so that their track nests.
    pub(super) clamped: u64,
    /// Left out: there are more threads and domains than tracks.
    pub(super) homeless: u64,
}

/// A row of spans: one per thread, and one more for each domain that has a name. Async ones share one.
#[derive(Debug)]
pub(super) struct SpanTrack {
    /// In the order in which the fragment tells of them.
    pub(super) number: u32,
    /// Order in which people want them: a thread's tracks stand together.
    pub(super) sort_index: u32,
    /// `None`: the one of async spans.
    pub(super) thread: Option<Thread>,
    pub(super) domain: Option<Rc<str>>,
}

/// A span on its way into a trace.
#[derive(Debug)]
pub(super) struct PlacedSpan<'a> {
    pub(super) track: u32,
    pub(super) name: &'a str,
    pub(super) domain: Option<&'a str>,
    pub(super) begin_ns: u64,
    pub(super) end_ns: u64,
    pub(super) is_async: bool,
    pub(super) clamped: bool,
}

/// Where the spans of a fragment go.
pub(super) trait SpanSink {
    /// Comes in front of the track's first span.
    fn track(&mut self, track: &SpanTrack) -> io::Result<()>;
    fn span(&mut self, span: &PlacedSpan<'_>) -> io::Result<()>;
}

/// Hands on every span of a fragment. `ns` makes ticks into the times of the trace, and never runs backwards.
pub(super) fn each_span(
    reader: &mut FragmentReader,
    ns: impl Fn(u64) -> u64,
    sink: &mut impl SpanSink,
) -> io::Result<SpanCounts> {
    let mut rings: BTreeMap<u32, Ring> = BTreeMap::new();
    let mut tracks = Tracks::default();
    let mut counts = SpanCounts::default();
    reader.rewind();
    // What can't be read was found and told by the first pass.
    while let Ok(Some(block)) = reader.next_block() {
        let ring = rings.entry(block.ring).or_default();
        for event in block.events().flatten() {
            match event {
                Event::Thread(thread) => ring.thread = Some(thread),
                Event::Text(part) => ring.take(&part),
                Event::Span(span) => {
                    let domain = ring.domain(span.domain);
                    // A ring whose thread nobody told is its own.
                    let unknown = || Thread { tid: UNTOLD + u64::from(block.ring), name: ThreadName::new(b"") };
                    let thread = (!span.is_async).then(|| ring.thread.unwrap_or_else(unknown));
                    let Some(track) = tracks.of(thread, &domain, sink)? else {
                        counts.homeless += 1;
                        continue;
                    };
                    let (begin_ns, end_ns) = (ns(span.begin_ticks), ns(span.end_ticks));
                    let (placed, clamped) = if span.is_async {
                        ((begin_ns, end_ns), false)
                    } else {
                        let placed = track.nesting.place(begin_ns, end_ns, span.depth);
                        (placed, placed != (begin_ns, end_ns))
                    };
                    counts.written += 1;
                    counts.clamped += u64::from(clamped);
                    sink.span(&PlacedSpan {
                        track: track.number,
                        name: &ring.name(&span),
                        domain: domain.as_deref(),
                        begin_ns: placed.0,
                        end_ns: placed.1,
                        is_async: span.is_async,
                        clamped,
                    })?;
                }
                Event::Iteration(_) | Event::Skipped | Event::Counter(_) => {}
            }
        }
    }
    Ok(counts)
}

/// Stands for a text that never came along its ring.
const LOST: &str = "(lost)";

/// What is known of a ring: whose it is just now, and its texts.
#[derive(Debug, Default)]
struct Ring {
    thread: Option<Thread>,
    texts: Vec<Option<Rc<str>>>,
    /// The text that is coming in: its slot, and what is there of it.
    coming: (u16, Vec<u8>),
}

impl Ring {
    fn take(&mut self, part: &TextPart) {
        if part.part == 0 {
            self.coming = (part.slot, Vec::new());
        }
        let (slot, bytes) = &mut self.coming;
        if *slot != part.slot || bytes.len() != usize::from(part.part) * TEXT_PART_BYTES {
            return; // its beginning is missing
        }
        let left = usize::from(part.length).saturating_sub(bytes.len()).min(TEXT_PART_BYTES);
        bytes.extend_from_slice(&part.bytes[..left]);
        if bytes.len() >= usize::from(part.length) {
            self.texts.resize(usize::from(MAX_SLOT) + 1, None);
            self.texts[usize::from(part.slot)] = Some(String::from_utf8_lossy(bytes).into());
        }
    }

    fn known(&self, slot: u16) -> Option<&Rc<str>> {
        self.texts.get(usize::from(slot))?.as_ref()
    }

    /// The name of the domain in a slot; `None` for slot 0.
    fn domain(&self, slot: u16) -> Option<Rc<str>> {
        (slot != 0).then(|| self.known(slot).cloned().unwrap_or_else(|| LOST.into()))
    }

    fn name<'a>(&'a self, span: &'a Span) -> Cow<'a, str> {
        match &span.name {
            SpanName::Slot(slot) => self.known(*slot).map_or(LOST, |text| &**text).into(),
            SpanName::Short(_, 0) => "(no name)".into(),
            SpanName::Short(bytes, length) => String::from_utf8_lossy(&bytes[..usize::from(*length)]),
        }
    }
}

/// A track while it is written.
#[derive(Debug)]
struct Track {
    number: u32,
    nesting: Nesting,
}

#[derive(Debug, Default)]
struct Tracks {
    tracks: BTreeMap<(Option<u64>, Option<Rc<str>>), Track>,
    /// Where each thread's tracks begin in the order, and how many it has.
    threads: BTreeMap<Option<u64>, (u32, u32)>,
}

impl Tracks {
    /// The track of a thread, `None` for async spans, and domain; made and told to the sink if it is new.
    fn of(
        &mut self,
        thread: Option<Thread>,
        domain: &Option<Rc<str>>,
        sink: &mut impl SpanSink,
    ) -> io::Result<Option<&mut Track>> {
        let domain = domain.clone().filter(|_| thread.is_some());
        let tid = thread.map(|thread| thread.tid);
        let key = (tid, domain);
        let number = self.tracks.len() as u32;
        if !self.tracks.contains_key(&key) {
            if self.tracks.len() >= MAX_TRACKS {
                return Ok(None);
            }
            let before = self.threads.len() as u32 * MAX_TRACKS as u32;
            let (first, count) = self.threads.entry(tid).or_insert((before, 0));
            // The thread's own track above those of its domains.
            let rank = if key.1.is_none() { 0 } else { 1 + *count };
            *count += 1;
            sink.track(&SpanTrack { number, sort_index: *first + rank, thread, domain: key.1.clone() })?;
        }
        Ok(Some(self.tracks.entry(key).or_insert_with(|| Track { number, nesting: Nesting::default() })))
    }
}

/// Keeps the slices of one track nested or disjoint. They come in the order of their ends, each with its depth: the number
/// of slices that will turn out to be around it, which those may fail to do where records were dropped.
#[derive(Debug, Default)]
struct Nesting {
    /// Slices that no other holds yet and that a later one may, by time, disjoint.
    open: Vec<Pending>,
    /// No later slice begins before this.
    floor_ns: u64,
    /// The latest end.
    end_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    begin_ns: u64,
    end_ns: u64,
    depth: u16,
}

/// Slices of one that may be waiting for it; beyond that, neighbours of one depth count as one slice.
const MAX_PENDING: usize = 4096;

impl Nesting {
    /// Where the next slice goes.
    fn place(&mut self, begin_ns: u64, end_ns: u64, depth: u16) -> (u64, u64) {
        let end_ns = end_ns.max(self.end_ns);
        let mut begin_ns = begin_ns.max(self.floor_ns).min(end_ns);
        let mut first_held = None;
        while self.open.last().is_some_and(|last| last.begin_ns >= begin_ns) {
            first_held = self.open.pop();
        }
        let before_ns = self.open.last().map_or(self.floor_ns, |last| last.end_ns);
        begin_ns = begin_ns.max(before_ns);
        // Where begins and ends stand apart (Perfetto), the first of two that begin together is taken for the outer one, and
        // this one comes last.
        if begin_ns > before_ns && first_held.is_some_and(|held| held.begin_ns == begin_ns) {
            begin_ns -= 1;
        }
        self.end_ns = end_ns;
        if depth == 0 {
            // Nothing is around it: what comes later lies behind it.
            self.floor_ns = end_ns;
            self.open.clear();
        } else {
            if self.open.len() >= MAX_PENDING {
                self.join();
            }
            self.open.push(Pending { begin_ns, end_ns, depth });
        }
        (begin_ns, end_ns)
    }

    /// Halves what is pending, as far as its depths allow; a slice then can't begin in between what was joined.
    fn join(&mut self) {
        let mut joined: Vec<Pending> = Vec::with_capacity(MAX_PENDING);
        for pending in self.open.drain(..) {
            match joined.last_mut() {
                Some(last) if last.depth == pending.depth => last.end_ns = pending.end_ns,
                _ => joined.push(pending),
            }
        }
        if joined.len() > MAX_PENDING / 2 {
            // No engine's ranges look like this.
            let (first, last) = (joined[0], joined[MAX_PENDING / 2]);
            joined.splice(..=MAX_PENDING / 2, [Pending { end_ns: last.end_ns, ..first }]);
        }
        self.open = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_nested(slices: &mut [(u64, u64)]) {
        slices.sort_by_key(|&(begin, end)| (begin, u64::MAX - end));
        let mut open: Vec<u64> = Vec::new();
        for &(begin, end) in slices.iter() {
            while open.last().is_some_and(|&outer| outer <= begin) {
                open.pop();
            }
            assert!(begin <= end && open.last().is_none_or(|&outer| end <= outer), "{begin}..{end} in {slices:?}");
            open.push(end);
        }
    }

    /// What an agent would write of a run of pushes (`true`) and pops, one each tick: begin, end, depth.
    fn recorded(calls: &[bool]) -> Vec<(u64, u64, u16)> {
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for (now, &is_push) in (0..).zip(calls) {
            if is_push {
                open.push(now);
            } else if let Some(begin) = open.pop() {
                done.push((begin, now, open.len() as u16));
            }
        }
        done
    }

    proptest! {
        #[test]
        fn what_nests_is_left_alone_whatever_was_dropped(
            calls in proptest::collection::vec(any::<bool>(), 0..400), dropped in proptest::collection::vec(any::<bool>(), 400),
        ) {
            let mut nesting = Nesting::default();
            for ((begin, end, depth), _) in recorded(&calls).into_iter().zip(dropped).filter(|(_, dropped)| !dropped) {
                prop_assert_eq!(nesting.place(begin, end, depth), (begin, end));
            }
        }

        #[test]
        fn whatever_comes_nests(slices in proptest::collection::vec((0u64..300, 0u64..300, 0u16..4), 0..200)) {
            let mut nesting = Nesting::default();
            let mut placed: Vec<_> = slices.iter().map(|&(a, b, depth)| nesting.place(a.min(b), a.max(b), depth)).collect();
            assert_nested(&mut placed);
        }
    }

    /// More than are remembered, at the bottom of a deep nest.
    #[test]
    fn a_slice_may_hold_any_number_of_others() {
        let round = |depth: usize, inner: &[bool]| [&vec![true; depth][..], inner, &vec![false; depth]].concat();
        let many = [true, false].repeat(3 * MAX_PENDING);
        let calls = [[true, false].repeat(10), round(3, &many), round(2, &round(1, &many).repeat(2))].concat();
        let calls = round(1, &calls);
        let mut nesting = Nesting::default();
        for (begin, end, depth) in recorded(&calls) {
            assert_eq!(nesting.place(begin, end, depth), (begin, end));
            assert!(nesting.open.len() <= MAX_PENDING);
        }
    }

    #[test]
    fn what_holds_others_begins_before_them_where_there_is_room() {
        let mut nesting = Nesting::default();
        assert_eq!(nesting.place(5, 8, 2), (5, 8));
        assert_eq!(nesting.place(10, 12, 2), (10, 12));
        assert_eq!(nesting.place(10, 20, 1), (9, 20), "around the second one only");
        assert_eq!(nesting.place(5, 30, 0), (4, 30));
        assert_eq!(nesting.place(30, 31, 1), (30, 31));
        assert_eq!(nesting.place(30, 40, 0), (30, 40), "no room");
    }

    #[test]
    fn no_memory_is_needed_for_what_only_a_stranger_writes() {
        let mut nesting = Nesting::default();
        let mut placed: Vec<_> =
            (0..5 * MAX_PENDING as u64).map(|n| nesting.place(2 * n, 2 * n + 1, 1 + (n % 2) as u16)).collect();
        assert!(nesting.open.len() <= MAX_PENDING);
        placed.extend((0..MAX_PENDING as u64).rev().map(|n| nesting.place(5 * n, u64::MAX, 1)));
        assert_nested(&mut placed);
    }
}
