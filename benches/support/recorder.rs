//! The contenders that are the recorder's, through the C table.

use std::hint::black_box;
use std::ptr::null;

use stepscope::agent::ffi::Api;
use stepscope::agent::ffi::recorder::{CArgument, CEvent, CRequest, CValue, argument};
use stepscope::wire::layout::NONE;

use super::consumer::RECORDED;
use super::hook::Bench;
use super::rounds::Contender;

pub const OFF: &str = "span_begin + span_end, nobody captures";
pub const ASKED: &str = "recording(), nobody captures";
pub const SPAN: &str = "span_begin + span_end, recorded";
pub const ARGUMENTS: &str = "the same with two numbers as arguments";
pub const EVENT: &str = "a counter's value, recorded";
pub const MOMENT: &str = "a moment of a request, recorded";
pub const SERVED: &str = "served: 512 requests of an iteration, recorded";

/// All of them, in the order of the table.
pub fn contenders(bench: &Bench) -> Vec<Contender<'_>> {
    let api: &'static Api = bench.agent.api;
    // SAFETY: so many bytes.
    let intern = |text: &str| unsafe { (api.intern)(text.as_ptr().cast(), text.len()) };
    let (name, category, key, other) = (intern("forward"), intern("model"), intern("tokens"), intern("layers"));
    let span = move |arguments: &[CArgument]| {
        (api.span_begin)(name, category, 1);
        // SAFETY: so many arguments.
        unsafe { (api.span_end)(arguments.as_ptr(), arguments.len(), NONE) };
    };
    let number =
        |key, number| CArgument { key, kind: argument::UNSIGNED, bytes: 0, value: CValue { unsigned_number: number } };
    // As many operations as leave `RECORDED` records at least, and fit a ring.
    let recorded = |name, operations, work: Box<dyn FnMut(u64)>| {
        let mut closing = ["still", "drain", "was it recorded", "withdraw"].map(|order| bench.teller(order));
        Contender::new(name, operations, work)
            .before(bench.teller("want events"))
            .after(move || closing.iter_mut().for_each(|order| order()))
    };
    let event = CEvent {
        size: size_of::<CEvent>() as u32,
        shape: 3,
        depth: 0,
        level: 1,
        flow_step: 0,
        name,
        category: 0,
        track: 0,
        begin: 0,
        end: 0,
        value: 1.0,
        device_ns: NONE,
        flow: 0,
        arguments: null(),
        argument_count: 0,
    };
    let moment = CRequest {
        size: size_of::<CRequest>() as u32,
        moment: 4,
        request: 77,
        at: 0,
        iteration: 1,
        prompt_tokens: 100,
        output_tokens: 1,
        cached_tokens: 0,
        id_bytes: 0,
        id: null(),
    };
    let requests: Vec<u64> = (1..=512).collect();
    let tokens = vec![1u32; 512];
    vec![
        Contender::new(ASKED, 50_000, move |n| {
            let recording = black_box(api.recording);
            (0..n).for_each(|_| _ = black_box(recording()));
        }),
        Contender::new(OFF, 50_000, move |n| (0..n).for_each(|_| span(&[]))),
        recorded(SPAN, RECORDED, Box::new(move |n| (0..n).for_each(|_| span(&[])))),
        recorded(
            ARGUMENTS,
            RECORDED * 3 / 4,
            Box::new(move |n| (0..n).for_each(|i| span(&[number(key, i), number(other, i)]))),
        ),
        // SAFETY: whole.
        recorded(EVENT, RECORDED, Box::new(move |n| (0..n).for_each(|_| unsafe { (api.event)(black_box(&event)) }))),
        recorded(
            MOMENT,
            RECORDED,
            // SAFETY: whole.
            Box::new(move |n| (0..n).for_each(|_| unsafe { (api.request)(black_box(&moment)) })),
        ),
        recorded(
            SERVED,
            130,
            Box::new(move |n| {
                // SAFETY: so many of both.
                (0..n).for_each(|i| unsafe { (api.served)(i + 1, requests.as_ptr(), tokens.as_ptr(), requests.len()) });
            }),
        ),
    ]
}
