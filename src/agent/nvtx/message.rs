//! What a range is called, in whichever of NVTX's ways it is told.

use std::ffi::{CStr, c_char};

use crate::wire::record::TEXT_BYTES;
use crate::wire::text::FixedText;

use super::abi::{self, Attributes};
use super::names::{self, Named};

/// A text of wide characters, in UTF-8.
pub(in crate::agent) type Narrow = FixedText<{ TEXT_BYTES + 1 }>;

/// The message of a range.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) enum Message<'a> {
    /// None.
    Nothing,
    /// Told in this call.
    Text(&'a [u8]),
    /// Told in this call: a NUL-terminated text of wide characters.
    Wide(*const u32),
    /// Registered before; `None`: nobody knows what it was.
    Registered(Option<&'static Named>),
}

impl<'a> Message<'a> {
    /// A plain text's.
    ///
    /// # Safety
    /// `text` is null, or NUL-terminated and valid for as long as the message is used.
    #[inline]
    pub(in crate::agent) unsafe fn of_text(text: *const c_char) -> Self {
        // SAFETY: by contract.
        if text.is_null() { Self::Nothing } else { Self::Text(unsafe { CStr::from_ptr(text) }.to_bytes()) }
    }

    /// A text's of wide characters; null is none.
    #[inline]
    pub(in crate::agent) fn of_wide(text: *const u32) -> Self {
        if text.is_null() { Self::Nothing } else { Self::Wide(text) }
    }

    /// The one that attributes tell.
    ///
    /// # Safety
    /// `attributes` is null, or as large as it says, with a message that is valid for as long as it is used.
    #[inline]
    pub(in crate::agent) unsafe fn of_attributes(attributes: *const Attributes) -> Self {
        // SAFETY: by contract; `size` comes before what is read.
        let whole = unsafe { attributes.as_ref() }.filter(|a| usize::from(a.size) >= size_of::<Attributes>());
        let Some(attributes) = whole.filter(|a| !a.message.is_null()) else { return Self::Nothing };
        match attributes.message_type {
            // SAFETY: NUL-terminated, by the protocol.
            abi::MESSAGE_ASCII => unsafe { Self::of_text(attributes.message.cast()) },
            abi::MESSAGE_WIDE => Self::Wide(attributes.message.cast()),
            abi::MESSAGE_REGISTERED => Self::Registered(names::get(attributes.message.cast_mut())),
            _ => Self::Nothing,
        }
    }
}

/// Wide characters in UTF-8, as far as they fit.
///
/// # Safety
/// `text` is NUL-terminated.
#[cold]
#[inline(never)]
pub(in crate::agent) unsafe fn narrow(mut text: *const u32) -> Narrow {
    let mut out = Narrow::new();
    while !out.is_cut() {
        // SAFETY: not behind the NUL, by contract; perhaps not aligned, since a caller may have packed it.
        let wide = unsafe { text.read_unaligned() };
        if wide == 0 {
            break;
        }
        let mut utf8 = [0; 4];
        out.push(char::from_u32(wide).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut utf8).as_bytes());
        // SAFETY: the NUL is still ahead.
        text = unsafe { text.add(1) };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_become_utf8_and_are_cut_between_two() {
        let wide = |text: &str| text.chars().map(u32::from).chain([0]).collect::<Vec<_>>();
        for text in ["", "step", "größer als 1 MiB", "日本語", &"é".repeat(TEXT_BYTES)] {
            // SAFETY: NUL-terminated.
            let narrow = unsafe { narrow(wide(text).as_ptr()) }.to_string();
            assert!(text.starts_with(&narrow) && narrow.len() == text.len().min(TEXT_BYTES), "{narrow}");
        }
        // SAFETY: as above.
        assert_eq!(unsafe { narrow([0xd800, 0].as_ptr()) }.to_string(), "\u{fffd}");
    }
}
