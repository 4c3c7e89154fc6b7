//! A window over a byte stream: what was read and not yet taken, in one piece.
//!
//! How much is in it depends on what was asked for alone, never on how the stream comes in pieces: what is built on it
//! gives the same for any of them.

use std::io::{self, ErrorKind, Read};

/// What it holds where nothing longer is asked for.
pub(super) const PIECE: usize = 128 * 1024;

/// The window.
pub(super) struct Buffer<R> {
    source: R,
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    is_over: bool,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, bytes: vec![0; PIECE], begin: 0, end: 0, is_over: false }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// What is there.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    /// Takes bytes away from the front.
    #[inline]
    pub(super) fn take(&mut self, count: usize) {
        self.begin = self.end.min(self.begin + count);
    }

    /// Whether it holds more memory than a piece.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() > PIECE
    }

    /// Reads on: to a whole piece, or to twice of what is there, but never beyond `most`. `false`: nothing came.
    ///
    /// # Errors
    /// What the stream says.
    pub(super) fn more(&mut self, most: usize) -> io::Result<bool> {
        let there = self.end - self.begin;
        let wanted = (there * 2).min(most).max(PIECE);
        if self.is_over || there >= wanted {
            return Ok(false);
        }
        self.bytes.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, there);
        if self.bytes.len() != wanted {
            self.bytes.resize(wanted, 0);
            self.bytes.shrink_to_fit();
        }
        while self.end < wanted {
            match self.source.read(&mut self.bytes[self.end..]) {
                Ok(0) => {
                    self.is_over = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end > there)
    }

    /// The byte `at` bytes ahead, within the first piece. `None`: the stream ends before it.
    #[inline]
    pub(super) fn peek(&mut self, at: usize) -> io::Result<Option<u8>> {
        loop {
            if let Some(&byte) = self.bytes().get(at) {
                return Ok(Some(byte));
            }
            if !self.more(PIECE)? {
                return Ok(None);
            }
        }
    }

    /// Takes all that is left; how much that was.
    pub(super) fn drain(&mut self) -> io::Result<u64> {
        let mut count = 0;
        loop {
            count += self.bytes().len() as u64;
            self.begin = self.end;
            if !self.more(PIECE)? {
                return Ok(count);
            }
        }
    }
}
