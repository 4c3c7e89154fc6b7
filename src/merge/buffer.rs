//! A window over a byte stream: what was read and not yet taken, in one piece.
//!
//! How much is in it depends on what was asked for alone, never on how the stream comes in pieces: what is built on it
//! gives the same for any of them.

use std::io::{self, ErrorKind, Read};

/// What it holds where nothing longer is asked for.
pub(super) const PIECE: usize = 128 * 1024;
/// The most that can be asked for.
pub(super) const LARGEST: usize = 4 << 20;

/// The window.
pub(super) struct Buffer<R> {
    source: R,
    /// A piece, or room for the largest. Nothing in between: many buffers that grow and shrink in turns would leave holes
    /// in the heap that nothing fits into.
    bytes: Vec<u8>,
    /// The piece, while there is room for the largest.
    piece: Vec<u8>,
    begin: usize,
    end: usize,
    is_over: bool,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, bytes: vec![0; PIECE], piece: Vec::new(), begin: 0, end: 0, is_over: false }
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
        let wanted = (there * 2).min(most.min(LARGEST)).max(PIECE);
        if self.is_over || there >= wanted {
            return Ok(false);
        }
        if wanted > PIECE && !self.is_large() {
            let mut large = vec![0; LARGEST];
            large[..there].copy_from_slice(&self.bytes[self.begin..self.end]);
            self.piece = std::mem::replace(&mut self.bytes, large);
        } else if wanted == PIECE && self.is_large() {
            let mut piece = std::mem::take(&mut self.piece);
            piece[..there].copy_from_slice(&self.bytes[self.begin..self.end]);
            self.bytes = piece;
        } else {
            self.bytes.copy_within(self.begin..self.end, 0);
        }
        (self.begin, self.end) = (0, there);
        while self.end < wanted {
            match self.source.read(&mut self.bytes[self.end..wanted]) {
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

    /// Gives its memory back. There is nothing in it any more, and nothing will be.
    pub(super) fn release(&mut self) {
        (self.bytes, self.piece, self.begin, self.end) = (Vec::new(), Vec::new(), 0, 0);
        self.is_over = true;
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
