//! The file of tokens: who may do what.
//!
//! ```toml
//! [[token]]
//! name = "bench"                 # stands in the log and in the audit
//! token = "…"                    # or sha256 = "…", what `printf %s TOKEN | sha256sum` says
//! rights = ["look", "capture"]   # and "delete"
//! ```
//!
//! No error shows a line of the file: it may hold a token. Called by `service`, at its start and on SIGHUP.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::load::{SettingsError, is_token, line_of};
use super::private_file;

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Status, ranks, captures, traces, ledgers, reports, metrics.
    Look,
    /// Start and stop.
    Capture,
    /// Remove captures.
    Delete,
}

impl Right {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Look, Self::Capture, Self::Delete];

    /// As the file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Capture => "capture",
            Self::Delete => "delete",
        }
    }
}

/// What a token is known by.
#[derive(Debug, Clone)]
pub enum Secret {
    /// Itself.
    Plain(SecretString),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// One token.
#[derive(Debug, Clone)]
pub struct NamedToken {
    /// Who brings it.
    pub name: String,
    /// How it is known again.
    pub secret: Secret,
    /// What it is good for.
    pub rights: Vec<Right>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    token: Option<SecretString>,
    sha256: Option<String>,
    rights: Vec<Right>,
}

/// Reads the file.
///
/// # Errors
/// [`SettingsError::Token`].
pub fn read(path: &Path) -> Result<Vec<NamedToken>, SettingsError> {
    let wrong = |reason: String| SettingsError::Token { path: path.to_path_buf(), reason };
    let text = private_file::read(path).map_err(wrong)?;
    parse(&text).map_err(wrong)
}

/// Reads its text. Errors are words without a line of it.
pub fn parse(text: &str) -> Result<Vec<NamedToken>, String> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let line = line_of(text, &error);
        // A parser's words may show a value; what they say of names and kinds is all that is passed on.
        let what = error.message().lines().next().unwrap_or_default();
        let what = if ["unknown field", "missing field", "unknown variant"].iter().any(|known| what.starts_with(known))
        {
            what.to_owned()
        } else {
            "is not what stands here: [[token]] with name, token or sha256, and rights".to_owned()
        };
        line.map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
    })?;
    if document.token.is_empty() {
        return Err("names no token: write [[token]] with name, token or sha256, and rights".to_owned());
    }
    document.token.into_iter().map(entry).collect()
}

fn entry(entry: Entry) -> Result<NamedToken, String> {
    let Entry { name, token, sha256, rights } = entry;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_plain) {
        return Err("a name is 1 to 64 of A-Z a-z 0-9 . _ - @".to_owned());
    }
    if rights.is_empty() {
        return Err(format!("token {name} has no rights: give some of look, capture, delete"));
    }
    let secret = match (token, sha256) {
        (Some(token), None) if is_token(token.expose_secret()) => Secret::Plain(token),
        (Some(_), None) => return Err(format!("token {name} has to be visible ASCII without spaces")),
        (None, Some(hash)) => match unhex(&hash) {
            Some(hash) => Secret::Sha256(hash),
            None => return Err(format!("sha256 of token {name} has to be 64 hexadecimal digits")),
        },
        _ => return Err(format!("token {name} needs one of `token` and `sha256`")),
    };
    Ok(NamedToken { name, secret, rights })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}
