//! What a Rust engine tells of itself besides its iterations.
//!
//! ```no_run
//! use stepscope::agent::api::recorder::{self, Moment, Name, RequestMoment, Value};
//!
//! let (schedule, scheduler, waiting) = (Name::new("schedule"), Name::new("scheduler"), Name::new("waiting"));
//! {
//!     let mut span = recorder::span(schedule, scheduler);
//!     span.argument(waiting, Value::Unsigned(3));
//! } // ends here
//! recorder::counter(waiting, 3.0);
//! recorder::request(&RequestMoment { id: "cmpl-1", ..RequestMoment::new(recorder::request_number("cmpl-1"), Moment::Queued) });
//! ```
//!
//! While nobody captures, each call is a few loads and a branch; [`recording`] tells whether it is worth working out what
//! to say.

use std::mem::offset_of;
use std::num::NonZeroU64;
use std::ptr::null;

use crate::agent::ffi::Api;
use crate::agent::ffi::recorder::{CArgument, CEvent, CRequest, CValue, argument};
use crate::wire::layout::NONE;

pub use crate::wire::event::{FlowStep, Moment};

use super::table;

/// Arguments that a span has room for.
const ARGUMENTS: usize = 8;

/// The table, if its agent has a recorder: an older one, loaded before us, may not.
#[inline]
fn recorder() -> Option<&'static Api> {
    Some(table()).filter(|api| api.has(offset_of!(Api, served)))
}

/// A name, a category or the key of an argument: interned once, valid for ever. There are to be few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Name(u64);

impl Name {
    /// No category.
    pub const NONE: Self = Self(0);

    /// Interns a text; the same for the same text.
    pub fn new(text: &str) -> Self {
        // SAFETY: so many bytes.
        Self(recorder().map_or(0, |api| unsafe { (api.intern)(text.as_ptr().cast(), text.len()) }))
    }
}

/// Whether a capture wants events: a number that is another one for each capture, its low byte the highest level wanted.
#[inline]
pub fn recording() -> Option<NonZeroU64> {
    recorder().and_then(|api| NonZeroU64::new((api.recording)()))
}

/// Now, in ticks.
pub fn now() -> u64 {
    recorder().map_or(0, |api| (api.now)())
}

/// The value of an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// Any number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// A text; the first 240 bytes are kept.
    Text(&'a str),
}

impl Value<'_> {
    fn named(self, key: Name) -> CArgument {
        let (kind, bytes, value) = match self {
            Self::Unsigned(number) => (argument::UNSIGNED, 0, CValue { unsigned_number: number }),
            Self::Signed(number) => (argument::SIGNED, 0, CValue { signed_number: number }),
            Self::Number(number) => (argument::NUMBER, 0, CValue { number }),
            Self::Flag(flag) => (argument::FLAG, 0, CValue { unsigned_number: flag.into() }),
            Self::Text(text) => (argument::TEXT, text.len(), CValue { text: text.as_ptr().cast() }),
        };
        CArgument { key: key.0, kind, bytes: u32::try_from(bytes).unwrap_or(u32::MAX), value }
    }
}

const NOTHING: CArgument = CArgument { key: 0, kind: 0, bytes: 0, value: CValue { unsigned_number: 0 } };

/// A span of this thread, from here until it is dropped. Spans of a thread nest, as values of a scope do.
#[derive(Debug)]
#[must_use = "the span ends when this is dropped"]
pub struct Span<'a> {
    api: Option<&'static Api>,
    arguments: [CArgument; ARGUMENTS],
    count: usize,
    device_ns: u64,
    /// The texts of its arguments; and it may not leave its thread.
    texts: std::marker::PhantomData<(*const (), &'a str)>,
}

/// A span begins, of a level that is always wanted.
#[inline]
pub fn span<'a>(name: Name, category: Name) -> Span<'a> {
    span_of_level(name, category, 1)
}

/// A span begins, of this level (1 to 3).
#[inline]
pub fn span_of_level<'a>(name: Name, category: Name, level: u32) -> Span<'a> {
    let api = recorder();
    if let Some(api) = api {
        (api.span_begin)(name.0, category.0, level);
    }
    Span { api, arguments: [NOTHING; ARGUMENTS], count: 0, device_ns: NONE, texts: std::marker::PhantomData }
}

impl<'a> Span<'a> {
    /// Tells more about it; what is beyond the eighth argument is left out.
    pub fn argument(&mut self, key: Name, value: Value<'a>) {
        if let Some(place) = self.arguments.get_mut(self.count) {
            *place = value.named(key);
            self.count += 1;
        }
    }

    /// How long the same work took on the device.
    pub fn device_ns(&mut self, device_ns: u64) {
        self.device_ns = device_ns;
    }
}

impl Drop for Span<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(api) = self.api {
            // SAFETY: so many arguments, whose texts live as long as this.
            unsafe { (api.span_end)(self.arguments.as_ptr(), self.count, self.device_ns) };
        }
    }
}

/// An event that is told whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Event<'a> {
    /// What it is called.
    pub name: Name,
    /// What it belongs to.
    pub category: Name,
    /// 1 to 3; 0 is 1.
    pub level: u32,
    /// 0: this thread's row. Else a number of yours: a row of a task, say; see [`track`].
    pub track: u64,
    /// Begin in ticks; 0: now.
    pub begin: u64,
    /// End in ticks; 0: now.
    pub end: u64,
    /// Of a span: spans of its track that are open around it.
    pub depth: u16,
    /// How long the same work took on the device.
    pub device_ns: Option<u64>,
    /// The arrow through it.
    pub flow: Option<(FlowStep, u64)>,
    /// More about it; the first eight.
    pub arguments: &'a [(Name, Value<'a>)],
}

impl Event<'_> {
    fn tell(&self, shape: u16, value: f64) {
        let Some(api) = recorder() else { return };
        let mut arguments = [NOTHING; ARGUMENTS];
        let given = arguments.iter_mut().zip(self.arguments);
        let argument_count = given.map(|(place, (key, value))| *place = value.named(*key)).count() as u64;
        let (flow_step, flow) = self.flow.map_or((0, 0), |(step, flow)| (step as u32, flow));
        let event = CEvent {
            size: size_of::<CEvent>() as u32,
            shape,
            depth: self.depth,
            level: self.level,
            flow_step,
            name: self.name.0,
            category: self.category.0,
            track: self.track,
            begin: self.begin,
            end: self.end,
            value,
            device_ns: self.device_ns.unwrap_or(NONE),
            flow,
            arguments: arguments.as_ptr(),
            argument_count,
        };
        // SAFETY: whole, and its arguments' texts live until the call returns.
        unsafe { (api.event)(&event) };
    }

    /// From begin to end, nested in what surrounds it on its track.
    pub fn span(&self) {
        self.tell(1, 0.0);
    }

    /// A moment, at its begin.
    pub fn instant(&self) {
        self.tell(2, 0.0);
    }

    /// From begin to end, told afterwards: it may overlap anything.
    pub fn duration(&self) {
        self.tell(4, 0.0);
    }
}

/// A moment, now.
pub fn instant(name: Name, category: Name) {
    Event { name, category, ..Event::default() }.instant();
}

/// The value of a counter of this process from now on.
pub fn counter(name: Name, value: f64) {
    Event { name, ..Event::default() }.tell(3, value);
}

/// A track of your own gets its name. Tell it again in each capture.
pub fn track(number: u64, name: Name) {
    if let Some(api) = recorder() {
        (api.track)(number, name.0);
    }
}

/// The number of a request, made from its id: the same in every process of an engine.
pub fn request_number(id: &str) -> u64 {
    crate::wire::wanted::number(id.as_bytes())
}

/// A moment in the life of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestMoment<'a> {
    /// [`request_number`] of its id.
    pub request: u64,
    /// What happened.
    pub moment: Moment,
    /// When, in ticks; 0: now.
    pub at: u64,
    /// In which iteration; 0: none, or not known.
    pub iteration: u64,
    /// Tokens of its prompt; 0: not known.
    pub prompt_tokens: u32,
    /// Tokens put out so far.
    pub output_tokens: u32,
    /// Tokens of its prompt that were in a cache.
    pub cached_tokens: u32,
    /// What people know it by; empty: told before in this capture, or never.
    pub id: &'a str,
}

impl RequestMoment<'_> {
    /// Now, and nothing else known.
    pub fn new(request: u64, moment: Moment) -> Self {
        Self { request, moment, at: 0, iteration: 0, prompt_tokens: 0, output_tokens: 0, cached_tokens: 0, id: "" }
    }
}

/// Something happened to a request.
pub fn request(told: &RequestMoment<'_>) {
    let Some(api) = recorder() else { return };
    let request = CRequest {
        size: size_of::<CRequest>() as u32,
        moment: told.moment as u32,
        request: told.request,
        at: told.at,
        iteration: told.iteration,
        prompt_tokens: told.prompt_tokens,
        output_tokens: told.output_tokens,
        cached_tokens: told.cached_tokens,
        id_bytes: u32::try_from(told.id.len()).unwrap_or(u32::MAX),
        id: if told.id.is_empty() { null() } else { told.id.as_ptr().cast() },
    };
    // SAFETY: whole, and its id lives until the call returns.
    unsafe { (api.request)(&request) };
}

impl super::Step {
    /// The iteration computes so many tokens of each of these requests.
    pub fn served(&self, requests: &[u64], tokens: &[u32]) {
        let count = requests.len().min(tokens.len());
        if let (Some(api), true) = (recorder(), self.is_recorded()) {
            // SAFETY: so many of both.
            unsafe { (api.served)(self.iteration, requests.as_ptr(), tokens.as_ptr(), count) };
        }
    }
}
