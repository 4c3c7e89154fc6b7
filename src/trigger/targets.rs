//! Whom a trigger calls: addresses from the command line or a file, checked before anything is done.
//!
//! A file has a target a line: an address, and if need be `engine=NAME` and `token=TEXT` behind it. What follows a `#` at
//! the beginning of a line or behind a space is a comment.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::client::endpoint::{self, BadEndpoint};
use crate::client::protocol::Protocol;

/// One target.
#[derive(Debug, Clone)]
pub struct Target {
    /// The base of its profiling routes, without a slash at its end.
    pub base: String,
    /// Who answers there; `None`: it is asked.
    pub protocol: Option<Protocol>,
    /// Bearer token.
    pub token: Option<SecretString>,
}

/// A target that can't be meant.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] BadEndpoint),
    /// The file can't be read.
    #[error("targets file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A line of it makes no sense.
    #[error("targets file {}, line {line}: {reason}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none.
    #[error("targets file {} names no target", .0.display())]
    None(PathBuf),
}

impl Target {
    /// For an address as people write it.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn new(address: &str, protocol: Option<Protocol>, token: Option<SecretString>) -> Result<Self, TargetError> {
        Ok(Self { base: endpoint::base(address)?, protocol, token })
    }
}

/// All targets of a file. What a line does not say is as given.
///
/// # Errors
/// See [`TargetError`].
pub fn of_file(
    path: &Path,
    protocol: Option<Protocol>,
    token: Option<&SecretString>,
) -> Result<Vec<Target>, TargetError> {
    let text = std::fs::read_to_string(path).map_err(|source| TargetError::File { path: path.to_owned(), source })?;
    let mut targets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |reason| TargetError::Line { path: path.to_owned(), line: index + 1, reason };
        if let Some(target) = of_line(line, protocol, token).map_err(wrong)? {
            targets.push(target);
        }
    }
    if targets.is_empty() { Err(TargetError::None(path.to_owned())) } else { Ok(targets) }
}

fn of_line(line: &str, protocol: Option<Protocol>, token: Option<&SecretString>) -> Result<Option<Target>, String> {
    let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(address) = words.next() else { return Ok(None) };
    let mut target = Target::new(address, protocol, token.cloned()).map_err(|e| e.to_string())?;
    for word in words {
        // A token may hold anything but a space: no word of it is repeated in an error.
        match word.split_once('=') {
            Some(("engine", name)) => target.protocol = engine(name)?,
            Some(("token", token)) if !token.is_empty() => target.token = Some(SecretString::from(token)),
            Some((name, _)) => return Err(format!("{name}=… is none of: engine=NAME, token=TEXT")),
            None => return Err("behind the address come engine=NAME and token=TEXT, and nothing else".into()),
        }
    }
    Ok(Some(target))
}

/// An engine by its name; `auto` is to be asked.
///
/// # Errors
/// The names there are.
pub fn engine(name: &str) -> Result<Option<Protocol>, String> {
    if name == "auto" {
        return Ok(None);
    }
    let names = || Protocol::ALL.map(Protocol::name).join(", ");
    Protocol::of_name(name).map(Some).ok_or_else(|| format!("engine {name:?} is none of: auto, {}", names()))
}

/// Each address once, in order, and those that came again.
pub fn once(targets: Vec<Target>) -> (Vec<Target>, Vec<String>) {
    let (mut kept, mut again): (Vec<Target>, Vec<String>) = (Vec::new(), Vec::new());
    for target in targets {
        match kept.iter().any(|other| other.base == target.base) {
            true => again.push(target.base),
            false => kept.push(target),
        }
    }
    (kept, again)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_file_has_a_target_a_line_with_comments_and_settings_of_its_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text =
            "# replicas\nhttp://a:8001/v1 # the first\n\n  http://b:8001 engine=vllm token=x#y\nhttp://a:8001/\n";
        std::fs::write(file.path(), text).unwrap();
        let token = SecretString::from("all");
        let (targets, again) = once(of_file(file.path(), Some(Protocol::Stepscope), Some(&token)).unwrap());
        let shown: Vec<_> = targets
            .iter()
            .map(|t| (t.base.as_str(), t.protocol, t.token.as_ref().map(ExposeSecret::expose_secret)))
            .collect();
        let (sidecar, vllm) = (Some(Protocol::Stepscope), Some(Protocol::Vllm));
        assert_eq!(shown, [("http://a:8001", sidecar, Some("all")), ("http://b:8001", vllm, Some("x#y"))]);
        assert_eq!(again, ["http://a:8001"]);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_and_no_token_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, said) in [
            ("\nh:1\n", "line 2: \"h:1\""),
            ("http://a engine=torch", "engine \"torch\" is none of: auto, stepscope"),
            ("http://a secret", "and nothing else"),
            ("http://a tokn=secret", "tokn=… is none of"),
            ("# none\n", "names no target"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = of_file(file.path(), None, None).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }
}
