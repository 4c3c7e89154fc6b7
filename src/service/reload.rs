//! SIGHUP: tokens and certificate are read again, and the audit's file is opened again.
//!
//! What can't be read is said in the log, and what there was goes on. Each file is read by itself: a broken one keeps
//! nothing else from being taken. Where there is nothing to read again, SIGHUP ends the service as it ends any other
//! program whose terminal is gone. Called by [`mod@super::serve`].

use tokio::signal::unix::Signal;

use super::state::AppState;
use super::tokens::Tokens;
use crate::config::Settings;

/// Whether the settings name a file that can be read again.
pub fn has_files(settings: &Settings) -> bool {
    settings.token_file.is_some()
        || settings.tokens_file.is_some()
        || settings.tls_cert.is_some()
        || settings.audit_log.is_some()
}

/// Forever, on each signal.
pub async fn on_hangup(mut hangup: Signal, state: AppState) {
    while hangup.recv().await.is_some() {
        let state = state.clone();
        // A disk that stalls keeps this waiting, and nobody else.
        if let Err(error) = tokio::task::spawn_blocking(move || reload(&state)).await {
            tracing::error!("reading the settings' files again failed: {error}");
        }
    }
}

/// Once.
pub fn reload(state: &AppState) {
    state.audit.reopen();
    if let Some(tls) = &state.tls {
        match tls.reload() {
            Ok(()) => tracing::info!("read again: certificate and key"),
            Err(error) => tracing::error!("certificate and key stay as they are: {error}"),
        }
    }
    match Tokens::of(&state.settings) {
        Ok(tokens) => {
            let count = tokens.count();
            state.set_tokens(tokens);
            tracing::info!(tokens = count, "read again: tokens; the audit log is opened again");
        }
        Err(error) => tracing::error!("the tokens stay as they are: {error}"),
    }
}
