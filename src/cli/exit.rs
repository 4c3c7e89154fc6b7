//! The exit codes, and which error gives which.

use crate::client::ClientError;
use crate::client::types::{Capture, Complete};

/// What the command leaves behind for a script; in `--help` and in the README as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Ok,
    /// It did not: the capture failed, a file could not be written, `doctor` found something bad.
    Failed,
    /// The arguments make no sense. (clap's own code, too.)
    Usage,
    /// No sidecar could be reached, or none that can be trusted.
    Unreachable,
    /// The sidecar said no: a wrong value, no token, a capture is running, no engine is attached.
    Refused,
    /// The trace was delivered, but something that was asked for is missing in it.
    Incomplete,
    /// What a command that was run in our place left behind, as a shell says it: 128 and the signal that ended it.
    Passed(u8),
}

/// The table for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  it worked
  1  it failed: the capture failed, a file could not be written, doctor found something bad
  2  the arguments make no sense
  3  no sidecar could be reached, or none that can be trusted
  4  the sidecar refused: wrong value, no token, a capture is running, no engine is attached
  5  delivered, but incomplete: the capture, or merge, says what is missing
`run`, `exec` and `nsys --run` give the exit code of what they run.";

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Refused => 4,
            Exit::Incomplete => 5,
            Exit::Passed(code) => code,
        })
    }
}

impl Exit {
    /// For an error that reached the top.
    pub fn of_error(error: &anyhow::Error) -> Self {
        if error.is::<UsageError>() {
            return Self::Usage;
        }
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::BadUrl { .. } | ClientError::BadCertificates(_)) => Self::Usage,
            Some(
                ClientError::Unreachable { .. }
                | ClientError::TimedOut { .. }
                | ClientError::NotTrusted { .. }
                | ClientError::SpeaksHttps { .. }
                | ClientError::NotStepscope { .. },
            ) => Self::Unreachable,
            Some(ClientError::Unauthorized { .. } | ClientError::Refused { .. }) => Self::Refused,
            Some(ClientError::Failed { .. } | ClientError::CutShort { .. } | ClientError::File { .. }) | None => {
                Self::Failed
            }
        }
    }

    /// For a capture that is final.
    pub fn of_capture(capture: &Capture) -> Self {
        match (capture.state.as_str(), capture.complete) {
            ("failed", _) => Self::Failed,
            ("done", Complete::No) => Self::Incomplete,
            _ => Self::Ok,
        }
    }
}

/// Arguments that each make sense but not together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
