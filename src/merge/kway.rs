//! The order in which the inputs' events come out: by time as far as the inputs are, and always the same.
//!
//! Viewers sort for themselves, so an order in the file is worth this much: a merged file that is cut short, or looked at
//! by its first lines, has the begin of *every* input, and events of one moment lie near each other. That much is had for
//! next to no memory: of each input its next event is known, and the input that is furthest behind goes on. How far an
//! input is, is the earliest of its last four times: one that says something of the end first (ours begins with its
//! windows) is not held up by it, and one that is not sorted (Kineto writes thread by thread) catches up at once. The events
//! of an input never change their order: begins and ends that share a time stay as they were. At equal times the
//! input that was given first goes first.
//!
//! Nothing is held back to be sorted: a buffer for it would have to hold most of a Kineto file to be of use.
//!
//! A long event is written when it is met, and its input goes on until it needs no more memory than others: one long
//! buffer at a time. Inputs are open at once as long as the windows of their packing fit into [`OPEN_BYTES`], and the rest
//! follow in a next round.

use std::io::Read;

use super::losses::ReadError;
use super::reader::Reader;

/// Memory for inputs that are open at once.
pub(super) const OPEN_BYTES: usize = 16 << 20;

/// An input that is being read.
pub(super) struct Lane<R> {
    pub(super) reader: Reader<R>,
    /// Its place in the order of the inputs.
    pub(super) input: usize,
    /// The last times, its next event's included.
    times_ns: [i64; 4],
    /// How far it is: the earliest of them.
    at_ns: i64,
    is_over: bool,
}

/// Groups of inputs that are open at once, by what each of them takes.
pub(super) fn rounds(memory_bytes: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut rounds = Vec::new();
    let (mut begin, mut taken) = (0, 0);
    for (at, bytes) in memory_bytes.iter().enumerate() {
        if at > begin && taken + bytes > OPEN_BYTES {
            rounds.push(begin..at);
            (begin, taken) = (at, 0);
        }
        taken += bytes;
    }
    if begin < memory_bytes.len() {
        rounds.push(begin..memory_bytes.len());
    }
    rounds
}

impl<R: Read> Lane<R> {
    pub(super) fn new(reader: Reader<R>, input: usize) -> Self {
        Self { reader, input, times_ns: [i64::MAX; 4], at_ns: i64::MIN, is_over: false }
    }
}

/// Goes through all events of the lanes. `time` says when an event is, if it has a time; `take` gets each event.
///
/// # Errors
/// A lane can't be read, by its index; or what `take` says.
pub(super) fn each<R: Read, E: From<(usize, ReadError)>>(
    lanes: &mut [Lane<R>],
    time: impl Fn(&Lane<R>) -> Option<i64>,
    mut take: impl FnMut(&mut Lane<R>, Option<i64>) -> Result<(), E>,
) -> Result<(), E> {
    let next = |lane: &mut Lane<R>| -> Result<Option<i64>, E> {
        lane.is_over = !lane.reader.advance().map_err(|error| E::from((lane.input, error)))?;
        let time = if lane.is_over { None } else { time(lane) };
        // Names may have times too, and these mean nothing.
        let is_name = || {
            let (bytes, fields) = lane.reader.event();
            fields.ph.of(bytes) == b"\"M\""
        };
        if let Some(ns) = time
            && !is_name()
        {
            lane.times_ns.rotate_right(1);
            lane.times_ns[0] = ns;
            lane.at_ns = lane.times_ns.into_iter().min().unwrap_or(ns);
        }
        Ok(time)
    };
    let mut times = Vec::new();
    for lane in lanes.iter_mut() {
        let mut time = next(lane)?;
        while lane.reader.is_large() && !lane.is_over {
            take(lane, time)?;
            time = next(lane)?;
        }
        times.push(time);
    }
    loop {
        let (mut first, mut second) = (None, None);
        for (at, lane) in lanes.iter().enumerate().filter(|(_, lane)| !lane.is_over) {
            let key = (lane.at_ns, at);
            if first.is_none_or(|first| key < first) {
                (first, second) = (Some(key), first);
            } else if second.is_none_or(|second| key < second) {
                second = Some(key);
            }
        }
        let Some((_, at)) = first else { return Ok(()) };
        // It goes on until another one is behind it.
        let lane = &mut lanes[at];
        loop {
            take(lane, times[at])?;
            times[at] = next(lane)?;
            let is_behind = second.is_none_or(|second| (lane.at_ns, at) < second);
            if lane.is_over || !(is_behind || lane.reader.is_large()) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_open_together_as_far_as_memory_allows() {
        let mb = |n: usize| n << 20;
        assert_eq!(rounds(&[mb(8), mb(8), mb(8), mb(8), 0]), [0..2, 2..5]);
        assert_eq!(rounds(&[mb(90), 1]), [0..1, 1..2]);
        assert_eq!(rounds(&[]), [] as [std::ops::Range<usize>; 0]);
    }
}
