//! Plain calls to an engine's own HTTP: a status and a text, whatever the status is. Nothing here knows which engine it is.
//!
//! Called by `native`.

use std::time::Duration;

use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::{ClientError, innermost};
use super::tls;

/// How long the network is given to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of an answer's text, this much is kept.
const LONGEST_ANSWER: usize = 64 << 10;

/// An engine at a URL.
#[derive(Debug, Clone)]
pub struct EngineHttp {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAnswer {
    /// The status code.
    pub status: u16,
    /// The body's beginning, as text.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens there: nothing was sent.
    #[error("can't reach it: {0}")]
    Unreachable(String),
    /// It was sent, and the connection ended.
    #[error("the connection ended before it answered: {0}")]
    Broken(String),
    /// It was sent, and nothing came back in time.
    #[error("no answer within {0} s")]
    Late(u64),
}

impl EngineHttp {
    /// For the engine at `url`; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn new(url: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let bad = |reason: &str| ClientError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
        let mut base = Url::parse(url).map_err(|e| bad(&e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad("it must begin with http:// or https://"));
        }
        let tls = tls::config(base.scheme() == "https", None).map_err(ClientError::BadCertificates)?;
        // Clients are used to giving the address that they send completions to.
        let path = base.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
        base.set_path(&format!("{path}/"));
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("stepscope/", env!("CARGO_PKG_VERSION")));
        let loopback = base.host_str().is_some_and(|h| h == "localhost" || h.starts_with("127.") || h == "[::1]");
        let builder = if loopback { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|e| bad(&e.to_string()))?;
        Ok(Self { http, base, token })
    }

    /// Where it is, without a slash at its end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn get(&self, path: &str, patience: Duration) -> Result<EngineAnswer, NoAnswer> {
        self.call(Method::GET, path, None, patience).await
    }

    /// Posts JSON, or no body at all.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn post(&self, path: &str, body: Option<&Value>, patience: Duration) -> Result<EngineAnswer, NoAnswer> {
        self.call(Method::POST, path, body, patience).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<EngineAnswer, NoAnswer> {
        let url = self.base.join(path).map_err(|e| NoAnswer::Unreachable(e.to_string()))?;
        let mut request = self.http.request(method, url).timeout(patience);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| {
            if error.is_connect() {
                NoAnswer::Unreachable(innermost(&error))
            } else if error.is_timeout() {
                NoAnswer::Late(patience.as_secs())
            } else {
                NoAnswer::Broken(innermost(&error))
            }
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while bytes.len() < LONGEST_ANSWER
            && let Some(chunk) = response.chunk().await.map_err(failed)?
        {
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(LONGEST_ANSWER);
        Ok(EngineAnswer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

impl EngineAnswer {
    /// It worked.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Its JSON, if it is some.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }

    /// `HTTP 409: words`, in one line.
    pub fn words(&self) -> String {
        let said = self.json().and_then(|json| {
            let message = json["error"]["message"].as_str().or(json["message"].as_str()).or(json["detail"].as_str());
            message.map(str::to_owned)
        });
        let text: String = said.unwrap_or_else(|| self.text.clone()).split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = text.chars().take(300).collect();
        if short.is_empty() { format!("HTTP {}", self.status) } else { format!("HTTP {}: {short}", self.status) }
    }
}
