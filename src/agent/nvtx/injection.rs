//! NVTX coming in: this library as the one that `NVTX_INJECTION64_PATH` names.
//!
//! Every library with NVTX compiled in is an *instance*: it loads us at its first call and hands us its slots. What we put
//! there looks at the range and then calls the tool that was there before us, which `STEPSCOPE_NVTX_NEXT` names: that tool
//! is given slots of our own, so that it never sees us, and gets every call that it asked for. Nothing is emitted, waited
//! for or allocated in a callback, but for the text of a domain or a registered string.
//!
//! A range is an iteration ([`steps`]), or while a window is open a span ([`spans`], [`open_ranges`]), or nothing to us.
//!
//! The protocol's callbacks carry no context, so each instance needs functions of its own: there are as many as
//! [`WATCHED`]. Instances beyond that get the tool directly, without us, and are counted.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::agent::once::Once;
use crate::wire::system;
use crate::wire::text::PathText;

use super::abi::{self, Attributes, Callbacks, GetExportTable, Handle, core, core2, export, module};
use super::message::{self, Message};
use super::names::{self, Named};
use super::pattern::{self, pattern};
use super::tables::{get_export_table, tables};
use super::{open_ranges, spans, steps};

/// Instances that are watched: torch, NCCL, cuBLAS, cuDNN, Python's nvtx and the engine itself have one each.
const WATCHED: u32 = 16;

static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// Instances that are watched, and those that came too late to be.
pub(in crate::agent) fn instances() -> (u32, u32) {
    let all = INSTANCES.load(Ordering::Relaxed);
    (all.min(WATCHED), all.saturating_sub(WATCHED))
}

/// The tool that was there before us.
pub(in crate::agent) fn next() -> Option<abi::Initialize> {
    static NEXT: Once<Option<abi::Initialize>> = Once::new();
    *NEXT.get_or_make(|| entry_of(&system::variable(c"STEPSCOPE_NVTX_NEXT")?))?
}

/// A tool's entry point; `None` if it can't be loaded, has none, or is ourselves.
pub(in crate::agent) fn entry_of(path: &PathText) -> Option<abi::Initialize> {
    if path.is_cut() {
        return None;
    }
    // SAFETY: a NUL-terminated path that the user or a launcher set for just this; the entry point has the protocol's type.
    // The library is never closed.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY);
        if library.is_null() || !libc::dlsym(library, c"stepscope_get_api".as_ptr()).is_null() {
            return None;
        }
        let entry = libc::dlsym(library, abi::ENTRY.as_ptr());
        (!entry.is_null()).then(|| std::mem::transmute::<*mut c_void, abi::Initialize>(entry))
    }
}

/// An instance hands us its slots. 0: we want none of it, and its NVTX stays a no-op.
pub(in crate::agent) fn initialize(get: GetExportTable) -> i32 {
    let number = INSTANCES.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    pattern::read();
    let passes_on = next();
    macro_rules! instance {
        ($($i:literal)*) => {
            match number {
                $($i => watch::<$i>(get, passes_on),)*
                // SAFETY: the protocol's own call, as the instance would have made it.
                _ => passes_on.map_or(0, |next| unsafe { next(get) }),
            }
        };
    }
    instance!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

fn watch<const I: usize>(get: GetExportTable, passes_on: Option<abi::Initialize>) -> i32 {
    let Some(callbacks) = callbacks(get) else { return 0 };
    // What the next tool fills in is ours to pass on. One that wants nothing leaves the slots empty.
    // SAFETY: the protocol's call, with tables that live for ever.
    let kept = passes_on.map_or(0, |next| unsafe { next(get_export_table::<I>()) });
    for number in 1..=module::SLOTS.len() {
        let (mut table, mut size) = (std::ptr::null_mut::<*mut c_void>(), 0u32);
        if (callbacks.get_module_function_table)(number as u32, &mut table, &mut size) == 0 || table.is_null() {
            continue;
        }
        for slot in 1..size as usize {
            let passed = if kept == 0 { std::ptr::null_mut() } else { tables::<I>().get(number, slot) };
            let function = ours::<I>(number, slot).unwrap_or(passed);
            if function.is_null() {
                continue;
            }
            // SAFETY: `size` addresses of function pointers, the protocol says, each of which may be set.
            unsafe {
                let address = table.add(slot).read();
                if !address.is_null() {
                    address.cast::<*mut c_void>().write(function);
                }
            }
        }
    }
    1
}

fn callbacks(get: GetExportTable) -> Option<&'static Callbacks> {
    let table = get(export::CALLBACKS).cast::<Callbacks>();
    // SAFETY: null, or a table of the protocol that lives as long as its instance; its first member tells its size.
    let table = unsafe { table.as_ref() }?;
    (table.struct_size >= size_of::<Callbacks>()).then_some(table)
}

/// Our own function for a slot, if we look at its calls.
fn ours<const I: usize>(number: usize, slot: usize) -> Option<*mut c_void> {
    Some(match (number, slot) {
        (module::CORE, core::RANGE_START_EX) => start_ex::<I> as *mut c_void,
        (module::CORE, core::RANGE_START) => start::<I> as *mut c_void,
        (module::CORE, core::RANGE_START_WIDE) => start_wide::<I> as *mut c_void,
        (module::CORE, core::RANGE_END) => end::<I> as *mut c_void,
        (module::CORE, core::RANGE_PUSH_EX) => push_ex::<I> as *mut c_void,
        (module::CORE, core::RANGE_PUSH) => push::<I> as *mut c_void,
        (module::CORE, core::RANGE_PUSH_WIDE) => push_wide::<I> as *mut c_void,
        (module::CORE, core::RANGE_POP) => pop::<I> as *mut c_void,
        (module::CORE2, core2::RANGE_START) => domain_start::<I> as *mut c_void,
        (module::CORE2, core2::RANGE_END) => domain_end::<I> as *mut c_void,
        (module::CORE2, core2::RANGE_PUSH) => domain_push::<I> as *mut c_void,
        (module::CORE2, core2::RANGE_POP) => domain_pop::<I> as *mut c_void,
        (module::CORE2, core2::REGISTER_STRING) => register::<I> as *mut c_void,
        (module::CORE2, core2::REGISTER_STRING_WIDE) => register_wide::<I> as *mut c_void,
        (module::CORE2, core2::DOMAIN_CREATE) => create::<I> as *mut c_void,
        (module::CORE2, core2::DOMAIN_CREATE_WIDE) => create_wide::<I> as *mut c_void,
        _ => return None,
    })
}

/// What a push answers when nobody counts levels: `NVTX_NO_PUSH_POP_TRACKING`.
const NOT_TRACKED: i32 = -2;

/// Whether a range means anything to us. Where it does not, a callback is this look and the tool's own function.
#[inline(always)]
fn is_watching() -> bool {
    pattern().is_some() || spans::wanted().is_some()
}

/// The next tool's function for a slot, called with these arguments; else this.
macro_rules! pass_on {
    ($module:expr, $slot:expr, $type:ty, ($($argument:expr),*), $else:expr) => {{
        let pointer = tables::<I>().get($module, $slot);
        if pointer.is_null() {
            $else
        } else {
            // SAFETY: the tool put a function of the protocol's type there; the arguments are the instance's own.
            unsafe { std::mem::transmute::<*mut c_void, $type>(pointer)($($argument),*) }
        }
    }};
}

unsafe extern "C" fn push_ex<const I: usize>(attributes: *const Attributes) -> i32 {
    if is_watching() {
        // SAFETY: the protocol's arguments, valid during the call.
        unsafe { pushed(std::ptr::null_mut(), attributes) };
    }
    pass_on!(module::CORE, core::RANGE_PUSH_EX, abi::PushEx, (attributes), NOT_TRACKED)
}

unsafe extern "C" fn push<const I: usize>(text: *const c_char) -> i32 {
    if is_watching() {
        // SAFETY: as above.
        unsafe { pushed_text(text) };
    }
    pass_on!(module::CORE, core::RANGE_PUSH, abi::PushText, (text), NOT_TRACKED)
}

unsafe extern "C" fn push_wide<const I: usize>(text: *const u32) -> i32 {
    if is_watching() {
        // SAFETY: as above.
        unsafe { pushed_wide(text) };
    }
    pass_on!(module::CORE, core::RANGE_PUSH_WIDE, abi::PushWide, (text), NOT_TRACKED)
}

unsafe extern "C" fn pop<const I: usize>() -> i32 {
    let answer = pass_on!(module::CORE, core::RANGE_POP, abi::Pop, (), NOT_TRACKED);
    if is_watching() {
        popped(std::ptr::null_mut());
    }
    answer
}

unsafe extern "C" fn start_ex<const I: usize>(attributes: *const Attributes) -> u64 {
    let range = pass_on!(module::CORE, core::RANGE_START_EX, abi::StartEx, (attributes), own_range());
    if is_watching() {
        // SAFETY: the protocol's arguments, valid during the call.
        unsafe { started(std::ptr::null_mut(), attributes, range) };
    }
    range
}

unsafe extern "C" fn start<const I: usize>(text: *const c_char) -> u64 {
    let range = pass_on!(module::CORE, core::RANGE_START, abi::StartText, (text), own_range());
    if is_watching() {
        // SAFETY: as above.
        unsafe { started_text(text, range) };
    }
    range
}

unsafe extern "C" fn start_wide<const I: usize>(text: *const u32) -> u64 {
    let range = pass_on!(module::CORE, core::RANGE_START_WIDE, abi::StartWide, (text), own_range());
    if is_watching() {
        // SAFETY: as above.
        unsafe { started_wide(text, range) };
    }
    range
}

unsafe extern "C" fn end<const I: usize>(range: u64) {
    if is_watching() {
        ended(range);
    }
    pass_on!(module::CORE, core::RANGE_END, abi::End, (range), ());
}

unsafe extern "C" fn domain_push<const I: usize>(domain: Handle, attributes: *const Attributes) -> i32 {
    if is_watching() {
        // SAFETY: the protocol's arguments, valid during the call.
        unsafe { pushed(domain, attributes) };
    }
    pass_on!(module::CORE2, core2::RANGE_PUSH, abi::RangePush, (domain, attributes), NOT_TRACKED)
}

unsafe extern "C" fn domain_pop<const I: usize>(domain: Handle) -> i32 {
    let answer = pass_on!(module::CORE2, core2::RANGE_POP, abi::RangePop, (domain), NOT_TRACKED);
    if is_watching() {
        popped(domain);
    }
    answer
}

unsafe extern "C" fn domain_start<const I: usize>(domain: Handle, attributes: *const Attributes) -> u64 {
    let range = pass_on!(module::CORE2, core2::RANGE_START, abi::RangeStart, (domain, attributes), own_range());
    if is_watching() {
        // SAFETY: as above.
        unsafe { started(domain, attributes, range) };
    }
    range
}

unsafe extern "C" fn domain_end<const I: usize>(domain: Handle, range: u64) {
    if is_watching() {
        ended(range);
    }
    pass_on!(module::CORE2, core2::RANGE_END, abi::RangeEnd, (domain, range), ());
}

unsafe extern "C" fn register<const I: usize>(domain: Handle, text: *const c_char) -> Handle {
    let passed =
        pass_on!(module::CORE2, core2::REGISTER_STRING, abi::RegisterString, (domain, text), std::ptr::null_mut());
    // SAFETY: NUL-terminated or null, by the protocol.
    match unsafe { Message::of_text(text) } {
        Message::Text(text) => known_string(passed, text),
        _ => passed,
    }
}

unsafe extern "C" fn register_wide<const I: usize>(domain: Handle, text: *const u32) -> Handle {
    let passed = pass_on!(
        module::CORE2,
        core2::REGISTER_STRING_WIDE,
        abi::RegisterStringWide,
        (domain, text),
        std::ptr::null_mut()
    );
    if text.is_null() {
        return passed;
    }
    // SAFETY: NUL-terminated, by the protocol.
    known_string(passed, unsafe { message::narrow(text) }.as_bytes())
}

unsafe extern "C" fn create<const I: usize>(text: *const c_char) -> Handle {
    let passed = pass_on!(module::CORE2, core2::DOMAIN_CREATE, abi::DomainCreate, (text), std::ptr::null_mut());
    // SAFETY: as above.
    match unsafe { Message::of_text(text) } {
        Message::Text(text) => known_domain(passed, text),
        _ => passed,
    }
}

unsafe extern "C" fn create_wide<const I: usize>(text: *const u32) -> Handle {
    let passed =
        pass_on!(module::CORE2, core2::DOMAIN_CREATE_WIDE, abi::DomainCreateWide, (text), std::ptr::null_mut());
    if text.is_null() {
        return passed;
    }
    // SAFETY: NUL-terminated, by the protocol.
    known_domain(passed, unsafe { message::narrow(text) }.as_bytes())
}

/// Ids of start/end ranges where no tool gives them.
fn own_range() -> u64 {
    static RANGES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    RANGES.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Keeps what a registered string stands for; where no tool gave a handle, what we keep is the handle.
#[inline(never)]
fn known_string(passed: Handle, text: &[u8]) -> Handle {
    let matches = pattern().is_some_and(|pattern| pattern.takes(text));
    Named::copy(text, matches).map_or(passed, |named| names::keep(passed, named))
}

/// The same for a domain; one name is one domain, whichever instance asks.
#[inline(never)]
fn known_domain(passed: Handle, text: &[u8]) -> Handle {
    let matches = pattern().is_some_and(|pattern| pattern.takes_domain(text));
    names::domain(text, matches).map_or(passed, |named| names::keep(passed, named))
}

/// The text of a range, if it is one that begins an iteration.
fn step_text<'a>(domain: Handle, message: Message<'a>) -> Option<&'a [u8]> {
    let pattern = pattern()?;
    let in_domain = if domain.is_null() { pattern.takes_domain(b"") } else { names::get(domain)?.matches };
    match message {
        _ if !in_domain => None,
        Message::Text(text) => Some(text).filter(|text| pattern.takes(text)),
        Message::Registered(named) => named.filter(|named| named.matches).map(|named| named.text),
        Message::Nothing | Message::Wide(_) => None,
    }
}

#[inline(always)]
fn push_message(domain: Handle, message: Message<'_>) {
    if !steps::pushed(domain, step_text(domain, message))
        && let Some(window) = spans::wanted()
    {
        spans::push(window, domain, message);
    }
}

#[inline(always)]
fn start_message(domain: Handle, message: Message<'_>, range: u64) {
    if !step_text(domain, message).is_some_and(|text| steps::started(text, range))
        && let Some(window) = spans::wanted()
    {
        open_ranges::start(window, domain, message, range);
    }
}

// One copy of each for all instances, and `extern "C"`, which cannot unwind.

/// # Safety
/// `attributes` is null, or as large as it says, with a message that is valid during the call.
#[inline(never)]
unsafe extern "C" fn pushed(domain: Handle, attributes: *const Attributes) {
    // SAFETY: by contract.
    push_message(domain, unsafe { Message::of_attributes(attributes) });
}

/// # Safety
/// `text` is null or NUL-terminated.
#[inline(never)]
unsafe extern "C" fn pushed_text(text: *const c_char) {
    // SAFETY: by contract.
    push_message(std::ptr::null_mut(), unsafe { Message::of_text(text) });
}

/// # Safety
/// `text` is null or NUL-terminated.
#[inline(never)]
unsafe extern "C" fn pushed_wide(text: *const u32) {
    push_message(std::ptr::null_mut(), Message::of_wide(text));
}

#[inline(never)]
extern "C" fn popped(domain: Handle) {
    if !steps::popped(domain)
        && let Some(window) = spans::wanted()
    {
        spans::pop(window, domain);
    }
}

/// # Safety
/// As [`pushed`].
#[inline(never)]
unsafe extern "C" fn started(domain: Handle, attributes: *const Attributes, range: u64) {
    // SAFETY: by contract.
    start_message(domain, unsafe { Message::of_attributes(attributes) }, range);
}

/// # Safety
/// `text` is null or NUL-terminated.
#[inline(never)]
unsafe extern "C" fn started_text(text: *const c_char, range: u64) {
    // SAFETY: by contract.
    start_message(std::ptr::null_mut(), unsafe { Message::of_text(text) }, range);
}

/// # Safety
/// `text` is null or NUL-terminated.
#[inline(never)]
unsafe extern "C" fn started_wide(text: *const u32, range: u64) {
    start_message(std::ptr::null_mut(), Message::of_wide(text), range);
}

#[inline(never)]
extern "C" fn ended(range: u64) {
    if !steps::ended(range)
        && let Some(window) = spans::wanted()
    {
        open_ranges::end(window, range);
    }
}
