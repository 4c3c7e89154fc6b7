//! Where a JSON value ends, whether it is sound, and where the fields of an event lie in it. Nothing is built or copied.
//!
//! Three grades: sound; *dirty*, which has a mended form (`mend`); *damaged*, whose structure is broken. What is found
//! depends on the bytes alone, never on how many of them have come: a value that may go on is [`Stop::More`].

use std::ops::Range;

use super::strings;

/// Deeper than this is damaged: strict readers stop at 128.
const DEEPEST: u32 = 100;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It does not end in these bytes.
    More,
    /// Its structure is broken.
    Damaged,
}

/// A place in the bytes of an event; empty where there is no such field. A string's has its quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    begin: u32,
    end: u32,
}

impl Place {
    pub(super) fn range(self) -> Range<usize> {
        self.begin as usize..self.end as usize
    }

    pub(super) fn is_there(self) -> bool {
        self.end > self.begin
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// The fields of an event that a merge reads or rewrites.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) ph: Place,
    pub(super) ts: Place,
    pub(super) dur: Place,
    pub(super) pid: Place,
    pub(super) id: Place,
    pub(super) id2: Place,
    pub(super) bind_id: Place,
    pub(super) cat: Place,
    pub(super) name: Place,
    pub(super) args: Place,
}

/// An object of an array of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Bytes from its brace to its brace.
    pub(super) length: usize,
    /// It is not valid JSON, but can be mended.
    pub(super) dirty: bool,
    /// Where its fields are.
    pub(super) fields: Fields,
}

/// Reads the object that begins with the first byte.
///
/// # Errors
/// See [`Stop`].
pub(super) fn event(bytes: &[u8]) -> Result<Event, Stop> {
    let mut event = Event::default();
    event.length = members(bytes, &mut event.dirty, |key, value| {
        let fields = &mut event.fields;
        let field = match key {
            b"ph" => &mut fields.ph,
            b"ts" => &mut fields.ts,
            b"dur" => &mut fields.dur,
            b"pid" => &mut fields.pid,
            b"id" => &mut fields.id,
            b"id2" => &mut fields.id2,
            b"bind_id" => &mut fields.bind_id,
            b"cat" => &mut fields.cat,
            b"name" => &mut fields.name,
            b"args" => &mut fields.args,
            _ => return,
        };
        *field = value;
    })?;
    Ok(event)
}

/// Walks over the members of the object that begins with the first byte: key without quotes, and place of the value.
/// Of a key that comes twice the last one counts, as readers have it. Returns the object's length.
///
/// # Errors
/// See [`Stop`].
#[inline]
pub(super) fn members(bytes: &[u8], dirty: &mut bool, mut member: impl FnMut(&[u8], Place)) -> Result<usize, Stop> {
    let mut at = space(bytes, 1)?;
    if bytes[at] == b'}' {
        return Ok(at + 1);
    }
    loop {
        let (key, begin) = self::key(bytes, at, dirty)?;
        let end = value(bytes, begin, dirty)?;
        member(&bytes[key], Place { begin: begin as u32, end: end as u32 });
        at = space(bytes, end)?;
        match bytes[at] {
            b',' => at = space(bytes, at + 1)?,
            b'}' => return Ok(at + 1),
            _ => return Err(Stop::Damaged),
        }
    }
}

/// Goes over white space; there is a byte at the place returned.
#[inline]
pub(super) fn space(bytes: &[u8], mut at: usize) -> Result<usize, Stop> {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\n' | b'\t' | b'\r') => at += 1,
            Some(_) => return Ok(at),
            None => return Err(Stop::More),
        }
    }
}

/// A key, its colon, and where its value begins.
#[inline]
pub(super) fn key(bytes: &[u8], at: usize, dirty: &mut bool) -> Result<(Range<usize>, usize), Stop> {
    if bytes[at] != b'"' {
        return Err(Stop::Damaged);
    }
    let end = strings::skip(bytes, at + 1, dirty)?;
    let colon = space(bytes, end)?;
    if bytes[colon] != b':' {
        return Err(Stop::Damaged);
    }
    Ok((at + 1..end - 1, space(bytes, colon + 1)?))
}

/// Where the value that begins at `at` ends.
///
/// # Errors
/// See [`Stop`].
#[inline]
pub(super) fn value(bytes: &[u8], at: usize, dirty: &mut bool) -> Result<usize, Stop> {
    match *bytes.get(at).ok_or(Stop::More)? {
        b'"' => strings::skip(bytes, at + 1, dirty),
        b'{' | b'[' => nested(bytes, at, dirty),
        _ => word(bytes, at, dirty),
    }
}

fn nested(bytes: &[u8], begin: usize, dirty: &mut bool) -> Result<usize, Stop> {
    let mut at = begin;
    // A bit per level, the innermost lowest: whether it is an object.
    let (mut levels, mut depth) = (0u128, 0);
    loop {
        match *bytes.get(at).ok_or(Stop::More)? {
            b'"' => at = strings::skip(bytes, at + 1, dirty)?,
            open @ (b'{' | b'[') => {
                if depth == DEEPEST {
                    return Err(Stop::Damaged);
                }
                let is_object = open == b'{';
                (levels, depth) = (levels << 1 | u128::from(is_object), depth + 1);
                at = space(bytes, at + 1)?;
                // `{` and `}`, `[` and `]` are two apart.
                if bytes[at] != open + 2 {
                    if is_object {
                        at = key(bytes, at, dirty)?.1;
                    }
                    continue;
                }
                (levels, depth, at) = (levels >> 1, depth - 1, at + 1);
            }
            _ => at = word(bytes, at, dirty)?,
        }
        // Behind a value.
        loop {
            if depth == 0 {
                return Ok(at);
            }
            at = space(bytes, at)?;
            let is_object = levels & 1 == 1;
            match bytes[at] {
                b',' => {
                    at = space(bytes, at + 1)?;
                    if is_object {
                        at = key(bytes, at, dirty)?.1;
                    }
                    break;
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return Err(Stop::Damaged),
            }
            (levels, depth, at) = (levels >> 1, depth - 1, at + 1);
        }
    }
}

/// A number or a literal; any other word (`NaN`, `01`) is dirty.
#[inline]
fn word(bytes: &[u8], begin: usize, dirty: &mut bool) -> Result<usize, Stop> {
    let mut at = begin;
    loop {
        match *bytes.get(at).ok_or(Stop::More)? {
            b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' | b'{' | b'[' | b':' => return Err(Stop::Damaged),
            _ => at += 1,
        }
    }
    if at == begin {
        return Err(Stop::Damaged);
    }
    *dirty |= !is_sound_word(&bytes[begin..at]);
    Ok(at)
}

/// Digits of a number up to which no reader takes it for one that is too large, if it has no exponent.
const PLAIN_DIGITS: usize = 300;

/// A JSON number or literal. A number beyond what a 64-bit float holds is none: strict readers refuse the whole file for it.
pub(super) fn is_sound_word(word: &[u8]) -> bool {
    let digits = |from: usize| word[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(word.first() == Some(&b'-'));
    match digits(at) {
        0 => return matches!(word, b"true" | b"false" | b"null"),
        count if count > 1 && word[at] == b'0' => return false,
        count => at += count,
    }
    if word.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return false,
            count => at += 1 + count,
        }
    }
    let mut is_plain = word.len() <= PLAIN_DIGITS;
    if let Some(b'e' | b'E') = word.get(at) {
        is_plain = false;
        at += 1;
        at += usize::from(matches!(word.get(at), Some(b'+' | b'-')));
        match digits(at.min(word.len())) {
            0 => return false,
            count => at += count,
        }
    }
    let is_finite = || std::str::from_utf8(word).is_ok_and(|word| word.parse().is_ok_and(f64::is_finite));
    at == word.len() && (is_plain || is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_found_in_any_order_and_only_at_the_top() {
        let text = br#"{ "args" : {"ts": 7, "pid":[{"ph":"Q"}]},"name":"a \" } b", "ts":1.5 ,"pid" :"x","ph":"X", "z":[]} tail"#;
        let found = event(text).expect("an event");
        assert_eq!(&text[found.length..], b" tail");
        assert!(!found.dirty);
        let fields = found.fields;
        assert_eq!(fields.ts.of(text), b"1.5");
        assert_eq!(fields.pid.of(text), br#""x""#);
        assert_eq!(fields.ph.of(text), br#""X""#);
        assert_eq!(fields.name.of(text), br#""a \" } b""#);
        assert!(!fields.id.is_there());
    }

    #[test]
    fn what_is_broken_is_told_from_what_can_be_mended_and_from_what_goes_on() {
        for text in [r#"{"a":NaN}"#, "{\"a\":\"\u{1}\"}", r#"{"a":01}"#, r#"{"a":[1,{"b":-Infinity}]}"#] {
            assert_eq!(
                event(text.as_bytes()).map(|event| (event.dirty, event.length)),
                Ok((true, text.len())),
                "{text}"
            );
        }
        for text in
            [r#"{"a" 1}"#, r#"{"a":1,}"#, r#"{a:1}"#, r#"{"a":[1}"#, r#"{"a":}"#, r#"{"a":1 2}"#, r#"{"a":{"b"}}"#]
        {
            assert_eq!(event(text.as_bytes()), Err(Stop::Damaged), "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(101), "]".repeat(101));
        assert_eq!(event(deep.as_bytes()), Err(Stop::Damaged));
        let whole = br#"{"a":[1,{"b":"c\n\u00e9"}],"d":-1.5e3}"#;
        for cut in 1..whole.len() {
            assert_eq!(event(&whole[..cut]), Err(Stop::More), "{cut}");
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_sound_and_any_beginning_of_it_goes_on(value in any_json(), pretty: bool) {
            let wrapped = serde_json::json!({"v": value});
            let text =
                if pretty { serde_json::to_vec_pretty(&wrapped) } else { serde_json::to_vec(&wrapped) }.expect("JSON");
            prop_assert_eq!(event(&text).map(|event| (event.length, event.dirty)), Ok((text.len(), false)));
            for cut in 1..text.len() {
                prop_assert_eq!(event(&text[..cut]), Err(Stop::More));
            }
        }

        #[test]
        fn what_is_called_sound_is_taken_by_a_strict_reader(text in "\\{\"a\":[-0-9.eE+truefalsn\\[\\]{}\",: ]{0,14}\\}") {
            if let Ok(found) = event(text.as_bytes()) {
                let strict = serde_json::from_str::<serde_json::Value>(&text[..found.length]);
                prop_assert_eq!(strict.is_ok(), !found.dirty, "{}", text);
            }
        }
    }
}
