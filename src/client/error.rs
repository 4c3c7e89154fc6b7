//! Everything that can go wrong between here and the sidecar, in words that say what to do next.

use std::path::PathBuf;

use super::tls;

/// Why a call to the sidecar failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL can't be used.
    #[error("{url:?} is not a URL that works here: {reason}")]
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers.
    #[error(
        "can't reach a sidecar at {url}: {reason}\nis `stepscope serve` running there? start it, or name another address with --url or STEPSCOPE_URL"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the network said.
        reason: String,
        /// The whole story.
        source: reqwest::Error,
    },
    /// Somebody listens but does not answer in time.
    #[error(
        "no answer from {url} in time\nthe sidecar may be stopped or swamped; `stepscope status --url {url}` tells whether it lives"
    )]
    TimedOut {
        /// Where.
        url: String,
        /// The whole story.
        source: reqwest::Error,
    },
    /// The certificates to trust can't be read.
    #[error("{0}\nname a file of certificates, PEM, with --cacert or STEPSCOPE_CACERT")]
    BadCertificates(String),
    /// Its certificate is not trusted, or is another's.
    #[error("{url} is not to be trusted: {reason}\n{mend}")]
    NotTrusted {
        /// Where.
        url: String,
        /// What is wrong.
        reason: String,
        /// What mends it.
        mend: String,
    },
    /// It speaks TLS, and was called without.
    #[error(
        "the sidecar at {url} speaks HTTPS alone\nname it as {https} with --url or STEPSCOPE_URL; --cacert or STEPSCOPE_CACERT names who signed its certificate"
    )]
    SpeaksHttps {
        /// As it was called.
        url: String,
        /// As it wants to be.
        https: String,
    },
    /// 401, or 403 from somebody else.
    #[error("{message}\n{}", if *.token_sent { "the token given with --token or STEPSCOPE_TOKEN is not the one that this sidecar was started with" } else { "this sidecar wants a token: give it with --token or STEPSCOPE_TOKEN" })]
    Unauthorized {
        /// The sidecar's words.
        message: String,
        /// Whether we sent a token.
        token_sent: bool,
    },
    /// The sidecar said no, in its own words.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The sidecar's words.
        message: String,
        /// The parameter that is wrong, if one is.
        param: Option<String>,
        /// A stable word for programs.
        code: Option<String>,
    },
    /// The sidecar itself failed.
    #[error("the sidecar failed (HTTP {status}): {message}\nits log says more")]
    Failed {
        /// HTTP status.
        status: u16,
        /// The sidecar's words.
        message: String,
    },
    /// Somebody else lives there.
    #[error(
        "{url} answers, but not like a stepscope sidecar ({what})\nis that the engine's own port? the sidecar's is 8001 by default; name it with --url or STEPSCOPE_URL"
    )]
    NotStepscope {
        /// Where.
        url: String,
        /// What came instead.
        what: String,
    },
    /// A download ended early.
    #[error(
        "the download of {url} broke off after {received_bytes} bytes: {reason}\ntry again: the trace stays in the sidecar"
    )]
    CutShort {
        /// What was fetched.
        url: String,
        /// How far it came.
        received_bytes: u64,
        /// What the network said.
        reason: String,
    },
    /// The file can't be written.
    #[error("can't write {}: {source}\nchoose another place with --output", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
}

impl ClientError {
    /// Sorts what reqwest said when no answer came.
    pub(super) fn from_transport(url: &str, source: reqwest::Error) -> Self {
        let url = url.to_owned();
        if source.is_timeout() && !source.is_connect() {
            return Self::TimedOut { url, source };
        }
        if let Some((reason, mend)) = tls::obstacle(&source) {
            return Self::NotTrusted { url, reason, mend };
        }
        let reason = innermost(&source);
        // hyper's words for bytes that are no HTTP.
        if reason.starts_with("invalid HTTP") {
            return Self::NotStepscope { url, what: reason };
        }
        Self::Unreachable { url, reason, source }
    }
}

/// The words at the bottom of an error's chain: `Connection refused (os error 111)` rather than `error sending request`.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
