//! One thing that was found.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could, or may be meant so.
    Warn,
    /// Keeps something from working.
    Bad,
}

/// What was found, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: `folder`, `segment`, `machine`, `gpu`, `cuda`, `process`, `launch`, `nsys`, `python`, `sidecar`.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// What mends it; none where nothing is to be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, what: what.into(), mend: None }
    }

    /// Works, but not as well as it could.
    pub fn warn(about: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Warn, about, what: what.into(), mend: Some(mend.into()) }
    }

    /// Keeps something from working.
    pub fn bad(about: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Bad, about, what: what.into(), mend: Some(mend.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "BAD",
        };
        writeln!(f, "{level:<5}{:<9}{}", self.about, self.what)?;
        match &self.mend {
            Some(mend) => writeln!(f, "{:<14}mend: {mend}", ""),
            None => Ok(()),
        }
    }
}
