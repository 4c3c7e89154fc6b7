//! What is one hop's own stays on its hop (RFC 9110, 7.6.1); what a proxy adds is added.
//!
//! Added to a request: `X-Forwarded-For` (the peer, behind what is there), `X-Forwarded-Proto` and `X-Forwarded-Host` where
//! nobody before said them, `Via`. An answer gets nothing. `Host` is the client's. Called by [`super::forward`].

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::{Request, Uri, Version};

use super::error::Refusal;
use super::forward::Client;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What `Connection` may name and keeps all the same: the message's framing, and where it goes.
const NEVER_A_HOP_S: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// What the request says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wishes {
    /// The connection is to become another protocol's.
    pub(super) upgrade: bool,
    /// It waits for a 100 before it sends its body.
    pub(super) waits: bool,
}

/// Makes a request one of the next hop.
///
/// # Errors
/// What makes it one that two sides may read in two ways.
pub(super) fn request<B>(
    request: &mut Request<B>,
    client: Client,
    has_body: bool,
    authority: &HeaderValue,
) -> Result<Wishes, Refusal> {
    let version = request.version();
    let uri = std::mem::take(request.uri_mut());
    let headers = request.headers_mut();
    host(headers, &uri, version, authority)?;
    if headers.contains_key(TRANSFER_ENCODING) {
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(Refusal::TwoLengths);
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !is_chunked || codings.next().is_some() {
            return Err(Refusal::Coding);
        }
    }
    let upgrade = takes_upgrade(headers, version);
    let protocol = if upgrade { headers.get(UPGRADE).cloned() } else { None };
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    let waits = has_body && headers.get(hyper::header::EXPECT).is_some_and(is_continue);
    strip(headers);
    headers.remove(TE);
    headers.remove(HTTP2_SETTINGS);
    if has_body && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    match (protocol, trailers) {
        (Some(protocol), _) => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        (None, true) => {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        (None, false) => {}
    }
    if version == Version::HTTP_2 {
        one_cookie(headers);
    }
    add(headers, client, version);
    *request.uri_mut() = target(uri);
    *request.version_mut() = Version::HTTP_11;
    Ok(Wishes { upgrade, waits })
}

/// Makes an answer one of the next hop.
pub(super) fn answer(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip(headers);
}

fn is_continue(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// The form that servers ask for: path and query as they came, or `*`.
fn target(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let mut parts = hyper::http::uri::Parts::default();
    parts.path_and_query = uri.into_parts().path_and_query;
    Uri::from_parts(parts).unwrap_or_default() // a path alone is a whole URI
}

/// One host, which is one: the target's own, where that names one.
fn host(headers: &mut HeaderMap, uri: &Uri, version: Version, authority: &HeaderValue) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::TwoHosts),
        (None, None) if version == Version::HTTP_11 => return Err(Refusal::NoHost),
        (Some(host), None) if !is_host(host) => return Err(Refusal::WrongHost),
        _ => {}
    }
    if let Some(named) = uri.authority() {
        if named.as_str().contains('@') {
            return Err(Refusal::WrongHost);
        }
        let named = HeaderValue::from_str(named.as_str()).map_err(|_| Refusal::WrongHost)?;
        headers.insert(HOST, named);
    } else if !headers.contains_key(HOST) {
        headers.insert(HOST, authority.clone());
    }
    Ok(())
}

/// A name or an address, and perhaps a port; empty is one too, of a target that has none.
fn is_host(host: &HeaderValue) -> bool {
    let host = host.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    host.iter().all(plain)
        && (host.is_empty()
            || std::str::from_utf8(host).is_ok_and(|host| host.parse::<hyper::http::uri::Authority>().is_ok()))
}

/// An upgrade that can be carried: not to HTTP/2, which the front speaks without being asked to.
fn takes_upgrade(headers: &HeaderMap, version: Version) -> bool {
    version == Version::HTTP_11
        && headers.get(UPGRADE).is_some_and(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"))
        && tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Takes out what is this hop's.
fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers).filter_map(|token| token.parse().ok()).collect();
        for name in named.iter().filter(|name| !NEVER_A_HOP_S.contains(name)) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// HTTP/2 may send a cookie in pieces, HTTP/1.1 may not.
fn one_cookie(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

fn add(headers: &mut HeaderMap, client: Client, version: Version) {
    let peer = client.address.to_canonical();
    let mut text = String::with_capacity(40);
    for line in headers.get_all(&FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()) {
        text.push_str(line);
        text.push_str(", ");
    }
    use std::fmt::Write;
    let _ = write!(text, "{peer}"); // into a text nothing fails
    if let Ok(value) = HeaderValue::from_maybe_shared(hyper::body::Bytes::from(text)) {
        headers.insert(FORWARDED_FOR, value);
    }
    let proto = HeaderValue::from_static(if client.is_secure { "https" } else { "http" });
    headers.entry(FORWARDED_PROTO).or_insert(proto);
    if !headers.contains_key(FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.append(
        VIA,
        HeaderValue::from_static(match version {
            Version::HTTP_2 => "2.0 stepscope",
            Version::HTTP_10 => "1.0 stepscope",
            _ => "1.1 stepscope",
        }),
    );
}
