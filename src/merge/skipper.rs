//! Goes over a value that is too long to be held, in pieces: strings and brackets are told apart, nothing else.

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Skipper {
    depth: u64,
    is_begun: bool,
    in_string: bool,
    is_escaped: bool,
}

impl Skipper {
    /// Takes the next piece, the first byte being the value's first. Where the value ends, if it does in this piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        for (at, &byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                // Of what stands around it, for a word.
                b',' | b'}' | b']' if self.depth == 0 && self.is_begun => return Some(at),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            self.is_begun = true;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_same_for_any_pieces() {
        for (text, end) in
            [(&br#"{"a":"}\"]","b":[{}]},"#[..], 21), (br#""a\\","#, 5), (br#"[[],"]"] }"#, 8), (br#"12345,"#, 5)]
        {
            for size in 1..=text.len() {
                let mut skipper = Skipper::default();
                let mut before = 0;
                let found = text.chunks(size).find_map(|piece| {
                    let found = skipper.feed(piece).map(|at| before + at);
                    before += piece.len();
                    found
                });
                assert_eq!(found, Some(end), "{} by {size}", String::from_utf8_lossy(text));
            }
        }
    }
}
