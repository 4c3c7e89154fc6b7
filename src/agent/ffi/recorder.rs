//! The recorder's part of the table: what an engine tells of itself.
//!
//! Texts come as handles of [`intern`], whose numbers are addresses of ours: a caller passes on what it got, or 0.

use std::ffi::{c_char, c_double};
use std::mem::offset_of;

use crate::agent::nvtx::names::Named;
use crate::agent::recorder::{self, ArgumentValue, Told};
use crate::wire::event::{FlowStep, MAX_ARGUMENTS, Request, Shape, Value};
use crate::wire::layout::NONE;
use crate::wire::wanted::{self, level};

/// `stepscope_argument`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(missing_docs, reason = "documented in include/stepscope.h")]
pub struct CArgument {
    pub key: u64,
    pub kind: u32,
    pub bytes: u32,
    pub value: CValue,
}

/// The value of a `stepscope_argument`.
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(missing_docs, reason = "documented in include/stepscope.h")]
pub union CValue {
    pub unsigned_number: u64,
    pub signed_number: i64,
    pub number: c_double,
    pub text: *const c_char,
}

impl std::fmt::Debug for CValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CValue")
    }
}

/// Kinds of [`CArgument`].
pub mod argument {
    /// A whole number.
    pub const UNSIGNED: u32 = 1;
    /// A whole number.
    pub const SIGNED: u32 = 2;
    /// Any number.
    pub const NUMBER: u32 = 3;
    /// Yes or no.
    pub const FLAG: u32 = 4;
    /// UTF-8, so many bytes.
    pub const TEXT: u32 = 5;
}

/// `stepscope_event`.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "documented in include/stepscope.h")]
pub struct CEvent {
    pub size: u32,
    pub shape: u16,
    pub depth: u16,
    pub level: u32,
    pub flow_step: u32,
    pub name: u64,
    pub category: u64,
    pub track: u64,
    pub begin: u64,
    pub end: u64,
    pub value: c_double,
    pub device_ns: u64,
    pub flow: u64,
    pub arguments: *const CArgument,
    pub argument_count: u64,
}

/// `stepscope_request`.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "documented in include/stepscope.h")]
pub struct CRequest {
    pub size: u32,
    pub moment: u32,
    pub request: u64,
    pub at: u64,
    pub iteration: u64,
    pub prompt_tokens: u32,
    pub output_tokens: u32,
    pub cached_tokens: u32,
    pub id_bytes: u32,
    pub id: *const c_char,
}

/// Bytes that memory has from a pointer on; none where it is null.
///
/// # Safety
/// Null, or so many bytes that live as long as the result is used.
unsafe fn bytes<'a>(text: *const c_char, count: usize) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(text.cast(), count) }
}

/// The text behind a handle.
fn named(handle: u64) -> Option<&'static Named> {
    // SAFETY: 0, or what `intern` gave, which is never freed.
    unsafe { std::ptr::with_exposed_provenance::<Named>(handle as usize).as_ref() }
}

pub(super) extern "C" fn recording() -> u64 {
    recorder::recording()
}

pub(super) unsafe extern "C" fn intern(text: *const c_char, count: usize) -> u64 {
    // SAFETY: the header asks for so many bytes.
    let text = unsafe { bytes(text, count) };
    recorder::intern(text).map_or(0, |named| std::ptr::from_ref(named).expose_provenance() as u64)
}

pub(super) extern "C" fn now() -> u64 {
    recorder::now()
}

pub(super) extern "C" fn ticks_at(monotonic_ns: u64) -> u64 {
    recorder::ticks_at(monotonic_ns)
}

pub(super) extern "C" fn span_begin(name: u64, category: u64, event_level: u32) {
    recorder::span_begin(named(name), named(category), level_of(event_level));
}

pub(super) unsafe extern "C" fn span_end(arguments: *const CArgument, count: usize, device_ns: u64) {
    if recorder::wanted() == 0 {
        return;
    }
    // SAFETY: the header asks for so many arguments.
    unsafe { with_arguments(arguments, count, |arguments| recorder::span_end(arguments, measured(device_ns))) };
}

pub(super) unsafe extern "C" fn event(event: *const CEvent) {
    if recorder::wanted() == 0 || event.is_null() {
        return;
    }
    // SAFETY: the first member, by the header.
    if (unsafe { event.cast::<u32>().read() } as usize) < size_of::<CEvent>() {
        return;
    }
    // SAFETY: as large as it says.
    let event = unsafe { &*event };
    let Some(name) = named(event.name) else { return };
    let begin_ticks = if event.begin == 0 { recorder::now() } else { event.begin };
    let shape = match event.shape {
        1 => Shape::Span,
        2 => Shape::Instant,
        3 => Shape::Counter,
        4 => Shape::Duration,
        _ => return,
    };
    let end_ticks = match shape {
        Shape::Counter => event.value.to_bits(),
        Shape::Instant => begin_ticks,
        Shape::Span | Shape::Duration if event.end == 0 => recorder::now(),
        Shape::Span | Shape::Duration => event.end,
    };
    let step = match event.flow_step {
        0 => FlowStep::Begin,
        1 => FlowStep::Step,
        _ => FlowStep::End,
    };
    let told = Told {
        shape,
        begin_ticks,
        end_ticks: if shape == Shape::Counter { end_ticks } else { end_ticks.max(begin_ticks) },
        name,
        category: named(event.category),
        depth: event.depth,
        track: event.track,
        device_ns: measured(event.device_ns),
        flow: (event.flow != 0).then_some((step, event.flow)),
    };
    let count = event.argument_count as usize;
    // SAFETY: the header asks for so many arguments.
    unsafe {
        with_arguments(event.arguments, count, |arguments| recorder::event(&told, level_of(event.level), arguments));
    }
}

pub(super) extern "C" fn track(number: u64, name: u64) {
    if let Some(name) = named(name) {
        recorder::track(number, name);
    }
}

pub(super) unsafe extern "C" fn request_number(id: *const c_char, count: usize) -> u64 {
    // SAFETY: the header asks for so many bytes.
    wanted::number(unsafe { bytes(id, count) })
}

pub(super) unsafe extern "C" fn request(request: *const CRequest) {
    if recorder::wanted() == 0 || request.is_null() {
        return;
    }
    // SAFETY: the first member, by the header.
    if (unsafe { request.cast::<u32>().read() } as usize) < size_of::<CRequest>() {
        return;
    }
    // SAFETY: as large as it says.
    let told = unsafe { &*request };
    // SAFETY: the header asks for so many bytes.
    let id = unsafe { bytes(told.id, told.id_bytes as usize) };
    if told.request == 0 {
        return;
    }
    let at = if told.at == 0 { recorder::now() } else { told.at };
    let request = Request {
        generation: 0,
        moment: told.moment as u16,
        request: told.request,
        ticks: at,
        iteration: told.iteration,
        prompt_tokens: told.prompt_tokens,
        output_tokens: told.output_tokens,
        cached_tokens: told.cached_tokens,
        id: 0,
    };
    recorder::request(request, id);
}

pub(super) unsafe extern "C" fn served(iteration: u64, requests: *const u64, tokens: *const u32, count: usize) {
    if recorder::wanted() == 0 || iteration == 0 || requests.is_null() || tokens.is_null() {
        return;
    }
    // SAFETY: the header asks for so many of both.
    let (requests, tokens) =
        unsafe { (std::slice::from_raw_parts(requests, count), std::slice::from_raw_parts(tokens, count)) };
    recorder::served(iteration, requests.iter().copied().zip(tokens.iter().copied()));
}

fn measured(device_ns: u64) -> Option<u64> {
    (device_ns != NONE).then_some(device_ns)
}

/// 0 is what is always wanted.
fn level_of(event_level: u32) -> u64 {
    u64::from(event_level).max(level::BASIC)
}

/// Calls `f` with the arguments that make sense, [`MAX_ARGUMENTS`] at most.
///
/// # Safety
/// Null, or so many arguments whose texts have the bytes that they say.
#[inline(always)]
unsafe fn with_arguments(arguments: *const CArgument, count: usize, f: impl Fn(&[ArgumentValue<'_>])) {
    if arguments.is_null() || count == 0 {
        // Most have none, and the place for them is half a kilobyte.
        return f(&[]);
    }
    // SAFETY: by contract.
    unsafe { with_some_arguments(std::slice::from_raw_parts(arguments, count), f) }
}

/// # Safety
/// Their texts have the bytes that they say.
#[inline(never)]
unsafe fn with_some_arguments(given: &[CArgument], f: impl Fn(&[ArgumentValue<'_>])) {
    let mut taken = [const { ArgumentValue::Nothing }; MAX_ARGUMENTS];
    let mut used: usize = 0;
    for argument in given {
        let Some(key) = named(argument.key) else { continue };
        // SAFETY: by contract, the kind says which member is there.
        let value = unsafe {
            match argument.kind {
                argument::UNSIGNED => ArgumentValue::Number(key, Value::Unsigned(argument.value.unsigned_number)),
                argument::SIGNED => ArgumentValue::Number(key, Value::Signed(argument.value.signed_number)),
                argument::NUMBER => ArgumentValue::Number(key, Value::Float(argument.value.number.to_bits())),
                argument::FLAG => ArgumentValue::Number(key, Value::Flag(argument.value.unsigned_number != 0)),
                argument::TEXT => ArgumentValue::Text(key, bytes(argument.value.text, argument.bytes as usize)),
                _ => continue,
            }
        };
        let Some(place) = taken.get_mut(used) else { break };
        *place = value;
        used = used.wrapping_add(1);
    }
    f(taken.get(..used).unwrap_or_default());
}

const _: () = {
    assert!(size_of::<CArgument>() == 24 && offset_of!(CArgument, value) == 16);
    assert!(size_of::<CEvent>() == 96 && offset_of!(CEvent, name) == 16 && offset_of!(CEvent, arguments) == 80);
    assert!(size_of::<CRequest>() == 56 && offset_of!(CRequest, at) == 16 && offset_of!(CRequest, id) == 48);
};
