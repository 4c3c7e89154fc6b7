//! Any Chrome trace as a stream of events: an object with `traceEvents`, or a bare array; whole, torn or damaged.
//!
//! * [`Reader::advance`] stands on the next event; its bytes are valid JSON, mended if need be. What else the file says
//!   at its top is in [`Reader::head`], complete once the last event was passed.
//! * An event longer than [`LONGEST_EVENT`] is left out and counted. So is one whose structure is broken: reading goes on
//!   at the next place that looks like the begin of an event. Elements that are no events are left out likewise.
//! * Memory is bounded by twice the longest event, and what comes out depends on the bytes alone.

use std::io::{self, Read};

use super::buffer::{Buffer, LARGEST, PIECE};
use super::head::{Head, LONGEST_MEMBER};
use super::losses::{Losses, ReadError};
use super::mend::mend;
use super::resync::{LOOK_AHEAD, is_begin, is_end};
use super::scan::{self, Event, Fields, Stop};
use super::skipper::Skipper;

/// The longest event that is kept, bytes.
pub const LONGEST_EVENT: usize = LARGEST;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Members { is_first: bool },
    Events { is_bare: bool },
    Over,
}

/// A stream of events.
pub(super) struct Reader<R> {
    buffer: Buffer<R>,
    state: State,
    current: Event,
    /// The current event, where it had to be mended.
    mended: Vec<u8>,
    is_mended: bool,
    has_events: bool,
    losses: Losses,
    head: Head,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            buffer: Buffer::new(source),
            state: State::Start,
            current: Event::default(),
            mended: Vec::new(),
            is_mended: false,
            has_events: false,
            losses: Losses::default(),
            head: Head::default(),
        }
    }

    pub(super) fn source(&self) -> &R {
        self.buffer.source()
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether it holds more memory than usual, because of a long event.
    pub(super) fn is_large(&self) -> bool {
        self.buffer.is_large() || self.mended.capacity() > PIECE
    }

    /// The event that it stands on, and where its fields lie.
    #[inline]
    pub(super) fn event(&self) -> (&[u8], &Fields) {
        let bytes = if self.is_mended { &self.mended[..] } else { &self.buffer.bytes()[..self.current.length] };
        (bytes, &self.current.fields)
    }

    /// Goes to the next event. `false`: there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) fn advance(&mut self) -> Result<bool, ReadError> {
        if !self.is_mended {
            self.buffer.take(self.current.length);
        }
        (self.current, self.is_mended) = (Event::default(), false);
        self.mended.clear();
        if self.mended.capacity() > PIECE {
            self.mended = Vec::new();
        }
        loop {
            match self.state {
                State::Start => self.start()?,
                State::Members { is_first } => self.member(is_first)?,
                State::Events { is_bare } => {
                    if self.element(is_bare)? {
                        return Ok(true);
                    }
                }
                State::Over => return Ok(false),
            }
        }
    }

    fn start(&mut self) -> Result<(), ReadError> {
        if self.buffer.peek(2)? == Some(0xbf) && self.buffer.bytes().starts_with(b"\xef\xbb\xbf") {
            self.buffer.take(3);
        }
        self.state = match self.space()? {
            Some(b'{') => State::Members { is_first: true },
            Some(b'[') => State::Events { is_bare: true },
            Some(_) => return Err(ReadError::NoTrace("it begins with neither { nor [")),
            None => return Err(ReadError::NoTrace("it is empty")),
        };
        self.has_events = self.state == State::Events { is_bare: true };
        self.buffer.take(1);
        Ok(())
    }

    /// Takes white space; the byte behind it.
    #[inline]
    fn space(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.buffer.peek(0)? {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.buffer.take(1),
                other => return Ok(other),
            }
        }
    }

    /// The rest can't be read, or should not be there.
    fn cut(&mut self) -> Result<(), ReadError> {
        self.losses.cut_bytes += self.buffer.drain()?;
        self.losses.is_torn = true;
        self.over()
    }

    fn over(&mut self) -> Result<(), ReadError> {
        self.state = State::Over;
        self.buffer.release();
        if self.has_events { Ok(()) } else { Err(ReadError::NoTrace("it has no traceEvents")) }
    }

    /// One member of the object, or its end.
    fn member(&mut self, is_first: bool) -> Result<(), ReadError> {
        match (self.space()?, is_first) {
            (Some(b'}'), _) => {
                self.buffer.take(1);
                if self.space()?.is_some() {
                    return self.cut();
                }
                return self.over();
            }
            (Some(b','), false) => {
                self.buffer.take(1);
                self.space()?;
            }
            (Some(b'"'), true) => {}
            _ => return self.cut(),
        }
        let mut dirty = false;
        let key = loop {
            let bytes = self.buffer.bytes();
            let found = if bytes.is_empty() { Err(Stop::More) } else { scan::key(bytes, 0, &mut dirty) };
            match found {
                Ok((key, value)) => {
                    let key = String::from_utf8_lossy(&bytes[key]).into_owned();
                    self.buffer.take(value);
                    break key;
                }
                Err(Stop::More) if self.buffer.more(PIECE)? => {}
                Err(_) => return self.cut(),
            }
        };
        self.state = State::Members { is_first: false };
        if key == "traceEvents" && self.buffer.peek(0)? == Some(b'[') {
            self.has_events = true;
            self.buffer.take(1);
            self.state = State::Events { is_bare: false };
            return Ok(());
        }
        loop {
            let (bytes, mut dirty) = (self.buffer.bytes(), false);
            let bytes = &bytes[..bytes.len().min(LONGEST_MEMBER)];
            match scan::value(bytes, 0, &mut dirty) {
                Ok(length) => {
                    self.head.keep(key, &bytes[..length], dirty);
                    self.buffer.take(length);
                    return Ok(());
                }
                Err(Stop::More) if bytes.len() == LONGEST_MEMBER => {
                    self.head.left_out += 1;
                    return if self.skip()?.is_some() { Ok(()) } else { self.cut() };
                }
                Err(Stop::More) if self.buffer.more(LONGEST_MEMBER)? => {}
                Err(_) => return self.cut(),
            }
        }
    }

    /// Goes over a value that is too long, and says how long it is. `None`: it never ends.
    fn skip(&mut self) -> io::Result<Option<u64>> {
        let (mut skipper, mut length) = (Skipper::default(), 0);
        loop {
            let bytes = self.buffer.bytes();
            let end = skipper.feed(bytes);
            let taken = end.unwrap_or(bytes.len());
            length += taken as u64;
            self.buffer.take(taken);
            if end.is_some() {
                return Ok(Some(length));
            }
            if !self.buffer.more(PIECE)? {
                self.losses.cut_bytes += length;
                return Ok(None);
            }
        }
    }

    /// One element of the array of events, or its end. `true`: it stands on an event.
    fn element(&mut self, is_bare: bool) -> Result<bool, ReadError> {
        let first = loop {
            match self.space()? {
                Some(b',') => self.buffer.take(1),
                other => break other,
            }
        };
        match first {
            // An array may lack its end: writers that may be killed leave it so.
            None => {
                self.losses.is_torn |= !is_bare;
                self.over().map(|()| false)
            }
            Some(b']') => {
                self.buffer.take(1);
                if !is_bare {
                    self.state = State::Members { is_first: false };
                    return Ok(false);
                }
                if self.space()?.is_some() { self.cut() } else { self.over() }.map(|()| false)
            }
            Some(b'{') => self.object(),
            Some(_) => self.stray().map(|()| false),
        }
    }

    fn object(&mut self) -> Result<bool, ReadError> {
        loop {
            let bytes = self.buffer.bytes();
            let bytes = &bytes[..bytes.len().min(LONGEST_EVENT)];
            match scan::event(bytes) {
                Ok(event) if event.dirty => return Ok(self.mend(event)),
                Ok(event) => return Ok(self.stand_on(event)),
                Err(Stop::More) if bytes.len() == LONGEST_EVENT => {
                    self.losses.oversized += 1;
                    match self.skip()? {
                        Some(length) => self.losses.cut_bytes += length,
                        None => self.cut()?,
                    }
                    return Ok(false);
                }
                Err(Stop::More) => {
                    if !self.buffer.more(LONGEST_EVENT)? {
                        return self.cut().map(|()| false);
                    }
                }
                Err(Stop::Damaged) => {
                    self.losses.damaged += 1;
                    return self.find_next().map(|()| false);
                }
            }
        }
    }

    fn mend(&mut self, event: Event) -> bool {
        let is_whole = mend(&self.buffer.bytes()[..event.length], LONGEST_EVENT, &mut self.mended);
        self.buffer.take(event.length);
        match scan::event(&self.mended) {
            Ok(mended) if is_whole => {
                self.losses.mended += 1;
                self.is_mended = true;
                self.stand_on(mended)
            }
            _ => {
                self.losses.oversized += 1;
                self.losses.cut_bytes += event.length as u64;
                false
            }
        }
    }

    /// What has no phase is no event.
    #[inline]
    fn stand_on(&mut self, event: Event) -> bool {
        if event.fields.ph.is_there() {
            self.current = event;
            return true;
        }
        self.losses.strays += 1;
        self.losses.cut_bytes += event.length as u64;
        if !self.is_mended {
            self.buffer.take(event.length);
        }
        self.is_mended = false;
        self.mended.clear();
        false
    }

    /// An element that is no object.
    fn stray(&mut self) -> Result<(), ReadError> {
        loop {
            let bytes = self.buffer.bytes();
            let bytes = &bytes[..bytes.len().min(LONGEST_EVENT)];
            match scan::value(bytes, 0, &mut false) {
                Ok(length) => {
                    self.losses.strays += 1;
                    self.losses.cut_bytes += length as u64;
                    self.buffer.take(length);
                    return Ok(());
                }
                Err(Stop::More) if bytes.len() < LONGEST_EVENT => {
                    if !self.buffer.more(LONGEST_EVENT)? {
                        return self.cut();
                    }
                }
                Err(_) => {
                    self.losses.damaged += 1;
                    return self.find_next();
                }
            }
        }
    }

    /// Goes to the next place that looks like the begin of an event, or like the end of the array: behind a `}`.
    fn find_next(&mut self) -> Result<(), ReadError> {
        let mut last = 0;
        loop {
            self.buffer.peek(LOOK_AHEAD)?;
            let ahead = self.buffer.bytes();
            let Some(&byte) = ahead.first() else { return self.cut() };
            let ahead = &ahead[..ahead.len().min(LOOK_AHEAD)];
            match byte {
                b'{' if last == b'}' && is_begin(ahead) => return Ok(()),
                b']' if last == b'}' && is_end(ahead) => return Ok(()),
                b' ' | b'\n' | b'\r' | b'\t' | b',' => {}
                other => last = other,
            }
            self.buffer.take(1);
            self.losses.cut_bytes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes in pieces of the sizes given, over and over.
    struct Pieces<'a>(&'a [u8], Vec<usize>, usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1[self.2 % self.1.len()].min(buffer.len()).min(self.0.len());
            self.2 += 1;
            buffer[..size].copy_from_slice(&self.0[..size]);
            self.0 = &self.0[size..];
            Ok(size)
        }
    }

    type Members = Vec<(String, String)>;

    fn read(bytes: &[u8], pieces: Vec<usize>) -> Result<(Vec<String>, Losses, Members), String> {
        let mut reader = Reader::new(Pieces(bytes, pieces, 0));
        let mut events = Vec::new();
        while reader.advance().map_err(|error| error.to_string())? {
            let (event, fields) = reader.event();
            assert!(fields.ph.is_there());
            events.push(String::from_utf8(event.to_vec()).expect("UTF-8"));
        }
        Ok((events, reader.losses().clone(), reader.head().members.clone()))
    }

    fn whole(text: &str) -> (Vec<String>, Losses, Members) {
        read(text.as_bytes(), vec![usize::MAX]).expect(text)
    }

    #[test]
    fn objects_and_bare_arrays_are_read_with_what_stands_beside_the_events() {
        let text = "\u{feff} {\"a\":{\"b\":[1]} ,\"traceEvents\":[{\"ph\":\"X\"},\n{\"ph\":\"i\"}],\"rank\": 3}\n";
        let (events, losses, members) = whole(text);
        assert_eq!(events, ["{\"ph\":\"X\"}", "{\"ph\":\"i\"}"]);
        assert_eq!((losses, members.len()), (Losses::default(), 2));
        for text in [
            "[{\"ph\":\"X\"},{\"ph\":\"i\"}]",
            "[{\"ph\":\"X\"},\n{\"ph\":\"i\"},\n",
            "[\n{\"ph\":\"X\"} {\"ph\":\"i\"}",
        ] {
            assert_eq!(whole(text), (events.clone(), Losses::default(), Vec::new()), "{text}");
        }
        for text in ["", "hello", "{}", "{\"traceEvents\":{}}", "{\"metadata\":[1,2,3]}", "\"traceEvents\""] {
            assert!(read(text.as_bytes(), vec![9]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_torn_tail_is_cut_and_counted() {
        let text = r#"{"traceEvents":[{"ph":"X","n":1},{"ph":"X","na"#;
        let (events, losses, _) = whole(text);
        assert_eq!(events.len(), 1);
        assert_eq!(losses, Losses { cut_bytes: 13, is_torn: true, ..Losses::default() });
        let (events, losses, _) = whole(r#"{"traceEvents":[{"ph":"X"}]}{"#);
        assert_eq!((events.len(), losses.cut_bytes, losses.is_torn), (1, 1, true));
    }

    #[test]
    fn what_is_broken_costs_itself_and_not_what_follows() {
        let good = r#"{"ph":"X","name":"good","args":{"list":[{"ts":1},{"ts":2}]}}"#;
        for bad in [
            r#"{"ph":"X","name":"say "hi" to me"}"#,
            r#"{"ph":"X" "name":"x","args":{"a":[{"b":1},{"c":2}]}}"#,
            r#"{"ph":"X","args":{"a":1]}}"#,
            "}",
        ] {
            let text = format!("{{\"traceEvents\":[{good},{bad},\n {good},{good}],\"rank\":1}}");
            let (events, losses, members) = whole(&text);
            assert_eq!((events.len(), losses.damaged, members.len()), (3, 1, 1), "{bad}: {losses:?}");
            // At the end there is no next event to go on with, but the end of the array.
            let text = format!("{{\"traceEvents\":[{good},{bad}],\"traceName\":\"x\"}}");
            let (events, losses, members) = whole(&text);
            assert_eq!((events.len(), losses.damaged), (1, 1), "{bad}: {losses:?}");
            assert_eq!(members.len(), 1, "{bad}");
        }
        let (events, losses, _) = whole(&format!("[1,\"x\",{good},null,{{\"no\":1}},[{good}]]"));
        assert_eq!((events.len(), losses.strays), (1, 5));
    }

    #[test]
    fn a_long_event_is_kept_and_one_beyond_the_bound_is_gone_over() {
        let long = |length: usize| format!("{{\"ph\":\"X\",\"name\":\"{}\"}}", "x".repeat(length));
        let text = format!("[{},{},{{\"ph\":\"i\"}}]", long(1 << 20), long(LONGEST_EVENT));
        let (events, losses, _) = read(text.as_bytes(), vec![60_000, 1]).expect("a trace");
        assert_eq!(events.iter().map(String::len).collect::<Vec<_>>(), [long(1 << 20).len(), 10]);
        let cut_bytes = long(LONGEST_EVENT).len() as u64;
        assert_eq!(losses, Losses { oversized: 1, cut_bytes, ..Losses::default() });
    }

    fn bits() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            "[\\[\\]{}:,\" \n]",
            Just("{\"ph\":\"X\",\"name\":\"a\\n\",\"ts\":1.5}".to_owned()),
            Just("{\"traceEvents\":[".to_owned()),
            Just("{\"ph\":NaN,\"n\":\"\u{1}\"}".to_owned()),
            Just("\"ph\":".to_owned()),
            Just("],\"traceName\":\"x\"}".to_owned()),
            "[a-z0-9.\\\\]{1,4}",
        ]
        .prop_map(String::into_bytes);
        let any = prop_oneof![9 => word, 1 => proptest::collection::vec(any::<u8>(), 1..4)];
        proptest::collection::vec(any, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_and_all_that_comes_out_is_json(
            body in bits(), is_bare: bool, pieces in proptest::collection::vec(1usize..40, 1..6),
        ) {
            let bytes = [if is_bare { &b"["[..] } else { b"{\"traceEvents\":[" }, &body].concat();
            let found = read(&bytes, vec![usize::MAX]);
            prop_assert_eq!(&read(&bytes, pieces), &found);
            if let Ok((events, ..)) = found {
                for event in events {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&event).is_ok(), "{}", event);
                }
            }
        }

        #[test]
        fn long_events_give_the_same_in_any_pieces(
            lengths in proptest::collection::vec(0usize..400_000, 1..5), pieces in proptest::collection::vec(1usize..200_000, 1..4),
        ) {
            let events: Vec<String> =
                lengths.iter().map(|length| format!("{{\"ph\":\"X\",\"name\":\"{}\"}}", "y".repeat(*length))).collect();
            let text = format!("[{}]", events.join(","));
            prop_assert_eq!(read(text.as_bytes(), pieces).map(|found| found.0), Ok(events));
        }
    }
}
