//! The sidecar as seen from the other end of its HTTP: what `stepscope start|stop|status|captures|get` stand on.
//!
//! It knows the sidecar by its answers alone, so a remote one works like a local one and a newer one like an older one:
//! unknown fields are ignored, missing ones have defaults ([`types`]). Every failure keeps the sidecar's own words and
//! says what to do next ([`error`]). HTTP, and HTTPS with the certificates that are trusted ([`tls`]).
//!
//! An engine's own HTTP is called plainly (`engine`): there a status and a text are all there is.
//!
//! Called by `cli`, and by `native`. Uses nothing else of ours.

mod download;
mod engine;
mod error;
mod http;
mod tls;
pub mod types;

pub use download::{Delivered, Progress, Wanted};
pub use engine::{EngineAnswer, EngineHttp, NoAnswer};
pub use error::ClientError;
pub use http::{Client, Reply, StartBody};
