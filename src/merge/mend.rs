//! A dirty value as valid JSON: the same structure, with strings and words that a strict reader takes.

use super::scan::is_sound_word;
use super::strings;

/// Writes the mended form of a value whose structure is sound. `false`: it would become longer than `longest`.
pub(super) fn mend(bytes: &[u8], longest: usize, out: &mut Vec<u8>) -> bool {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if out.len() > longest {
            return false;
        }
        match byte {
            b'"' => {
                let end = strings::skip(bytes, at + 1, &mut false).unwrap_or(bytes.len());
                let inner = &bytes[at + 1..end.saturating_sub(1).max(at + 1)];
                if inner.len() > longest {
                    return false;
                }
                out.push(b'"');
                strings::mend(inner, out);
                out.push(b'"');
                at = end;
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => {
                out.push(byte);
                at += 1;
            }
            _ => {
                let is_end = |byte: &u8| b",}]{[:\" \n\r\t".contains(byte);
                let end = bytes[at..].iter().position(is_end).map_or(bytes.len(), |length| at + length);
                word(&bytes[at..end], out);
                at = end;
            }
        }
    }
    out.len() <= longest
}

/// Not a number is nothing, Python's words are JSON's, and any other word is text.
fn word(word: &[u8], out: &mut Vec<u8>) {
    match word {
        word if is_sound_word(word) => out.extend_from_slice(word),
        b"NaN" | b"-NaN" | b"nan" | b"-nan" | b"Infinity" | b"-Infinity" | b"inf" | b"-inf" | b"None"
        | b"undefined" => {
            out.extend_from_slice(b"null");
        }
        b"True" => out.extend_from_slice(b"true"),
        b"False" => out.extend_from_slice(b"false"),
        other => {
            out.push(b'"');
            strings::mend(other, out);
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::event;
    use super::*;
    use proptest::prelude::*;

    fn mended(text: &[u8]) -> String {
        let mut out = Vec::new();
        assert!(mend(text, 1 << 20, &mut out));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_and_words_are_mended_and_all_else_stays() {
        assert_eq!(mended(b"{\"a\" : NaN, \"b\":[-inf,True,01,1.5]}"), r#"{"a" : null, "b":[null,true,"01",1.5]}"#);
        let large = format!("{{\"a\":[1e999,-1E+400,1e30,{}]}}", "9".repeat(400));
        let wanted = format!("{{\"a\":[\"1e999\",\"-1E+400\",1e30,\"{}\"]}}", "9".repeat(400));
        assert_eq!(mended(large.as_bytes()), wanted);
        assert_eq!(mended(b"{\"n\":\"tab\there \xff \\q \\ud800\"}"), r#"{"n":"tab\u0009here � \\q \ufffd"}"#);
    }

    #[test]
    fn what_would_grow_beyond_the_bound_is_not_written() {
        let text = format!("{{\"n\":\"{}\"}}", "\u{1}".repeat(100));
        assert!(!mend(text.as_bytes(), 200, &mut Vec::new()));
        assert!(mend(text.as_bytes(), 700, &mut Vec::new()));
    }

    proptest! {
        #[test]
        fn whatever_has_a_sound_structure_becomes_json(inner in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'"'), Just(b'{'), Just(b'}'), Just(b':'), Just(b','), Just(b'\\'), Just(b'1')], 0..40),
        ) {
            for text in [[b"{\"a\":", &inner[..], b"}"].concat(), [b"{\"a\":\"", &inner[..], b"\"}"].concat()] {
                if let Ok(found) = event(&text) {
                    let out = mended(&text[..found.length]);
                    let strict = serde_json::from_str::<serde_json::Value>(&out);
                    let is_range = strict.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
                    prop_assert!(strict.is_ok() || is_range, "{}", out);
                    prop_assert!(event(out.as_bytes()).is_ok_and(|event| !event.dirty));
                }
            }
        }
    }
}
