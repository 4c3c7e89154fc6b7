//! What this agent is, as JSON, for people who ask why nothing is captured.

use std::fmt::Write;

use super::{sources, state};

/// A JSON object: version, process, identity, segment, sources of steps.
pub(super) fn describe(abi: u32) -> String {
    let mut out = String::from("{");
    field(&mut out, "version", env!("CARGO_PKG_VERSION"));
    let _ = write!(out, ",\"abi\":{abi},\"pid\":{}", std::process::id());
    let sources = sources::all();
    out.push_str(",\"step_source\":");
    match sources.first() {
        Some(first) => string(&mut out, first),
        None => out.push_str("null"),
    }
    out.push_str(",\"rejected_sources\":[");
    for (i, source) in sources.iter().skip(1).enumerate() {
        if i > 0 {
            out.push(',');
        }
        string(&mut out, source);
    }
    out.push(']');
    let _ = write!(out, ",\"joined\":{}", state::joined().is_some());
    if let Some(joined) = state::joined() {
        let identity = &joined.identity;
        for (name, value) in [
            ("job", &identity.job),
            ("group", &identity.group),
            ("engine", &identity.engine),
            ("label", &identity.label),
            ("segment", &joined.segment.path().display().to_string()),
            ("clock", &format!("{:?}", joined.clock).to_lowercase()),
        ] {
            out.push(',');
            field(&mut out, name, value);
        }
        let _ = write!(out, ",\"rank\":{},\"world_size\":{}", identity.rank, identity.world_size);
    }
    out.push('}');
    out
}

fn field(out: &mut String, name: &str, value: &str) {
    string(out, name);
    out.push(':');
    string(out, value);
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
