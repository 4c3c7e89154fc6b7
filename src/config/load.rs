//! Defaults, file, environment and flags become one [`Settings`].
//!
//! Every layer is checked by itself, so that a mistake is reported with the place where it was made. Called by `cli`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};

use super::arguments::ServeArguments;
use super::settings::Settings;
use super::variables::{self, Kind, Reader};

/// Why there are no settings to run with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file can't be read.
    #[error("settings file {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file is no TOML, or a value in it has the wrong type.
    #[error("settings file {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Where and why, without a line of it.
        reason: String,
    },
    /// Keys that nobody knows.
    #[error("settings file {}: unknown key {}: see `stepscope serve --help` for what there is", path.display(), keys.join(", "))]
    UnknownKeys {
        /// Which.
        path: PathBuf,
        /// What they are called.
        keys: Vec<String>,
    },
    /// A variable that nobody knows.
    #[error("environment variable {0} is none of Stepscope's: unset it, or mend its name")]
    UnknownVariable(String),
    /// A variable with a value that can't be.
    #[error("environment variable {name}: {reason}")]
    Variable {
        /// Which.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A flag with a value that can't be.
    #[error("flags: {0}")]
    Flags(Box<toml::de::Error>),
    /// A value that is out of bounds, wherever it came from.
    #[error("{key}: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Reachable from outside, and nobody is asked who they are.
    #[error(
        "listening on {0} would let everybody on the network start captures: set STEPSCOPE_TOKEN, --token-file or --tokens-file, or listen on 127.0.0.1"
    )]
    OpenToAll(std::net::SocketAddr),
    /// The token file can't be read, or holds none.
    #[error("token file {}: {reason}", path.display())]
    Token {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Settings from all layers, checked.
///
/// `environment` is all of it (`std::env::vars_os()`); what does not begin with `STEPSCOPE_` is left alone, save for
/// `HOME` and `XDG_DATA_HOME`, which the default of `data` hangs on.
pub fn load(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &ServeArguments,
) -> Result<Settings, SettingsError> {
    let environment: Vec<(String, OsString)> =
        environment.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    let value_of = |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let path_of = |wanted: &str| value_of(wanted).map(Path::new);

    let defaults = Settings::defaults(path_of("XDG_DATA_HOME"), path_of("HOME"));
    let mut table = to_table(&defaults);

    if let Some(path) = flags.config.as_deref().or_else(|| path_of("STEPSCOPE_CONFIG")) {
        overlay(&mut table, from_file(path)?);
    }
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("STEPSCOPE_")) {
        from_variable(&mut table, name, value)?;
    }
    overlay(&mut table, to_table(flags));
    let settings: Settings = table.try_into().map_err(|error| SettingsError::Flags(Box::new(error)))?;
    settings.checked()
}

/// What serialises as a map of plain values; `None` is left out.
fn to_table(value: &impl serde::Serialize) -> Table {
    Table::try_from(value).expect("settings and flags are maps of plain values, which TOML can hold")
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn from_file(path: &Path) -> Result<Table, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { path: path.to_path_buf(), source })?;
    let wrong = |error| SettingsError::File { path: path.to_path_buf(), reason: without_a_secret(&text, &error) };
    let mut keys = Vec::new();
    let document = toml::Deserializer::parse(&text).map_err(wrong)?;
    let _checked: Settings =
        serde_ignored::deserialize(document, |key| keys.push(format!("`{key}`"))).map_err(wrong)?;
    if !keys.is_empty() {
        return Err(SettingsError::UnknownKeys { path: path.to_path_buf(), keys });
    }
    toml::from_str(&text).map_err(wrong)
}

/// What a parser says, and where. Its own words would show the line, and what is wrong with a token shows the token.
fn without_a_secret(text: &str, error: &toml::de::Error) -> String {
    let said = error.message();
    let Some(number) = line_of(text, error) else { return said.to_owned() };
    let shows_a_value =
        ["invalid type", "invalid value", "unknown variant"].iter().any(|words| said.starts_with(words));
    let is_secret = text.lines().nth(number - 1).is_some_and(|line| line.contains("token"));
    let said = if shows_a_value && is_secret { "a value is of another kind than it has to be" } else { said };
    format!("line {number}: {said}")
}

/// The line of a text that an error is about, counted from 1.
pub(super) fn line_of(text: &str, error: &toml::de::Error) -> Option<usize> {
    let before = text.get(..error.span()?.start).unwrap_or(text);
    Some(before.matches('\n').count() + 1)
}

fn from_variable(table: &mut Table, name: &str, value: &OsString) -> Result<(), SettingsError> {
    let Some(variable) = variables::find(name) else {
        return if variables::is_service_link(name) || variables::is_for_building(name) {
            Ok(())
        } else {
            Err(SettingsError::UnknownVariable(name.to_owned()))
        };
    };
    if variable.key.is_empty() || variable.reader == Reader::Agent {
        return Ok(());
    }
    let wrong = |reason: String| SettingsError::Variable { name: name.to_owned(), reason };
    let text = value.to_str().ok_or_else(|| wrong("not valid UTF-8".into()))?.trim();
    if text.is_empty() {
        return Ok(()); // set to nothing is how many launchers unset a variable
    }
    let value = parse(variable.kind, text).map_err(wrong)?;
    let mut layer = Table::new();
    match variable.key.split_once('.') {
        Some((outer, inner)) => {
            layer.insert(outer.to_owned(), Value::Table(Table::from_iter([(inner.to_owned(), value)])));
        }
        None => {
            layer.insert(variable.key.to_owned(), value);
        }
    }
    overlay(table, layer);
    match table.clone().try_into::<Settings>() {
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(error.message().to_owned())),
    }
}

fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Integer => text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number")),
        Kind::Number => text.parse().map(Value::Float).map_err(|_| format!("{text:?} is not a number")),
        Kind::List => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Ok(Value::Array(words.map(|word| Value::String(word.to_owned())).collect()))
        }
        Kind::Switch => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Value::Boolean(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Boolean(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
    }
}

impl Settings {
    /// These settings, if they can be run with.
    pub fn checked(self) -> Result<Self, SettingsError> {
        let wrong = |key, reason: &str| Err(SettingsError::Value { key, reason: reason.to_owned() });
        if self.token.is_some() && self.token_file.is_some() {
            return wrong("token_file", "there is a token already: give one of `token` and `token_file`");
        }
        if self.token.as_ref().is_some_and(|token| !is_token(token.expose_secret())) {
            return wrong("token", "has to be visible ASCII without spaces");
        }
        if self.engine.token.is_some() && self.engine.token_file.is_some() {
            return wrong("engine.token_file", "there is a token already: give one of `token` and `token_file`");
        }
        if self.engine.token.as_ref().is_some_and(|token| !is_token(token.expose_secret())) {
            return wrong("engine.token", "has to be visible ASCII without spaces");
        }
        if !self.listen.ip().is_loopback() && !self.asks_for_tokens() {
            return Err(SettingsError::OpenToAll(self.listen));
        }
        if !self.open_profile_routes.is_empty() && !self.asks_for_tokens() {
            return wrong("open_profile_routes", "opens nothing: without a token all routes are open to this machine");
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return wrong("tls_cert", "a certificate and its key go together: give both `tls_cert` and `tls_key`");
        }
        if let Some(name) = self.allowed_host.iter().find(|name| !is_host(name)) {
            return wrong(
                "allowed_host",
                &format!("{name:?} is no name of a host: letters, digits, . _ and - alone, no port"),
            );
        }
        for (key, value) in [
            ("max_duration_ms", self.max_duration_ms),
            ("max_wait_ms", self.max_wait_ms),
            ("max_bytes", self.max_bytes),
            ("engine.patience_ms", self.engine.patience_ms),
        ] {
            if value == 0 {
                return wrong(key, "has to be at least 1");
            }
        }
        if !(1_000..=3_600_000).contains(&self.lease_ms) {
            return wrong("lease_ms", "has to lie between 1000 and 3600000: the sidecar renews it each second");
        }
        for (key, value) in
            [("nvml.period_ms", self.nvml.period_ms), ("nvml.window_period_ms", self.nvml.window_period_ms)]
        {
            if value != 0 && !(10..=3_600_000).contains(&value) {
                return wrong(key, "has to be 0, or lie between 10 and 3600000");
            }
        }
        if !(0.0..=1e9).contains(&self.start_rate_per_second) {
            return wrong("start_rate_per_second", "has to lie between 0 and 1000000000");
        }
        Ok(self)
    }

    /// Whether callers have to say who they are.
    pub fn asks_for_tokens(&self) -> bool {
        self.token.is_some() || self.token_file.is_some() || self.tokens_file.is_some()
    }

    /// The one token that may do all, from the settings or the file.
    pub fn bearer_token(&self) -> Result<Option<SecretString>, SettingsError> {
        token(self.token.as_ref(), self.token_file.as_ref())
    }

    /// The token that the engine asks for, likewise.
    pub fn engine_token(&self) -> Result<Option<SecretString>, SettingsError> {
        token(self.engine.token.as_ref(), self.engine.token_file.as_ref())
    }
}

/// From the settings, or from a file.
fn token(given: Option<&SecretString>, file: Option<&PathBuf>) -> Result<Option<SecretString>, SettingsError> {
    let Some(path) = file else { return Ok(given.cloned()) };
    let wrong = |reason: String| SettingsError::Token { path: path.clone(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    match text.trim() {
        "" => Err(wrong("is empty: write the token into it".into())),
        token if !is_token(token) => Err(wrong("holds no token: it has to be visible ASCII without spaces".into())),
        token => Ok(Some(token.into())),
    }
}

fn is_host(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(is_allowed)
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
