//! Text that needs no allocator: the agent's strings, paths and sentences.
//!
//! The agent neither allocates nor formats through the standard library: an allocation that fails ends the process, and
//! both bring the panic machinery into the engine (see [`crate::agent`]).

use std::ffi::{OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Up to `N - 1` bytes, NUL-padded. What is longer is cut at a character, and [`Self::is_cut`] says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FixedText<const N: usize> {
    bytes: [u8; N],
    length: usize,
    cut: bool,
}

/// A path.
pub type PathText = FixedText<1024>;
/// A sentence for people.
pub type Message = FixedText<1536>;

impl<const N: usize> FixedText<N> {
    /// Nothing.
    pub const fn new() -> Self {
        Self { bytes: [0; N], length: 0, cut: false }
    }

    /// A text of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        *Self::new().push(bytes)
    }

    /// Appends; gives itself, so that appends can be chained.
    pub fn push(&mut self, more: impl AsRef<[u8]>) -> &mut Self {
        let room = self.bytes.split_last_mut().map(|(_, room)| room).and_then(|room| room.get_mut(self.length..));
        let more = more.as_ref();
        let kept = fill(room.unwrap_or_default(), more);
        self.length += kept;
        self.cut |= kept < more.len();
        self
    }

    /// Appends a number in decimal.
    pub fn push_decimal(&mut self, number: u64) -> &mut Self {
        let mut unit = 10_u64.pow(number.checked_ilog10().unwrap_or(0));
        while unit > 0 {
            self.push([b'0' + (number / unit % 10) as u8]);
            unit /= 10;
        }
        self
    }

    /// Appends a number as `digits` hexadecimal digits.
    pub fn push_hexadecimal(&mut self, number: u64, digits: u32) -> &mut Self {
        for digit in (0..digits).rev() {
            let value = (number.unbounded_shr(digit * 4) & 15) as u8;
            self.push([if value < 10 { b'0' + value } else { b'a' + value - 10 }]);
        }
        self
    }

    /// Appends what the system calls an error.
    pub fn push_error(&mut self, code: i32) -> &mut Self {
        let mut text: [c_char; 128] = [0; 128];
        // SAFETY: writes at most so many bytes, NUL included.
        unsafe { libc::strerror_r(code, text.as_mut_ptr(), text.len()) };
        for &byte in text.iter().take_while(|&&byte| byte != 0) {
            self.push([byte as u8]);
        }
        self.push(" (os error ").push_decimal(u64::from(code.unsigned_abs())).push(")")
    }

    /// The same, no longer than `bytes`.
    #[must_use]
    pub fn shortened(&self, bytes: usize) -> Self {
        *Self::new().push(cut(self.as_bytes(), bytes))
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The same for C: NUL-terminated.
    pub fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    /// The text, NUL-padded.
    pub const fn padded(&self) -> [u8; N] {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether something did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// As a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.as_bytes()))
    }
}

/// The beginning of a text, at most so many bytes, cut at a character.
pub fn cut(text: &[u8], bytes: usize) -> &[u8] {
    let mut end = text.len().min(bytes);
    while end > 0 && text.get(end).is_some_and(|&byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Copies what fits, cut at a character; says how much. Not for each size of text anew.
#[inline(never)]
fn fill(room: &mut [u8], more: &[u8]) -> usize {
    let kept = cut(more, room.len());
    for (slot, &byte) in room.iter_mut().zip(kept) {
        *slot = byte;
    }
    kept.len()
}

impl<const N: usize> Default for FixedText<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> From<&str> for FixedText<N> {
    fn from(text: &str) -> Self {
        *Self::new().push(text)
    }
}

impl<const N: usize> From<&Path> for FixedText<N> {
    fn from(path: &Path) -> Self {
        *Self::new().push(path.as_os_str().as_bytes())
    }
}

impl<const N: usize> std::fmt::Display for FixedText<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl<const N: usize> std::fmt::Debug for FixedText<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        let text = FixedText::<8>::from("1234é");
        assert_eq!((text.as_bytes(), text.is_cut()), ("1234é".as_bytes(), false));
        let text = FixedText::<8>::from("123456é");
        assert_eq!((text.as_bytes(), text.is_cut()), (&b"123456"[..], true));
        assert_eq!(text.padded(), *b"123456\0\0");
        assert_eq!(FixedText::<16>::from("12é").shortened(3).as_bytes(), b"12");
        assert_eq!(FixedText::<16>::new().push_error(libc::ENOENT).as_bytes().first(), Some(&b'N'));
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_does(number: u64) {
            prop_assert_eq!(FixedText::<32>::new().push_decimal(number).to_string(), number.to_string());
            prop_assert_eq!(FixedText::<32>::new().push_hexadecimal(number, 16).to_string(), format!("{number:016x}"));
        }

        #[test]
        fn texts_are_kept_whole_or_cut_to_a_beginning(text: String) {
            let kept = FixedText::<16>::from(text.as_str());
            let shown = kept.to_string();
            prop_assert!(text.starts_with(&shown) && kept.is_cut() == (shown.len() < text.len()), "{:?} of {:?}", shown, text);
        }
    }
}
