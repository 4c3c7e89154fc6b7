//! Why a request was not carried to the engine, or its answer not back.
//!
//! Called by [`super::forward`]; `service` makes answers of it.

use std::io;
use std::time::Duration;

/// What can come between a client and its engine.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Nothing listens there.
    #[error("engine at {url} is not there: {source}: start it, or mend --upstream")]
    Absent {
        /// Where it was looked for.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// It takes no connection.
    #[error("engine at {url} took no connection within {} s: it is overloaded, or not there", after.as_secs())]
    Unreached {
        /// Where it was looked for.
        url: String,
        /// How long.
        after: Duration,
    },
    /// It was there, and gave no answer that can be passed on.
    #[error("engine at {url} broke off before it answered: {reason}")]
    Broken {
        /// Where it is.
        url: String,
        /// In words.
        reason: String,
    },
    /// More at once than there is room for.
    #[error("{0} requests at once are all that are carried to the engine: try again in a moment")]
    Full(usize),
    /// The request's framing or head may be read in two ways.
    #[error("the request can't be passed on: {0}")]
    Refused(Refusal),
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// HTTP/1.1 asks for it.
    #[error("it has no Host")]
    NoHost,
    /// Which one counts is anybody's guess.
    #[error("it has more than one Host")]
    TwoHosts,
    /// No host is called so.
    #[error("its Host is no host")]
    WrongHost,
    /// Two lengths.
    #[error("it has both a Content-Length and a Transfer-Encoding")]
    TwoLengths,
    /// What the engine would have to undo first.
    #[error("its Transfer-Encoding is another than chunked")]
    Coding,
    /// A tunnel to anywhere.
    #[error("CONNECT is a forward proxy's")]
    Connect,
}
