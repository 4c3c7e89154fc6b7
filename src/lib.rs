//! Stepscope slices an exact window of engine iterations out of a running LLM inference server.
//!
//! ```text
//!  engine process                 sidecar process
//!   agent ──► ring ───────────────► collector ──► capture ──► trace
//!     ▲        (wire: shared memory)                │            │
//!     └─────── control ◄────────────────────────────┘         service (HTTP) ◄── client, cli
//! ```
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`wire`] | the contract between the processes |
//! | [`agent`] | in the engine: hook, gate, C ABI (feature `agent`) |
//! | [`simulator`] | an engine without a model, for `demo`, examples and tests (feature `agent`) |
//! | [`collector`] | finds segments, drains rings, makes trusted events |
//! | [`capture`] | the session: state machine, manifest, store |
//! | [`trace`] | fragments, Chrome JSON |
//! | [`telemetry`] | our own logs and metrics |
//! | [`service`] | axum: routes, errors, OpenAPI |
//! | [`config`] | settings, and the table of environment variables |
//! | [`client`], [`cli`] | the command `stepscope` |
#[cfg(feature = "service")]
pub mod capture;
#[cfg(feature = "service")]
pub mod config;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "service")]
pub mod telemetry;
pub mod wire;
