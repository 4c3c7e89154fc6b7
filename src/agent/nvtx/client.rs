//! Our own emitter: finds the tool when the process joins, and calls it.
//!
//! Looked for once, before the first window: loading a tool takes as long as it takes, and no window waits for it. A tool
//! that comes later than that is not seen, as with every NVTX instance.

use std::ffi::{CStr, c_void};

use crate::agent::once::Once;
use crate::wire::system;

use super::abi::{self, Attributes, Handle, core2, module};
use super::injection;
use super::range;
use super::tables::{OURS, Tables, get_export_table, tables};

/// Our domain's name.
const DOMAIN: &CStr = c"stepscope";
/// What the window's range is called; `nsys profile -c nvtx -p capture@stepscope` waits for it.
const CAPTURE: &CStr = c"capture";

/// A tool that listens, and what we need of it. Each function may be missing.
#[derive(Debug)]
pub(in crate::agent) struct Client {
    domain: Handle,
    /// `capture`, registered: nsys looks at registered strings only, unless told otherwise.
    capture: Handle,
    push: Option<abi::RangePush>,
    pop: Option<abi::RangePop>,
    start: Option<abi::RangeStart>,
    end: Option<abi::RangeEnd>,
    mark: Option<abi::Mark>,
}

// SAFETY: handles and functions of a library that is never unloaded, and that NVTX asks to be callable from any thread.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

static CLIENT: Once<Option<Client>> = Once::new();

/// The tool, if there is one and it was looked for.
#[inline]
pub(in crate::agent) fn client() -> Option<&'static Client> {
    CLIENT.get()?.as_ref()
}

/// Looks for the tool, once. `true`: there is one.
pub(in crate::agent) fn look() -> bool {
    if range::wanted() == range::Wanted::Off {
        return false;
    }
    CLIENT.get_or_make(|| connect(injected().or_else(injection::next)?)).is_some_and(Option::is_some)
}

/// The tool that `NVTX_INJECTION64_PATH` names, unless that is ourselves: then the one that we pass calls on to.
fn injected() -> Option<abi::Initialize> {
    injection::entry_of(&system::variable(c"NVTX_INJECTION64_PATH")?)
}

fn connect(initialize: abi::Initialize) -> Option<Client> {
    // SAFETY: the protocol's call, with tables that live for ever.
    if unsafe { initialize(get_export_table::<OURS>()) } == 0 {
        return None;
    }
    let slots = tables::<OURS>();
    // SAFETY: the tool put functions of the protocol's types into these slots.
    let (create, register) = unsafe {
        (
            function::<abi::DomainCreate>(slots, core2::DOMAIN_CREATE),
            function::<abi::RegisterString>(slots, core2::REGISTER_STRING),
        )
    };
    // SAFETY: NUL-terminated strings.
    let domain = create.map_or(std::ptr::null_mut(), |create| unsafe { create(DOMAIN.as_ptr()) });
    // SAFETY: a domain of this tool, and a NUL-terminated string.
    let capture = register.map_or(std::ptr::null_mut(), |register| unsafe { register(domain, CAPTURE.as_ptr()) });
    // SAFETY: as above.
    let client = unsafe {
        Client {
            domain,
            capture,
            push: function(slots, core2::RANGE_PUSH),
            pop: function(slots, core2::RANGE_POP),
            start: function(slots, core2::RANGE_START),
            end: function(slots, core2::RANGE_END),
            mark: function(slots, core2::MARK),
        }
    };
    // A tool that fills in nothing does not listen.
    (client.push.is_some() || client.start.is_some()).then_some(client)
}

/// # Safety
/// `F` is the protocol's function pointer type of this slot of module CORE2.
unsafe fn function<F: Copy>(slots: &Tables, slot: usize) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let pointer = slots.get(module::CORE2, slot);
    // SAFETY: by contract; same size, checked above, and not null.
    (!pointer.is_null()).then(|| unsafe { std::mem::transmute_copy::<*mut c_void, F>(&pointer) })
}

/// What a range or a mark is called.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) enum Message<'a> {
    /// Copied by the tool during the call.
    Text(&'a CStr),
    /// The registered `capture`.
    Capture,
}

impl Client {
    fn attributes(&self, message: Message<'_>, color: u32, payload: u64) -> Attributes {
        let (message_type, message) = match message {
            Message::Capture if !self.capture.is_null() => (abi::MESSAGE_REGISTERED, self.capture.cast_const()),
            Message::Capture => (abi::MESSAGE_ASCII, CAPTURE.as_ptr().cast()),
            Message::Text(text) => (abi::MESSAGE_ASCII, text.as_ptr().cast::<c_void>()),
        };
        Attributes {
            version: abi::VERSION,
            size: size_of::<Attributes>() as u16,
            category: 0,
            color_type: abi::COLOR_ARGB,
            color,
            payload_type: abi::PAYLOAD_U64,
            reserved: 0,
            payload,
            message_type,
            message,
        }
    }

    /// A range on this thread begins.
    pub(in crate::agent) fn push(&self, message: Message<'_>, color: u32, payload: u64) {
        if let Some(push) = self.push {
            // SAFETY: whole attributes that live until the call returns.
            unsafe { push(self.domain, &self.attributes(message, color, payload)) };
        }
    }

    /// The range that this thread began last ends.
    pub(in crate::agent) fn pop(&self) {
        if let Some(pop) = self.pop {
            // SAFETY: a domain of this tool.
            unsafe { pop(self.domain) };
        }
    }

    /// A range begins that any thread may end.
    pub(in crate::agent) fn start(&self, message: Message<'_>, color: u32, payload: u64) -> Option<u64> {
        // SAFETY: whole attributes that live until the call returns.
        self.start.map(|start| unsafe { start(self.domain, &self.attributes(message, color, payload)) })
    }

    /// And ends.
    pub(in crate::agent) fn end(&self, range: u64) {
        if let Some(end) = self.end {
            // SAFETY: a range of this tool and domain.
            unsafe { end(self.domain, range) };
        }
    }

    /// A moment.
    pub(in crate::agent) fn mark(&self, message: Message<'_>, color: u32, payload: u64) {
        if let Some(mark) = self.mark {
            // SAFETY: whole attributes that live until the call returns.
            unsafe { mark(self.domain, &self.attributes(message, color, payload)) };
        }
    }
}
