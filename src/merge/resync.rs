//! Where reading goes on behind a place that is broken: what looks like the begin of an event, or like the end of all.

/// How far ahead is looked.
pub(super) const LOOK_AHEAD: usize = 96;

/// The quoted word behind the first byte, a bracket or a comma, and white space.
fn quoted(ahead: &[u8]) -> Option<&[u8]> {
    let begin = ahead.get(1..)?.trim_ascii_start().strip_prefix(b"\"")?;
    begin.split(|byte| *byte == b'"').next()
}

/// An object whose first key is one of an event's.
pub(super) fn is_begin(ahead: &[u8]) -> bool {
    let keys: [&[u8]; 12] =
        [b"ph", b"name", b"cat", b"ts", b"pid", b"tid", b"dur", b"args", b"id", b"s", b"bp", b"tts"];
    quoted(ahead).is_some_and(|key| keys.contains(&key))
}

/// The end of the file, or a member that traces have behind their events.
pub(super) fn is_end(ahead: &[u8]) -> bool {
    let keys: [&[u8]; 10] = [
        b"traceName",
        b"metadata",
        b"displayTimeUnit",
        b"distributedInfo",
        b"baseTimeNanoseconds",
        b"otherData",
        b"stackFrames",
        b"samples",
        b"systemTraceEvents",
        b"traceEvents",
    ];
    let behind = ahead[1..].trim_ascii_start();
    match behind.first() {
        Some(b'}') => behind[1..].trim_ascii().is_empty(),
        Some(b',') => quoted(behind).is_some_and(|key| keys.contains(&key)),
        first => first.is_none(),
    }
}
