//! What this agent is, as JSON, for people who ask why nothing is captured.

use std::ffi::c_char;

use crate::wire::text::FixedText;

use super::nvtx::injection;
use super::{sources, state};

/// Writes a JSON object (version, process, identity, segment, sources of steps), NUL-terminated and cut to what fits,
/// and gives the bytes it needs without the NUL.
///
/// # Safety
/// `buffer` is null, or `bytes` can be written there.
pub(super) unsafe fn describe(abi: u32, buffer: *mut c_char, bytes: usize) -> usize {
    let mut json = Json { buffer: buffer.cast(), room: if buffer.is_null() { 0 } else { bytes }, length: 0 };
    json.raw(b"{");
    json.text(b"version", env!("CARGO_PKG_VERSION").as_bytes());
    json.number(b"abi", abi);
    json.number(b"pid", std::process::id());
    let mut first = true;
    json.name(b"step_source");
    sources::each(|source| {
        if first {
            json.string(source.as_bytes());
        }
        first = false;
    });
    if first {
        json.raw(b"null");
    }
    json.name(b"rejected_sources");
    json.raw(b"[");
    let mut count = 0;
    sources::each(|source| {
        json.raw(if count > 1 { b"," } else { b"" });
        if count > 0 {
            json.string(source.as_bytes());
        }
        count += 1;
    });
    json.raw(b"]");
    let (watched, unwatched) = injection::instances();
    json.number(b"nvtx_instances", watched);
    json.number(b"nvtx_instances_unwatched", unwatched);
    json.name(b"joined");
    json.raw(if state::joined().is_some() { b"true" } else { b"false" });
    if let Some(joined) = state::joined() {
        let identity = &joined.identity;
        json.text(b"job", identity.job.as_bytes());
        json.text(b"group", identity.group.as_bytes());
        json.text(b"engine", identity.engine.as_bytes());
        json.text(b"label", identity.label.as_bytes());
        json.text(b"segment", joined.segment.path().as_os_str().as_encoded_bytes());
        json.text(b"clock", joined.clock.name().as_bytes());
        json.number(b"rank", identity.rank);
        json.number(b"world_size", identity.world_size);
    }
    json.raw(b"}");
    json.finish();
    json.length
}

/// A JSON object on its way into a buffer of the caller's.
struct Json {
    buffer: *mut u8,
    room: usize,
    length: usize,
}

impl Json {
    fn raw(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.length.saturating_add(1) < self.room {
                // SAFETY: below `room`, which the caller says can be written.
                unsafe { self.buffer.add(self.length).write(byte) };
            }
            self.length = self.length.saturating_add(1);
        }
    }

    fn finish(&mut self) {
        if self.room > 0 {
            // SAFETY: as above.
            unsafe { self.buffer.add(self.length.min(self.room - 1)).write(0) };
        }
    }

    fn name(&mut self, name: &[u8]) {
        if self.length > 1 {
            self.raw(b",");
        }
        self.string(name);
        self.raw(b":");
    }

    fn text(&mut self, name: &[u8], value: &[u8]) {
        self.name(name);
        self.string(value);
    }

    fn number(&mut self, name: &[u8], value: u32) {
        self.name(name);
        self.raw(FixedText::<16>::new().push_decimal(u64::from(value)).as_bytes());
    }

    fn string(&mut self, text: &[u8]) {
        self.raw(b"\"");
        for chunk in text.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                match byte {
                    b'"' | b'\\' => self.raw(&[b'\\', byte]),
                    0..0x20 | 0x7f => {
                        self.raw(FixedText::<8>::new().push("\\u").push_hexadecimal(u64::from(byte), 4).as_bytes());
                    }
                    _ => self.raw(&[byte]),
                }
            }
            if !chunk.invalid().is_empty() {
                self.raw("\u{fffd}".as_bytes());
            }
        }
        self.raw(b"\"");
    }
}
