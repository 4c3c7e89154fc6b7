//! Where the engine is: `http://HOST:PORT`, and nothing behind it.
//!
//! Called by `service` for the setting, and by [`super::link`] for each connection.

use std::net::SocketAddr;

use hyper::Uri;
use hyper::header::HeaderValue;

/// An address that can't be an engine's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no engine's URL: {reason}; write http://HOST:PORT")]
pub struct WrongUrl {
    text: String,
    reason: &'static str,
}

/// The engine's address.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Host, without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// What a request without a `Host` gets.
    pub(super) authority: HeaderValue,
    /// As people know it.
    url: String,
}

impl Upstream {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`WrongUrl`] with the reason.
    pub fn parse(text: &str) -> Result<Self, WrongUrl> {
        let wrong = |reason| WrongUrl { text: text.to_owned(), reason };
        let uri: Uri = text.trim().parse().map_err(|_| wrong("it can't be read"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("the way to the engine is plain HTTP")),
            Some(_) => return Err(wrong("only http is spoken")),
            None => return Err(wrong("http:// is missing")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a name and a password have no place in it"));
        }
        if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err(wrong("there is a path: paths are the clients'"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("the host can't be sent"))?;
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(80),
            authority: value,
            url: format!("http://{authority}"),
        })
    }

    /// As people know it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether it is this very listener: every request would come back to it.
    pub fn is_at(&self, listener: SocketAddr) -> bool {
        let Some(ip) = self.address() else { return false };
        self.port == listener.port()
            && (ip == listener.ip() || listener.ip().is_unspecified() && ip.is_loopback() || ip.is_unspecified())
    }

    fn address(&self) -> Option<std::net::IpAddr> {
        if self.host.eq_ignore_ascii_case("localhost") {
            return Some(std::net::Ipv4Addr::LOCALHOST.into());
        }
        self.host.parse().ok()
    }
}
