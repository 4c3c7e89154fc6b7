//! What the head of a request says of who is behind it: a bearer token, a web page from elsewhere, a name pointed here.
//!
//! Called by [`super::guard`] and [`super::caller`].

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri, header};

use super::body::read_query;

/// The token that is brought, whoever knows it.
pub fn brought_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, brought) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| brought.trim_ascii())
}

/// Query parameters that are tokens wherever they are known: they would end up in histories and in proxies' logs.
const TOKEN_PARAMETERS: &[&str] =
    &["token", "access_token", "api_key", "apikey", "auth_token", "bearer", "authorization"];

/// The query parameter that carries a token.
pub fn token_in_url(uri: &Uri) -> Option<&'static str> {
    let parameters = read_query(uri.query()?).ok()?;
    let spelled = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let names: Vec<String> = parameters.iter().map(|(name, _)| spelled(name)).collect();
    TOKEN_PARAMETERS.iter().copied().find(|known| names.iter().any(|name| name == known))
}

/// Whether a web page that this server did not serve is behind the request.
///
/// A browser sends `Origin` along with most of what a page does, and `Sec-Fetch-Site` with the rest (an image whose
/// source is `/start_profile`, say).
pub fn is_foreign(headers: &HeaderMap) -> bool {
    const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    if headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (origin, host) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

/// What the request calls this server by.
#[derive(Debug, PartialEq, Eq)]
pub enum Host {
    /// Nothing: no browser's request.
    None,
    /// A name or an address, without a port.
    Named(String),
    /// More than one, or what can't be one.
    Broken,
}

/// The server's name as the request has it: in its target, else in `Host` (RFC 9112, 3.2.2).
pub fn host(uri: &Uri, headers: &HeaderMap) -> Host {
    let mut values = headers.get_all(header::HOST).iter();
    let (value, second) = (values.next(), values.next());
    let authority = match (uri.authority(), value) {
        _ if second.is_some() => return Host::Broken,
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(value)) => value.to_str().ok().and_then(|value| value.parse::<Authority>().ok()),
        (None, None) => return Host::None,
    };
    match authority {
        Some(authority) if !authority.as_str().contains('@') => Host::Named(bare(&authority)),
        _ => Host::Broken,
    }
}

fn bare(authority: &Authority) -> String {
    authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

/// Whether nobody can point this name here (DNS rebinding): an address, `localhost`, or a name that was allowed.
pub fn cannot_be_rebound(name: &str, allowed: &[String]) -> bool {
    name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok()
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}
