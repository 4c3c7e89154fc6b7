//! A reverse proxy in front of the engine: what is not ours goes to it and comes back untouched.
//!
//! | file | noun |
//! | --- | --- |
//! | [`upstream`] | where the engine is |
//! | [`forward`] | one request: checked, sent on, answered |
//! | [`headers`] | what is one hop's own, and what a proxy adds |
//! | [`body`] | bodies both ways, never held |
//! | [`link`](mod@link) | one connection to the engine |
//! | [`pool`] | connections that wait for their next request |
//! | [`upgrade`] | tunnels behind a 101 |
//! | [`exchange`] | what becomes of one request, told to counts and captures |
//! | `flights` | requests that are under way, for captures |
//! | [`counts`] | what is counted |
//! | [`descriptors`] | room for the connections |
//! | [`error`] | why a request was not carried |
//!
//! What always holds: nothing of a body is held back or kept; a client that goes takes its connection to the engine with
//! it, and an engine that goes its client's; a request that may have reached the engine is sent again only where its
//! method says that this is harmless. Called by `service`, which decides what is the engine's.

pub mod body;
pub mod counts;
pub mod descriptors;
pub mod error;
pub mod exchange;
mod flights;
pub mod forward;
pub mod headers;
pub mod link;
pub mod pool;
pub mod upgrade;
pub mod upstream;

pub use error::ForwardError;
pub use forward::{Client, Proxy};
pub use upstream::Upstream;
