//! The port filled in: one engine, by its URL. Called by `capture`, put together by `service`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::runtime::Handle;

use crate::capture::native::{Later, Native, Shown, Talk, Wanted};
use crate::client::endpoint::{self, BadEndpoint};
use crate::client::{Client, ClientError};
use crate::merge::{Annotations, annotations};

use super::engine::{self, Identity};
use super::kind::Kind;
use super::session::Session;

/// How long a check may keep a start waiting. What the engine has not said by then is found out by the start itself.
const CHECK_PATIENCE: Duration = Duration::from_millis(25);
/// And the first one, which asks who the engine is.
const FIRST_PATIENCE: Duration = Duration::from_millis(60);

/// Which engine, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Where its own HTTP is.
    pub url: String,
    /// Which kind; `None`: it is asked.
    pub kind: Option<Kind>,
    /// Where its profiler writes, as the sidecar sees it.
    pub folder: Option<PathBuf>,
    /// Its token.
    pub token: Option<SecretString>,
    /// How long it may take to stop and to write.
    pub patience: Duration,
    /// Who it is is asked at once, not with the first start.
    pub ask_at_once: bool,
}

/// An engine's own profiler.
#[derive(Debug)]
pub struct EngineProfiler {
    http: Client,
    settings: EngineSettings,
    runtime: Handle,
    known: Arc<Mutex<Known>>,
}

/// What the engine has said so far.
#[derive(Debug, Default)]
struct Known {
    /// Who it is.
    identity: Option<Identity>,
    /// Whether it can profile, when it was asked last.
    verdict: Option<Result<(), String>>,
}

impl EngineProfiler {
    /// Sessions, and what is asked, run on `runtime`.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn new(settings: EngineSettings, runtime: Handle) -> Result<Self, ClientError> {
        // Clients are used to giving the address that they send completions to.
        let base = endpoint::base(&settings.url)
            .map_err(|BadEndpoint { given, reason }| ClientError::BadUrl { url: given, reason })?;
        let http = Client::of_engine(&base, settings.token.clone())?;
        let profiler = Self { http, settings, runtime, known: Arc::default() };
        if profiler.settings.ask_at_once {
            drop(profiler.check());
        }
        Ok(profiler)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks who it is, where that is not known, and whether it can profile.
async fn ask(http: &Client, given: Option<Kind>, known: Option<Identity>) -> Known {
    let identity = match known {
        Some(identity) => Ok(identity),
        None => engine::identify(http, given).await,
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(words) => return Known { identity: None, verdict: Some(Err(words)) },
    };
    match engine::check(http, identity.kind).await {
        Ok(()) => Known { identity: Some(identity), verdict: Some(Ok(())) },
        // Another engine may listen there next time.
        Err(words) => Known { identity: None, verdict: Some(Err(words)) },
    }
}

impl Native for EngineProfiler {
    fn check(&self) -> Later<Result<(), String>> {
        let (http, given, known) = (self.http.clone(), self.settings.kind, self.known.clone());
        let (identity, last) = {
            let known = self.known();
            // An engine that did not listen, or had no profiler, may have been started anew: that is asked again, and waited for.
            (known.identity.clone(), known.verdict.clone().filter(Result::is_ok))
        };
        let asked = self.runtime.spawn(async move {
            let said = ask(&http, given, identity).await;
            let verdict = said.verdict.clone();
            *known.lock().unwrap_or_else(PoisonError::into_inner) = said;
            verdict
        });
        // Past the patience it goes on by itself, and what was said before counts.
        Box::pin(async move {
            let patience = if last.is_some() { CHECK_PATIENCE } else { FIRST_PATIENCE };
            let verdict = match tokio::time::timeout(patience, asked).await {
                Ok(verdict) => verdict.unwrap_or_default(),
                Err(_late) => last,
            };
            verdict.unwrap_or(Ok(()))
        })
    }

    fn begin(&self, wanted: Wanted, talk: Arc<Talk>) {
        let session = Session {
            http: self.http.clone(),
            given: self.settings.kind,
            folder: self.settings.folder.clone(),
            patience: self.settings.patience,
            wanted,
            talk,
        };
        let known = self.known().identity.clone();
        self.runtime.spawn(session.run(known));
    }

    fn iterations(&self, file: &Path) -> Result<Shown, String> {
        let Annotations { events, begins_ns, empty, cut } = annotations(file)?;
        Ok(Shown { events, begins_ns, empty, cut })
    }
}
