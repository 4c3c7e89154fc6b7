//! Ids of flows and asynchronous slices, kept apart between inputs without a table.
//!
//! Of K inputs, number n of input i becomes n × K + i: no two meet, and small ones stay small (a viewer's numbers are
//! doubles). Numbers for which that would leave 64 bits are hashes or addresses, and are mixed with a constant of the
//! input, which keeps them apart as well as hashes are. An id that is no number gets `i/` in front. One input alone keeps
//! its ids.
//!
//! An id counts as a number if it is one without sign and decimals, or a string of one, decimal or `0x…`: as Perfetto
//! reads it, so `1`, `"1"` and `"0x1"` are one. Ids inside a process (`id2.local`, counters, objects) need nothing, since
//! processes are kept apart.

use super::scan::{Stop, members};

/// The largest number that every viewer reads exactly.
const EXACT: u64 = 1 << 53;

/// Rewrites the ids of one input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    input: u64,
    inputs: u64,
}

impl Ids {
    pub(super) fn new(input: usize, inputs: usize) -> Self {
        Self { input: input as u64, inputs: inputs as u64 }
    }

    /// Whether all ids stay as they are.
    pub(super) fn keeps(self) -> bool {
        self.inputs <= 1
    }

    /// Whether `id` of this kind of event (its `ph`, with quotes) means the same in all processes.
    pub(super) fn is_shared(ph: &[u8]) -> bool {
        matches!(ph, [b'"', b'b' | b'e' | b'n' | b's' | b't' | b'f' | b'S' | b'T' | b'F' | b'p', b'"'])
    }

    /// Writes the id for `token`, a JSON value.
    pub(super) fn write(self, token: &[u8], out: &mut Vec<u8>) {
        if let Some(number) = number(token) {
            let apart = number.checked_mul(self.inputs).and_then(|n| n.checked_add(self.input));
            match apart {
                Some(id) if id < EXACT => out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes()),
                Some(id) => hexadecimal(id, out),
                None => hexadecimal(number ^ self.input.wrapping_mul(0x9e37_79b9_7f4a_7c15), out),
            }
            return;
        }
        let inner = match token {
            [b'"', inner @ .., b'"'] => inner,
            // An object or an array can be no id, and has quotes of its own.
            [b'{' | b'[', ..] => return out.extend_from_slice(token),
            other => other,
        };
        out.push(b'"');
        out.extend_from_slice(itoa::Buffer::new().format(self.input).as_bytes());
        out.push(b'/');
        out.extend_from_slice(inner);
        out.push(b'"');
    }

    /// Writes `id2`: its `global` is rewritten, its `local` stays.
    pub(super) fn write_id2(self, token: &[u8], out: &mut Vec<u8>) {
        let mut global = None;
        let walked: Result<usize, Stop> = match token.first() {
            Some(b'{') => members(token, &mut false, |key, value| {
                if key == b"global" {
                    global = Some(value);
                }
            }),
            _ => Err(Stop::Damaged),
        };
        match global.filter(|_| walked.is_ok()) {
            Some(place) => {
                out.extend_from_slice(&token[..place.range().start]);
                self.write(place.of(token), out);
                out.extend_from_slice(&token[place.range().end..]);
            }
            None => out.extend_from_slice(token),
        }
    }
}

fn number(token: &[u8]) -> Option<u64> {
    let (is_text, inner) = match token {
        [b'"', inner @ .., b'"'] => (true, inner),
        other => (false, other),
    };
    let text = std::str::from_utf8(inner).ok()?;
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if is_text => (digits, 16),
        _ => (text, 10),
    };
    // The parser takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

fn hexadecimal(id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\"0x{id:x}\"").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(ids: Ids, token: &str) -> String {
        let mut out = Vec::new();
        ids.write(token.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn numbers_stay_numbers_and_words_get_their_inputs_number() {
        let ids = Ids::new(1, 3);
        for (token, wanted) in [
            ("7", "22"),
            ("\"7\"", "22"),
            ("\"0x7\"", "22"),
            ("9007199254740991", "\"0x5ffffffffffffe\""),
            ("\"req-4\\n\"", "\"1/req-4\\n\""),
            ("-3", "\"1/-3\""),
            ("1.5", "\"1/1.5\""),
        ] {
            assert_eq!(written(ids, token), wanted, "{token}");
        }
        let mut out = Vec::new();
        ids.write_id2(br#"{"local":"0x1", "global" : "0x2"}"#, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), r#"{"local":"0x1", "global" : 7}"#);
    }

    proptest! {
        #[test]
        fn equal_ids_stay_equal_and_inputs_never_meet(a: u64, b in 0u64..1 << 40, near in 0u64..3, inputs in 2usize..40) {
            for (x, y) in [(a, a), (a, a.wrapping_add(near)), (b, b.wrapping_add(near))] {
                for (i, j) in [(0, 0), (0, 1), (1, inputs - 1)] {
                    let (left, right) =
                        (written(Ids::new(i, inputs), &x.to_string()), written(Ids::new(j, inputs), &format!("\"0x{y:x}\"")));
                    prop_assert_eq!(left == right, x == y && i == j, "{} {}", left, right);
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&left).is_ok());
                }
            }
        }
    }
}
