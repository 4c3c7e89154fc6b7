//! What stands between the network and the session: tokens, the audit, TLS. All of it from files that the settings name.
//!
//! Called by [`mod@super::serve`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audit::Audit;
use super::tls::{Tls, TlsError};
use super::tokens::Tokens;
use crate::config::private_file::is_open_to_others;
use crate::config::{Settings, SettingsError};

/// Why it can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The tokens can't be read.
    #[error(transparent)]
    Tokens(#[from] SettingsError),
    /// The audit's file can't be written.
    #[error("audit log {}: {source}: name a file that can be written with --audit-log", path.display())]
    Audit {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// All of it.
#[derive(Debug)]
pub struct Door {
    /// The tokens there are.
    pub tokens: Tokens,
    /// Who did what.
    pub audit: Arc<Audit>,
    /// What connections are served with, if not in plain.
    pub tls: Option<Arc<Tls>>,
    /// How long a body may take to arrive.
    pub body_patience: Duration,
}

impl Door {
    /// Reads and opens what the settings name.
    pub fn open(settings: &Settings) -> Result<Self, DoorError> {
        let tokens = Tokens::of(settings)?;
        let file = settings.audit_log.as_deref();
        let audit = Audit::open(file, Instant::now())
            .map_err(|source| DoorError::Audit { path: file.map(Into::into).unwrap_or_default(), source })?;
        let tls = Tls::of(settings)?.map(Arc::new);
        Ok(Self { tokens, audit: Arc::new(audit), tls, body_patience: Duration::from_secs(10) })
    }
}

/// Says what was set on purpose, and may be more than was meant.
pub fn warn_of_what_is_open(settings: &Settings) {
    for network in &settings.open_profile_routes {
        tracing::warn!("start and stop are open without a token to callers from {network}");
    }
    if let Some(path) = settings.token_file.as_deref().filter(|path| is_open_to_others(path)) {
        tracing::warn!("token file {}: everybody on this machine may read it: chmod o-rw it", path.display());
    }
    if !settings.listen.ip().is_loopback() && settings.tls_cert.is_none() {
        let listen = settings.listen;
        tracing::warn!(
            "tokens and traces cross the network unencrypted: set tls_cert and tls_key, or put TLS before {listen}"
        );
    }
}
