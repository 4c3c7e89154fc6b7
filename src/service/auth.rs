//! Who may ask: the bearer token, and web pages from elsewhere.
//!
//! Called by [`super::guard`].

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, header};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// Whether the request brings the token. The comparison takes as long for a wrong one as for the right one.
pub fn brings_token(headers: &HeaderMap, token: &SecretString) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
    let Some((scheme, brought)) = value.as_bytes().split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(brought.trim_ascii().ct_eq(token.expose_secret().as_bytes()))
}

/// Whether a web page that this server did not serve is behind the request.
///
/// A browser sends `Origin` along with most of what a page does, and `Sec-Fetch-Site` with the rest (an image whose
/// source is `/start_profile`, say). Without a token the page's own name must not be one that somebody can point here
/// (DNS rebinding), so it has to be an address or `localhost`.
pub fn is_foreign(headers: &HeaderMap, has_token: bool) -> bool {
    const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    if headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (origin, host) {
        (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => !has_token && !cannot_be_rebound(host),
        _ => true,
    }
}

fn cannot_be_rebound(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}
