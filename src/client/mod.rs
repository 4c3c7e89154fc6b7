//! The sidecar as seen from the other end of its HTTP: what `stepscope start|stop|status|captures|get` stand on.
//!
//! It knows the sidecar by its answers alone, so a remote one works like a local one and a newer one like an older one:
//! unknown fields are ignored, missing ones have defaults ([`types`]). Every failure keeps the sidecar's own words and
//! says what to do next ([`error`]). HTTP, and HTTPS with the certificates that are trusted ([`tls`]).
//!
//! What a benchmark's trigger calls, and an engine's own HTTP, is told as it came: a status and a text ([`Answer`],
//! [`protocol`], [`endpoint`]).
//!
//! Called by `cli`, `trigger` and `native`. Uses nothing else of ours.

mod call;
mod download;
pub mod endpoint;
mod error;
mod http;
pub mod protocol;
mod tls;
pub mod types;

pub use call::{Answer, NoAnswer};
pub use download::{Delivered, Progress, Wanted};
pub use error::ClientError;
pub use http::{Client, Reply, StartBody};
