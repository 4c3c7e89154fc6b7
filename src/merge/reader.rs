//! Any Chrome trace as a stream of events: an object with `traceEvents`, or a bare array; whole, torn or damaged.
//!
//! * [`Reader::advance`] stands on the next event; its bytes are valid JSON, mended if need be. What else the file says
//!   at its top is in [`Reader::head`], complete once the last event was passed.
//! * An event longer than [`LONGEST_EVENT`] is left out and counted. So is one whose structure is broken: reading goes on
//!   at the next place that looks like the begin of an event. Elements that are no events are left out likewise.
//! * Memory is bounded by twice the longest event, and what comes out depends on the bytes alone.

use std::io::{self, Read};

use super::buffer::{Buffer, PIECE};
use super::mend::mend;
use super::scan::{self, Event, Fields, Stop};
use super::skipper::Skipper;

/// The longest event that is kept, bytes.
pub const LONGEST_EVENT: usize = 4 << 20;
/// The longest value beside the events that is kept; all of them together may take twice that.
const LONGEST_MEMBER: usize = 1 << 20;
/// How far behind a brace the begin of an event is looked for.
const LOOK_AHEAD: usize = 96;

/// Why a file is no trace.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no Chrome trace: {0}")]
    NoTrace(&'static str),
}

/// What could not be kept as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Events with characters or words that are no JSON; they are kept, mended.
    pub(super) mended: u64,
    /// Events left out: too long.
    pub(super) oversized: u64,
    /// Places where the structure is broken: at least one event each.
    pub(super) damaged: u64,
    /// Elements of the array that are no events.
    pub(super) strays: u64,
    /// Bytes of all that was left out, and of what lies behind the end.
    pub(super) cut_bytes: u64,
    /// The file does not end as it should.
    pub(super) is_torn: bool,
}

/// Members beside the events: name and JSON text.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) members: Vec<(String, String)>,
    bytes: usize,
    /// Members that were too long to be kept.
    pub(super) left_out: u64,
}

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
        self.mended.shrink_to(PIECE);
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

impl Head {
    fn keep(&mut self, key: String, value: &[u8], dirty: bool) {
        let mut text = Vec::new();
        let is_whole = if dirty {
            mend(value, LONGEST_MEMBER, &mut text)
        } else {
            text.extend_from_slice(value);
            true
        };
        self.bytes += key.len() + text.len();
        match String::from_utf8(text) {
            Ok(text) if is_whole && self.bytes <= 2 * LONGEST_MEMBER => self.members.push((key, text)),
            _ => self.left_out += 1,
        }
    }
}

/// The quoted word behind the first byte, a bracket or a comma, and white space.
fn quoted(ahead: &[u8]) -> Option<&[u8]> {
    let begin = ahead.get(1..)?.trim_ascii_start().strip_prefix(b"\"")?;
    begin.split(|byte| *byte == b'"').next()
}

/// An object whose first key is one of an event's.
fn is_begin(ahead: &[u8]) -> bool {
    let keys: [&[u8]; 12] =
        [b"ph", b"name", b"cat", b"ts", b"pid", b"tid", b"dur", b"args", b"id", b"s", b"bp", b"tts"];
    quoted(ahead).is_some_and(|key| keys.contains(&key))
}

/// The end of the file, or a member that traces have behind their events.
fn is_end(ahead: &[u8]) -> bool {
    let keys: [&[u8]; 10] = [
        b"traceName",
        b"metadata",
        b"displayTimeUnit",
        b"distributedInfo",
        b"baseTimeNanoseconds",
        b"otherData",
        b"stackFrames",
        b"samples",
        b"systemTraceEvents",
        b"traceEvents",
    ];
    let behind = ahead[1..].trim_ascii_start();
    match behind.first() {
        Some(b'}') => behind[1..].trim_ascii().is_empty(),
        Some(b',') => quoted(behind).is_some_and(|key| keys.contains(&key)),
        first => first.is_none(),
    }
}
