//! The typed calls.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::tls;
use super::types::{Capture, CaptureList, Status};

/// How long the network is given to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the sidecar is given to answer a call that does not wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a stream may stand still.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What a start asks for; what is `None` is left to the sidecar's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct StartBody {
    /// Iterations to skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_iterations: Option<u64>,
    /// Iterations to capture; 0 is until stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u64>,
    /// The first iteration, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_iteration: Option<u64>,
    /// What to switch on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiler: Option<String>,
    /// Where the engine waits for the device: `both`, `end` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronize: Option<String>,
    /// How many iterations before the window the profiler starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_iterations: Option<u64>,
    /// Which ranks call the profiler: `leader` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda_ranks: Option<String>,
    /// How much the engine tells of itself: `off`, `basic`, `detail` or `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// One job only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// These ranks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Vec<u32>>,
    /// Longest window, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_ms: Option<u64>,
    /// Most records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// Most bytes in fragments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Put in front of exported file names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_prefix: Option<String>,
    /// Accept it now, and open it when told to, within so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
}

/// An answer, read and as it came.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// What it says.
    pub value: T,
    /// The sidecar's JSON, byte for byte.
    pub json: String,
}

/// A sidecar at a URL.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

impl Client {
    /// For the sidecar at `url`; nothing is sent yet. Proxies of the environment are not used for loopback addresses.
    /// Trusts the system's certificates.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn new(url: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        Self::trusting(url, token, None)
    }

    /// The same, but trusts the certificates of this file alone, PEM.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`], [`ClientError::BadCertificates`].
    pub fn trusting(url: &str, token: Option<SecretString>, trusted: Option<&Path>) -> Result<Self, ClientError> {
        Self::build(url, token, trusted, |builder| builder.read_timeout(READ_TIMEOUT))
    }

    /// One for [`Self::call`], which says how long each answer may take: an engine may be silent for minutes while it stops.
    ///
    /// # Errors
    /// As [`Self::trusting`].
    pub fn unhurried(url: &str, token: Option<SecretString>, trusted: Option<&Path>) -> Result<Self, ClientError> {
        Self::build(url, token, trusted, |builder| builder)
    }

    /// One for the routes of an engine's own profiler, unhurried too. It says who asks: our routes in an engine without a
    /// profiler would hand the call on to the sidecar that makes it.
    ///
    /// # Errors
    /// As [`Self::trusting`].
    pub fn of_engine(url: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let agent = concat!("stepscope-serve/", env!("CARGO_PKG_VERSION"));
        Self::build(url, token, None, |builder| builder.user_agent(agent))
    }

    fn build(
        url: &str,
        token: Option<SecretString>,
        trusted: Option<&Path>,
        more: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, ClientError> {
        let bad = |reason: &str| ClientError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
        let mut base = Url::parse(url).map_err(|e| bad(&e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad("it must begin with http:// or https://"));
        }
        let tls = tls::config(base.scheme() == "https", trusted).map_err(ClientError::BadCertificates)?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let loopback = base.host_str().is_some_and(|h| h == "localhost" || h.starts_with("127.") || h == "[::1]");
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            // A POST that is sent elsewhere may arrive as a GET.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("stepscope/", env!("CARGO_PKG_VERSION")));
        let builder = if loopback { builder.no_proxy() } else { builder };
        let http = more(builder).build().map_err(|e| bad(&e.to_string()))?;
        Ok(Self { http, base, token })
    }

    /// The sidecar's address, without a slash at its end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Starts a capture; answers as soon as the ranks agreed on the first iteration.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start(&self, body: &StartBody) -> Result<Reply<Capture>, ClientError> {
        self.json(self.request(Method::POST, "start_profile")?.json(body).timeout(ANSWER_TIMEOUT)).await
    }

    /// Stops the running capture; with `wait` the sidecar answers when it is final, or after that time.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stop(&self, wait: Option<Duration>) -> Result<Reply<Capture>, ClientError> {
        let request = self.request(Method::POST, "stop_profile")?.timeout(ANSWER_TIMEOUT + wait.unwrap_or_default());
        match wait {
            Some(wait) => self.json(request.query(&[("wait", wait.as_secs())])).await,
            None => self.json(request).await,
        }
    }

    /// What the sidecar sees.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Reply<Status>, ClientError> {
        self.json(self.request(Method::GET, "stepscope/v1/status")?.timeout(ANSWER_TIMEOUT)).await
    }

    /// All captures, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn captures(&self) -> Result<Reply<CaptureList>, ClientError> {
        self.json(self.request(Method::GET, "stepscope/v1/captures")?.timeout(ANSWER_TIMEOUT)).await
    }

    /// One capture; `latest` is the newest.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn capture(&self, id: &str) -> Result<Reply<Capture>, ClientError> {
        self.json(self.capture_request(Method::GET, id, "")?.timeout(ANSWER_TIMEOUT)).await
    }

    /// Deletes a capture and its files.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(&self, id: &str) -> Result<String, ClientError> {
        let response = self.send(self.capture_request(Method::DELETE, id, "")?.timeout(ANSWER_TIMEOUT)).await?;
        response.text().await.map_err(|e| ClientError::from_transport(self.url(), e))
    }

    /// The ledger: one JSON line per iteration.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn iterations(&self, id: &str) -> Result<String, ClientError> {
        let response = self.send(self.capture_request(Method::GET, id, "/iterations")?).await?;
        response.text().await.map_err(|e| ClientError::from_transport(self.url(), e))
    }

    /// The report of a capture, as JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn report(&self, id: &str) -> Result<String, ClientError> {
        let response = self.send(self.capture_request(Method::GET, id, "/report")?).await?;
        response.text().await.map_err(|e| ClientError::from_transport(self.url(), e))
    }

    pub(super) fn capture_request(&self, method: Method, id: &str, tail: &str) -> Result<RequestBuilder, ClientError> {
        // An id is one path segment; anything else never leaves this process.
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(ClientError::Refused {
                status: 404,
                message: format!("{id:?} is no capture's id; `stepscope captures` lists them"),
                param: Some("id".into()),
                code: None,
            });
        }
        self.request(method, &format!("stepscope/v1/captures/{id}{tail}"))
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        let url = self
            .base
            .join(path)
            .map_err(|e| ClientError::BadUrl { url: self.base.to_string(), reason: e.to_string() })?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Reply<T>, ClientError> {
        let response = self.send(request).await?;
        let json = response.text().await.map_err(|e| ClientError::from_transport(self.url(), e))?;
        match serde_json::from_str(&json) {
            Ok(value) => Ok(Reply { value, json }),
            Err(e) => Err(ClientError::NotStepscope { url: self.url().to_owned(), what: e.to_string() }),
        }
    }

    /// Sends, and turns every answer but a success into an error.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| ClientError::from_transport(self.url(), e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        let said = serde_json::from_str::<ErrorBody>(&body).ok().map(|b| b.error);
        let Some(said) = said else {
            if status.as_u16() == 401 || status.as_u16() == 403 {
                let message = format!("HTTP {status}");
                return Err(ClientError::Unauthorized { message, token_sent: self.token.is_some() });
            }
            return Err(ClientError::NotStepscope { url: self.url().to_owned(), what: format!("HTTP {status}") });
        };
        let status = status.as_u16();
        Err(match status {
            400 if said.reason.as_deref() == Some("speaks_https") => ClientError::SpeaksHttps {
                url: self.url().to_owned(),
                https: self.url().replacen("http://", "https://", 1),
            },
            // 403 is a token that is known and lacks a right, or a name that is not: the sidecar's words say which.
            401 => ClientError::Unauthorized { message: said.message, token_sent: self.token.is_some() },
            // 503 is a refusal too: no engine is attached, or the sidecar goes down.
            400..=499 | 503 => {
                let (param, code) = (said.param, said.code.map(|c| c.to_string()));
                ClientError::Refused { status, message: said.message, param, code }
            }
            _ => ClientError::Failed { status, message: said.message },
        })
    }
}

#[derive(serde::Deserialize)]
struct ErrorBody {
    error: ErrorWords,
}

#[derive(serde::Deserialize)]
struct ErrorWords {
    message: String,
    #[serde(default)]
    param: Option<String>,
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    reason: Option<String>,
}
