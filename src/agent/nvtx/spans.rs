//! Other ranges than iterations, as spans: what an engine tells of while a window is open.
//!
//! A push is kept on a stack of its thread, and becomes a record when its pop comes. What was pushed before the window is
//! not on the stack, and its pop finds nothing; what is still open when the window closes is forgotten. A stack belongs to
//! one window: the next one begins it anew. Nothing of it is kept anywhere while no window is open.
//!
//! Domains have stacks of their own in NVTX. Here they share one, of which a pop takes the topmost range of its domain.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::agent::state::{self, Joined};
use crate::agent::threads::{self, Name, Text};
use crate::wire::clock::ClockKind;
use crate::wire::record::{SHORT_BYTES, Span, SpanName, TEXT_BYTES};
use crate::wire::text::cut;
use crate::wire::wanted;

use super::abi::Handle;
use super::message::{self, Message};
use super::names::{self, Named};

/// Most ranges that are open on a thread at once; deeper ones are dropped and counted.
const DEPTH: usize = 32;
/// Bytes for the long names of a thread's open ranges; one that does not fit is cut to [`SHORT_BYTES`].
const TEXT_ROOM: usize = 4096;

/// The window that wants spans, see [`Window`]; 0: none.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// Windows that did, in this process and in those it was forked from.
static WINDOWS: AtomicU64 = AtomicU64::new(0);

/// A window, by its number (upper half) and the low half of its generation. No two windows of a process are alike, nor of
/// a process and its forked child, whose generations begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) struct Window(NonZeroU64);

impl Window {
    pub(super) fn word(self) -> u64 {
        self.0.get()
    }

    pub(super) fn generation(self) -> u32 {
        self.0.get() as u32
    }
}

/// The window that wants spans.
#[inline(always)]
pub(in crate::agent) fn wanted() -> Option<Window> {
    NonZeroU64::new(WANTED.load(Ordering::Relaxed)).map(Window)
}

/// A window opens.
pub(in crate::agent) fn open(generation: u64) {
    let number = WINDOWS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    WANTED.store(number << 32 | generation & u64::from(u32::MAX), Ordering::Relaxed);
}

/// And closes, if it was open.
pub(in crate::agent) fn close(generation: u64) {
    let open = WANTED.load(Ordering::Relaxed);
    if open as u32 == generation as u32 {
        let _ = WANTED.compare_exchange(open, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// In a forked child: its parent's window is not its own.
pub(in crate::agent) fn forked() {
    WANTED.store(0, Ordering::Relaxed);
}

/// A range that is open.
#[derive(Debug, Clone, Copy)]
struct Open {
    begin_ticks: u64,
    domain: Handle,
    name: Kept,
}

/// A name as it is kept until the range ends.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Short(SpanName),
    /// So many bytes in the stack's text, from there on.
    Copied(u16, u16),
    Known(&'static Named),
}

/// The ranges that are open on one thread.
struct Stack {
    /// Whose they are, as a word.
    window: u64,
    depth: usize,
    /// Ranges open beyond the deepest one.
    beyond: u64,
    /// Bytes of `text` in use.
    used: u16,
    open: [Open; DEPTH],
    text: [u8; TEXT_ROOM],
}

const NOTHING: Open =
    Open { begin_ticks: 0, domain: std::ptr::null_mut(), name: Kept::Short(SpanName::Short([0; 4], 0)) };

thread_local! {
    static STACK: RefCell<Stack> = const {
        RefCell::new(Stack { window: 0, depth: 0, beyond: 0, used: 0, open: [NOTHING; DEPTH], text: [0; TEXT_ROOM] })
    };
}

/// A push/pop range begins on this thread.
#[inline]
pub(in crate::agent) fn push(window: Window, domain: Handle, message: Message<'_>) {
    let Some(joined) = state::joined() else { return };
    let kept = STACK.try_with(|stack| {
        let Ok(mut stack) = stack.try_borrow_mut() else { return false };
        stack.push(window, domain, message, joined.clock)
    });
    if !kept.unwrap_or(false) {
        threads::dropped(joined);
    }
}

/// The range that was pushed last on this thread, in this domain, ends.
#[inline]
pub(in crate::agent) fn pop(window: Window, domain: Handle) {
    let Some(joined) = state::joined() else { return };
    let end_ticks = joined.clock.ticks();
    let _ = STACK.try_with(|stack| {
        let Ok(mut stack) = stack.try_borrow_mut() else { return };
        stack.pop(window, domain, |open, depth, name| {
            record(joined, window, open.domain, name, (open.begin_ticks, end_ticks), Some(depth));
        });
    });
}

/// Writes a span; of one that is not on a stack, `depth` is `None`.
#[inline]
pub(super) fn record(
    joined: &'static Joined,
    window: Window,
    domain: Handle,
    name: Name<'_>,
    ticks: (u64, u64),
    depth: Option<u16>,
) {
    let domain = (!domain.is_null()).then(|| {
        let named = names::get(domain).unwrap_or(&names::UNKNOWN);
        Text { key: named.key(), bytes: named.text }
    });
    let span = Span {
        generation: window.generation(),
        is_async: depth.is_none(),
        begin_ticks: ticks.0,
        end_ticks: ticks.1,
        depth: depth.unwrap_or(0),
        domain: 0,
        name: SpanName::Slot(0),
    };
    threads::push_span(joined, &span, domain, name);
}

/// The name of a registered string.
pub(super) fn name_of(named: &'static Named) -> Name<'static> {
    match named.short {
        Some(short) => Name::Short(short),
        None => Name::Long(Text { key: named.key(), bytes: named.text }),
    }
}

/// A name of these bytes, which may be gone after the call.
pub(super) fn name_of_bytes(bytes: &[u8]) -> Name<'_> {
    match SpanName::short(bytes) {
        Some(short) => Name::Short(short),
        None => Name::Long(Text { key: key_of(bytes), bytes }),
    }
}

/// A number that tells a text from others: odd, where those of [`Named::key`] are even. That two long texts of one window
/// share it is as likely as any accident of 63 bits.
fn key_of(bytes: &[u8]) -> u64 {
    wanted::number(bytes) | 1
}

impl Stack {
    /// `false`: it does not fit.
    #[inline]
    fn push(&mut self, window: Window, domain: Handle, message: Message<'_>, clock: ClockKind) -> bool {
        if self.window != window.word() {
            (self.window, self.depth, self.beyond, self.used) = (window.word(), 0, 0, 0);
        }
        if self.depth >= DEPTH {
            self.beyond = self.beyond.wrapping_add(1);
            return false;
        }
        let name = match message {
            Message::Text(text) => self.keep(text),
            Message::Nothing => Kept::Short(SpanName::Short([0; 4], 0)),
            Message::Registered(Some(named)) => named.short.map_or(Kept::Known(named), Kept::Short),
            Message::Registered(None) => Kept::Short(names::UNKNOWN.short.unwrap_or(SpanName::Short([0; 4], 0))),
            // SAFETY: NUL-terminated, says whoever made the message.
            Message::Wide(text) => self.keep(unsafe { message::narrow(text) }.as_bytes()),
        };
        let Some(place) = self.open.get_mut(self.depth) else { return false };
        self.depth = self.depth.wrapping_add(1);
        // What it took to keep it is not part of the range.
        *place = Open { begin_ticks: clock.ticks(), domain, name };
        true
    }

    #[inline]
    fn keep(&mut self, text: &[u8]) -> Kept {
        SpanName::short(text).map_or_else(|| self.keep_long(text), Kept::Short)
    }

    #[inline(never)]
    fn keep_long(&mut self, text: &[u8]) -> Kept {
        let whole = cut(text, TEXT_BYTES);
        let room = self.text.get_mut(usize::from(self.used)..).and_then(|room| room.get_mut(..whole.len()));
        match room {
            Some(room) => {
                // SAFETY: both are as long as `whole`, and cannot overlap: the stack is ours alone.
                unsafe { std::ptr::copy_nonoverlapping(whole.as_ptr(), room.as_mut_ptr(), whole.len()) };
                let at = self.used;
                self.used = at.wrapping_add(whole.len() as u16);
                Kept::Copied(at, whole.len() as u16)
            }
            None => Kept::Short(SpanName::short(cut(text, SHORT_BYTES)).unwrap_or(SpanName::Short([0; 4], 0))),
        }
    }

    /// Takes the topmost range of a domain off, and calls `then` with it, the number of its domain's ranges around it, and
    /// its name.
    #[inline]
    fn pop(&mut self, window: Window, domain: Handle, then: impl FnOnce(&Open, u16, Name<'_>)) {
        if self.window != window.word() {
            return;
        }
        if self.beyond > 0 {
            self.beyond = self.beyond.wrapping_sub(1);
            return;
        }
        let open = self.open.get(..self.depth).unwrap_or_default();
        let Some(at) = open.iter().rposition(|open| open.domain == domain) else { return };
        let (around, rest) = open.split_at_checked(at).unwrap_or_default();
        let Some(range) = rest.first() else { return };
        let depth = around.iter().filter(|open| open.domain == domain).count() as u16;
        let name = match range.name {
            Kept::Short(short) => Name::Short(short),
            Kept::Known(named) => name_of(named),
            Kept::Copied(at, length) => {
                let kept = self.text.get(usize::from(at)..).and_then(|text| text.get(..usize::from(length)));
                name_of_bytes(kept.unwrap_or_default())
            }
        };
        then(range, depth, name);
        if rest.len() > 1 {
            self.close_up(at);
        }
        self.depth = self.depth.wrapping_sub(1);
        self.used = self.text_in_use();
    }

    /// A range below others ended: the others move down.
    #[cold]
    #[inline(never)]
    fn close_up(&mut self, at: usize) {
        let moved = self.open.get_mut(at..self.depth).unwrap_or_default();
        let pairs = Cell::from_mut(moved).as_slice_of_cells();
        for (to, from) in pairs.iter().zip(pairs.iter().skip(1)) {
            to.set(from.get());
        }
    }

    #[inline]
    fn text_in_use(&self) -> u16 {
        if self.used == 0 {
            return 0;
        }
        let end = |open: &Open| if let Kept::Copied(at, length) = open.name { at.wrapping_add(length) } else { 0 };
        self.open.get(..self.depth).unwrap_or_default().iter().map(end).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(number: u64) -> Window {
        Window(NonZeroU64::new(number << 32 | 2).unwrap())
    }

    fn stack() -> Box<Stack> {
        Box::new(Stack { window: 0, depth: 0, beyond: 0, used: 0, open: [NOTHING; DEPTH], text: [0; TEXT_ROOM] })
    }

    fn push(stack: &mut Stack, domain: usize, text: &str) -> bool {
        let domain = std::ptr::without_provenance_mut(domain);
        stack.push(window(1), domain, Message::Text(text.as_bytes()), ClockKind::Monotonic)
    }

    /// Name and depth of what the pop of a domain takes off.
    fn pop(stack: &mut Stack, number: u64, domain: usize) -> Option<(String, u16)> {
        let mut popped = None;
        stack.pop(window(number), std::ptr::without_provenance_mut(domain), |_, depth, name| {
            let bytes = match name {
                Name::Short(SpanName::Short(words, length)) => {
                    words.iter().flat_map(|word| word.to_ne_bytes()).take(length.into()).collect()
                }
                Name::Short(SpanName::Slot(_)) => panic!("no slot yet"),
                Name::Long(text) => text.bytes.to_vec(),
            };
            popped = Some((String::from_utf8(bytes).unwrap(), depth));
        });
        popped
    }

    #[test]
    fn each_domain_nests_by_itself() {
        let mut stack = stack();
        let long = |n: u32| format!("{n}{}", "x".repeat(100));
        for (domain, text) in [(0, &*long(1)), (8, "b1"), (0, &*long(2)), (8, &*long(3))] {
            assert!(push(&mut stack, domain, text));
        }
        assert_eq!(pop(&mut stack, 1, 0), Some((long(2), 1)));
        assert_eq!(pop(&mut stack, 1, 0), Some((long(1), 0)));
        assert_eq!(pop(&mut stack, 1, 0), None, "pushed before the window");
        assert!(push(&mut stack, 0, &long(4)));
        assert_eq!(pop(&mut stack, 1, 8), Some((long(3), 1)));
        assert_eq!(pop(&mut stack, 1, 8), Some(("b1".into(), 0)));
        assert_eq!(pop(&mut stack, 1, 0), Some((long(4), 0)));
        assert_eq!((stack.depth, stack.used), (0, 0));
    }

    #[test]
    fn what_is_too_deep_is_told_and_takes_nothing_from_what_is_not() {
        let mut stack = stack();
        let name = |n: usize| format!("range {n}");
        for n in 0..DEPTH + 3 {
            assert_eq!(push(&mut stack, 0, &name(n)), n < DEPTH);
        }
        for _ in 0..3 {
            assert_eq!(pop(&mut stack, 1, 0), None);
        }
        for n in (0..DEPTH).rev() {
            assert_eq!(pop(&mut stack, 1, 0), Some((name(n), n as u16)));
        }
    }

    #[test]
    fn long_names_are_cut_where_there_is_no_room_for_them() {
        let mut stack = stack();
        let long = "é".repeat(TEXT_BYTES);
        for _ in 0..DEPTH {
            assert!(push(&mut stack, 0, &long));
        }
        let lengths: Vec<usize> = (0..DEPTH).map(|_| pop(&mut stack, 1, 0).unwrap().0.len()).collect();
        let whole = TEXT_ROOM / TEXT_BYTES;
        let expected = [vec![SHORT_BYTES; DEPTH - whole], vec![TEXT_BYTES; whole]].concat();
        assert_eq!(lengths, expected);
    }

    #[test]
    fn another_window_begins_with_nothing() {
        let mut stack = stack();
        assert!(push(&mut stack, 0, "of the window before"));
        assert_eq!(pop(&mut stack, 2, 0), None);
        assert!(stack.push(window(2), std::ptr::null_mut(), Message::Text(b"new"), ClockKind::Monotonic));
        assert_eq!(pop(&mut stack, 2, 0), Some(("new".into(), 0)));
        assert_eq!(pop(&mut stack, 2, 0), None);
    }

    #[test]
    fn texts_that_differ_have_keys_that_differ() {
        let texts = ["a", "b", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaa\0", "baaaaaaaaaaaaaaaa", "abaaaaaaaaaaaaaaa", ""];
        let keys: std::collections::BTreeSet<u64> = texts.iter().map(|text| key_of(text.as_bytes())).collect();
        assert_eq!(keys.len(), texts.len());
        assert!(keys.iter().all(|key| key % 2 == 1));
    }
}
