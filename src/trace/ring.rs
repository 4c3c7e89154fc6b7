//! What is known of a ring while its records go by: whose it is, the texts in its slots, the arguments of its next event.

use std::borrow::Cow;
use std::rc::Rc;

use super::event::{MAX_SLOT, Span, SpanName, TEXT_PART_BYTES, TextPart, Thread};
use super::recorded::{ArgumentValue, RecordedArgument};
use super::writer::{Argument, Value};

/// Stands for a text that never came along its ring.
const LOST: &str = "(lost)";
/// Most arguments of an event.
pub(super) const MAX_ARGUMENTS: usize = 16;

/// A ring, as far as its records have gone by.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) thread: Option<Thread>,
    texts: Vec<Option<Rc<str>>>,
    /// The text that is coming in: its slot, and what is there of it.
    coming: (u16, Vec<u8>),
    arguments: Vec<(Rc<str>, OwnedValue)>,
    /// The text of an argument that is coming in: its key, and what is there of it.
    coming_argument: Option<(Rc<str>, Vec<u8>)>,
}

#[derive(Debug)]
enum OwnedValue {
    Plain(Value<'static>),
    Text(String),
}

impl Ring {
    /// A part of a text for a slot.
    pub(super) fn take(&mut self, part: &TextPart) {
        if part.part == 0 {
            self.coming = (part.slot, Vec::new());
        }
        let (slot, bytes) = &mut self.coming;
        if *slot == part.slot && append(bytes, part.part, part.length, &part.bytes) {
            self.texts.resize(usize::from(MAX_SLOT) + 1, None);
            self.texts[usize::from(part.slot)] = Some(String::from_utf8_lossy(bytes).into());
        }
    }

    /// An argument of the next event, or a part of one.
    pub(super) fn argument(&mut self, argument: &RecordedArgument) {
        let value = match argument.value {
            ArgumentValue::Unsigned(value) => OwnedValue::Plain(Value::Number(value)),
            ArgumentValue::Signed(value) => OwnedValue::Plain(Value::Signed(value)),
            ArgumentValue::Float(value) => OwnedValue::Plain(Value::Decimal(value)),
            ArgumentValue::Flag(value) => OwnedValue::Plain(Value::Flag(value)),
            ArgumentValue::Text(part, length, text) => {
                if part == 0 {
                    self.coming_argument = Some((self.text(argument.key), Vec::new()));
                }
                let Some((key, mut bytes)) = self.coming_argument.take() else { return };
                if !append(&mut bytes, part, length, &text) {
                    self.coming_argument = Some((key, bytes));
                    return;
                }
                self.keep(key, OwnedValue::Text(String::from_utf8_lossy(&bytes).into_owned()));
                return;
            }
        };
        self.keep(self.text(argument.key), value);
    }

    fn keep(&mut self, key: Rc<str>, value: OwnedValue) {
        // Of an event that did not fit behind its arguments, those are left over.
        if self.arguments.len() >= 4 * MAX_ARGUMENTS {
            self.arguments.clear();
        }
        self.arguments.push((key, value));
    }

    /// The last so many arguments.
    pub(super) fn arguments(&self, count: u16) -> impl Iterator<Item = Argument<'_>> {
        let first = self.arguments.len().saturating_sub(usize::from(count));
        self.arguments[first..].iter().map(|(key, value)| {
            let value = match value {
                OwnedValue::Plain(value) => *value,
                OwnedValue::Text(text) => Value::Text(text),
            };
            (&**key, value)
        })
    }

    /// Their event has gone by.
    pub(super) fn forget_arguments(&mut self) {
        self.arguments.clear();
        self.coming_argument = None;
    }

    fn known(&self, slot: u16) -> Option<&Rc<str>> {
        self.texts.get(usize::from(slot))?.as_ref()
    }

    /// The text in a slot.
    pub(super) fn text(&self, slot: u16) -> Rc<str> {
        self.known(slot).cloned().unwrap_or_else(|| LOST.into())
    }

    /// The text in a slot, if one ever came along.
    pub(super) fn text_if_known(&self, slot: u16) -> Option<Rc<str>> {
        self.known(slot).cloned()
    }

    /// The name of the domain in a slot; `None` for slot 0.
    pub(super) fn domain(&self, slot: u16) -> Option<Rc<str>> {
        (slot != 0).then(|| self.text(slot))
    }

    pub(super) fn name<'a>(&'a self, span: &'a Span) -> Cow<'a, str> {
        match &span.name {
            SpanName::Slot(slot) => self.known(*slot).map_or(LOST, |text| &**text).into(),
            SpanName::Short(_, 0) => "(no name)".into(),
            SpanName::Short(bytes, length) => String::from_utf8_lossy(&bytes[..usize::from(*length)]),
        }
    }
}

/// Appends a part to a text; `true`: it is whole. One whose beginning is missing never is.
fn append(bytes: &mut Vec<u8>, part: u16, length: u16, more: &[u8; TEXT_PART_BYTES]) -> bool {
    if bytes.len() != usize::from(part) * TEXT_PART_BYTES {
        return false;
    }
    let left = usize::from(length).saturating_sub(bytes.len()).min(TEXT_PART_BYTES);
    bytes.extend_from_slice(&more[..left]);
    bytes.len() >= usize::from(length)
}
