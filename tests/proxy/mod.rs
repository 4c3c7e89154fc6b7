//! The sidecar in front of an engine: real processes and raw sockets.

mod failures;
mod framing;
mod hops;
mod http2;
mod https;
mod many;
mod routes;
mod streaming;
mod support;
mod tracks;
mod upgrades;
