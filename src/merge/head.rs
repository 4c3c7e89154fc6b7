//! What a trace says beside its events.

use super::mend::mend;

/// The longest value that is kept; all of them together may take twice that.
pub(super) const LONGEST_MEMBER: usize = 1 << 20;

/// Members beside the events: name and JSON text.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) members: Vec<(String, String)>,
    bytes: usize,
    /// Members that were too long to be kept.
    pub(super) left_out: u64,
}

impl Head {
    /// Keeps a member, mended if it is dirty.
    pub(super) fn keep(&mut self, key: String, value: &[u8], dirty: bool) {
        let mut text = Vec::new();
        let is_whole = if dirty {
            mend(value, LONGEST_MEMBER, &mut text)
        } else {
            text.extend_from_slice(value);
            true
        };
        self.bytes += key.len() + text.len();
        match String::from_utf8(text) {
            Ok(text) if is_whole && self.bytes <= 2 * LONGEST_MEMBER => self.members.push((key, text)),
            _ => self.left_out += 1,
        }
    }
}
