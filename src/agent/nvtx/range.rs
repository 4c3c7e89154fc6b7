//! What we emit, in the domain `stepscope`: the window as a range `capture` that any thread may end (a push/pop range
//! ended from another thread never ends in nsys), an iteration as a push/pop range named as vLLM names it, with its number
//! as payload, and a mark for each move of the gate. Nothing here allocates.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::record::Batch;
use crate::wire::system;
use crate::wire::text::FixedText;

use super::client::{Client, Message, client};

const WINDOW_COLOR: u32 = 0xff76_b900;
const ITERATION_COLOR: u32 = 0xff1f_77b4;
const MARK_COLOR: u32 = 0xffff_7f0e;

/// When iterations are ranges, where a tool listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Wanted {
    /// Never: no tool is even looked for.
    Off,
    /// In windows.
    Window,
    /// All of them.
    Always,
}

/// What `STEPSCOPE_NVTX` asks for.
pub(in crate::agent) fn wanted() -> Wanted {
    match system::variable::<16>(c"STEPSCOPE_NVTX").unwrap_or_default().as_bytes() {
        b"off" | b"0" => Wanted::Off,
        b"always" => Wanted::Always,
        _ => Wanted::Window,
    }
}

/// The range `capture` that is open, or 0.
static CAPTURE: AtomicU64 = AtomicU64::new(0);

/// A name on the stack: four numbers of ten digits, and the words.
type Name = FixedText<96>;

/// As vLLM names an iteration: requests and tokens of both phases.
fn name_of(batch: &Batch, dummy: bool) -> Name {
    let mut name = Name::new();
    if dummy {
        return *name.push("execute_dummy_batch");
    }
    let mut phase = |words: &str, requests: u32, tokens: u32| {
        name.push(words).push_decimal(requests.into()).push("(").push_decimal(tokens.into()).push(")");
    };
    phase("execute_context_", batch.context_requests, batch.context_tokens);
    phase("_generation_", batch.generation_requests, batch.generation_tokens);
    name
}

/// The window's range begins. `false`: no tool, or one that has no such ranges.
pub(in crate::agent) fn open(generation: u64) -> bool {
    let Some(range) = client().and_then(|c| c.start(Message::Capture, WINDOW_COLOR, generation)) else { return false };
    // A tool may count its ranges from 0.
    CAPTURE.store(range.wrapping_add(1), Ordering::Release);
    true
}

/// And ends. `false`: none was open.
pub(in crate::agent) fn close() -> bool {
    let range = CAPTURE.swap(0, Ordering::AcqRel);
    if let (Some(client), true) = (client(), range != 0) {
        client.end(range.wrapping_sub(1));
        return true;
    }
    false
}

/// An iteration whose batch is known begins.
pub(in crate::agent) fn begin_iteration(client: &Client, iteration: u64, batch: &Batch, dummy: bool) {
    // NUL-padded, and never full.
    let name = name_of(batch, dummy).padded();
    client.push(Message::Text(CStr::from_bytes_until_nul(&name).unwrap_or(c"")), ITERATION_COLOR, iteration);
}

/// An iteration of which no batch is told begins.
pub(in crate::agent) fn begin_unnamed(client: &Client, iteration: u64) {
    client.push(Message::Text(c"iteration"), ITERATION_COLOR, iteration);
}

/// The gate moved.
pub(in crate::agent) fn mark(what: &CStr, generation: u64) {
    if let Some(client) = client() {
        client.mark(Message::Text(what), MARK_COLOR, generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iteration_is_named_as_vllm_names_it() {
        let batch = Batch { context_requests: 2, context_tokens: 512, generation_requests: 30, generation_tokens: 30 };
        assert_eq!(name_of(&batch, false).as_bytes(), b"execute_context_2(512)_generation_30(30)");
        let most = Batch {
            context_requests: u32::MAX,
            context_tokens: u32::MAX,
            generation_requests: u32::MAX,
            generation_tokens: u32::MAX,
        };
        assert!(!name_of(&most, false).is_cut());
    }
}
