//! Who is behind a request, and whether they may do what they ask.
//!
//! The peer's address is the socket's, never a header's: whoever may write headers could claim any. Called by
//! [`super::guard`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::HeaderMap;

use super::auth;
use super::error::ApiError;
use super::tokens::Tokens;
use crate::config::networks::Network;
use crate::config::tokens::Right;

/// The other end of the connection; [`super::connections`] puts it into every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What a route asks of its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: health checks.
    Nothing,
    /// To be known, whatever for.
    AnyToken,
    /// A token with this right.
    Right(Right),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Whoever has this token.
    Token(Arc<str>),
    /// Somebody of a network for which start and stop are open.
    Open(Network),
    /// No token is set, so it is somebody on this machine.
    Here,
    /// Somebody who was not recognised.
    Stranger,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(name) => write!(f, "token {name}"),
            Self::Open(network) => write!(f, "open from {network}"),
            Self::Here => f.write_str("no token, loopback"),
            Self::Stranger => f.write_str("nobody known"),
        }
    }
}

impl Caller {
    /// Whether it is let in without a token: then it may be a web page that was made to ask.
    pub fn needs_no_token(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Here)
    }

    /// Whose starts are counted together: a token's, else an address's (of IPv6 the network that one machine has).
    pub fn key(&self, peer: Option<Peer>) -> String {
        match (self, peer.map(|Peer(address)| address.ip().to_canonical())) {
            (Self::Token(name), _) => format!("token {name}"),
            (_, Some(IpAddr::V6(address))) => format!("{:x}/64", u128::from(address) >> 64),
            (_, Some(IpAddr::V4(address))) => address.to_string(),
            (_, None) => "here".to_owned(),
        }
    }
}

/// Who it is, and whether they may: whoever brings a token that is good for it, whoever comes from a network for which
/// the route is open, and everybody where no token is set.
pub fn admit(
    tokens: &Tokens,
    open: &[Network],
    needs: Needs,
    peer: Option<Peer>,
    headers: &HeaderMap,
) -> (Caller, Result<(), ApiError>) {
    if !tokens.are_asked_for() {
        return (Caller::Here, Ok(()));
    }
    let token = auth::brought_token(headers).and_then(|brought| tokens.find(brought));
    let refusal = match (token, needs) {
        (Some(token), Needs::Right(right)) if !token.rights.contains(&right) => {
            ApiError::NoRight { name: token.name.clone(), right, has: token.rights.clone() }
        }
        (Some(token), _) => return (Caller::Token(token.name.clone()), Ok(())),
        (None, _) => ApiError::Unauthorized,
    };
    // Its callers need no token, so one that is unknown, or not good for it, is no reason to refuse them.
    if needs == Needs::Right(Right::Capture)
        && let Some(Peer(address)) = peer
        && let Some(network) = open.iter().find(|network| network.contains(address.ip()))
    {
        return (Caller::Open(*network), Ok(()));
    }
    let caller = token.map_or(Caller::Stranger, |token| Caller::Token(token.name.clone()));
    let refusal = if needs == Needs::Nothing { Ok(()) } else { Err(refusal) };
    (caller, refusal)
}
