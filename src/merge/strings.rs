//! Where a JSON string ends, and whether it is sound: eight bytes at a time, since most of a trace lies in strings.

use super::scan::Stop;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The lowest bit set belongs to the first byte that is zero; above it there may be false ones.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Marks bytes that end or interrupt a string: quote, backslash, control character. Exact up to the first.
#[inline]
fn interruptions(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c)) | control
}

/// Goes from behind the opening quote to behind the closing one. `dirty` is set where the string is no valid JSON.
///
/// # Errors
/// [`Stop::More`]: it does not end in these bytes.
#[inline]
pub(super) fn skip(bytes: &[u8], begin: usize, dirty: &mut bool) -> Result<usize, Stop> {
    let mut at = begin;
    let mut high = 0;
    loop {
        while let Some(chunk) = bytes.get(at..at + 8) {
            let word =
                u64::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]);
            high |= word & HIGH;
            let found = interruptions(word);
            if found != 0 {
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match *bytes.get(at).ok_or(Stop::More)? {
            b'"' => break,
            b'\\' => at += escape(bytes, at, dirty)?,
            byte => {
                *dirty |= byte < 0x20;
                high |= u64::from(byte) & 0x80;
                at += 1;
            }
        }
    }
    if high != 0 && std::str::from_utf8(&bytes[begin..at]).is_err() {
        *dirty = true;
    }
    Ok(at + 1)
}

/// How many bytes an escape takes; one that JSON does not know is its backslash alone.
fn escape(bytes: &[u8], at: usize, dirty: &mut bool) -> Result<usize, Stop> {
    match *bytes.get(at + 1).ok_or(Stop::More)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(2),
        b'u' => match code_unit(bytes, at)? {
            Some(0xd800..=0xdbff) => {
                let is_pair = *bytes.get(at + 6).ok_or(Stop::More)? == b'\\'
                    && *bytes.get(at + 7).ok_or(Stop::More)? == b'u'
                    && matches!(code_unit(bytes, at + 6)?, Some(0xdc00..=0xdfff));
                *dirty |= !is_pair;
                Ok(if is_pair { 12 } else { 6 })
            }
            Some(0xdc00..=0xdfff) => {
                *dirty = true;
                Ok(6)
            }
            Some(_) => Ok(6),
            None => {
                *dirty = true;
                Ok(1)
            }
        },
        _ => {
            *dirty = true;
            Ok(1)
        }
    }
}

/// The four hexadecimal digits of `\uXXXX`, where it is that.
fn code_unit(bytes: &[u8], at: usize) -> Result<Option<u32>, Stop> {
    let mut unit = 0;
    for offset in 2..6 {
        let byte = *bytes.get(at + offset).ok_or(Stop::More)?;
        let Some(digit) = char::from(byte).to_digit(16) else { return Ok(None) };
        unit = unit * 16 + digit;
    }
    Ok(Some(unit))
}

/// Writes what lies between the quotes of a string, so that it is valid JSON: control characters are escaped, bytes that
/// are no UTF-8 and halves of surrogate pairs become U+FFFD, a stray backslash is doubled.
pub(super) fn mend(inner: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(inner);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let taken = match byte {
            b'\\' => {
                let mut is_odd = false;
                let taken = escape(bytes, at, &mut is_odd).unwrap_or_else(|_| {
                    is_odd = true;
                    if code_unit(bytes, at).is_ok_and(|unit| unit.is_some()) { 6 } else { 1 }
                });
                match (is_odd, taken) {
                    (false, _) => out.extend_from_slice(&bytes[at..at + taken]),
                    (true, 1) => out.extend_from_slice(b"\\\\"),
                    (true, _) => out.extend_from_slice(b"\\ufffd"),
                }
                taken
            }
            b'"' => {
                out.extend_from_slice(b"\\\"");
                1
            }
            0..=0x1f => {
                let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
                1
            }
            _ => {
                out.push(byte);
                1
            }
        };
        at += taken;
    }
}

/// Writes text as a JSON string, with its quotes.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\\' => out.extend_from_slice(b"\\\\"),
            other => mend(&[other], out),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn skipped(text: &[u8]) -> (Result<usize, Stop>, bool) {
        let mut dirty = false;
        let end = skip(text, 1, &mut dirty);
        (end, dirty)
    }

    #[test]
    fn a_string_ends_at_its_own_quote() {
        for (text, end, dirty) in [
            (&br#""" tail"#[..], 2, false),
            (br#""a\"b","#, 6, false),
            (br#""\\","#, 4, false),
            (br#""\u00e9\ud83d\ude00"x"#, 20, false),
            ("\"äöü längere Wörter\" ".as_bytes(), 25, false),
            (b"\"a\x01b\"", 5, true),
            (b"\"a\xffb\"", 5, true),
            (br#""\x41""#, 6, true),
            (br#""\ud83d!""#, 9, true),
            (br#""\ude00""#, 8, true),
            (br#""\u12g4""#, 8, true),
        ] {
            let (found, is_dirty) = skipped(text);
            assert_eq!((found.ok(), is_dirty), (Some(end), dirty), "{}", String::from_utf8_lossy(text));
        }
        assert!(matches!(skipped(b"\"open").0, Err(Stop::More)));
    }

    proptest! {
        #[test]
        fn what_was_mended_is_a_json_string_and_sound_ones_stay_as_they_are(
            inner in proptest::collection::vec(any::<u8>(), 0..60), text: String,
        ) {
            let mut out = vec![b'"'];
            mend(&inner, &mut out);
            out.push(b'"');
            prop_assert!(serde_json::from_slice::<String>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));

            let sound = serde_json::to_vec(&text).expect("JSON");
            let mut out = Vec::new();
            mend(&sound[1..sound.len() - 1], &mut out);
            prop_assert_eq!(&out, &sound[1..sound.len() - 1]);
            prop_assert_eq!(skipped(&sound), (Ok(sound.len()), false));

            let mut out = Vec::new();
            quote(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).ok(), Some(text));
        }

        #[test]
        fn a_string_is_called_sound_exactly_if_a_strict_reader_takes_it(inner in "[ab\\\\\"u0d8/\u{1}é]{0,30}") {
            let text = format!("\"{inner}\"");
            let strict = serde_json::from_str::<String>(&text).is_ok();
            let (end, dirty) = skipped(text.as_bytes());
            prop_assert_eq!(end == Ok(text.len()) && !dirty, strict, "{}", text);
        }
    }
}
