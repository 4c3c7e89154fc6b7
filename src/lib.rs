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
//! | [`agent`] | in the engine: hook, gate, profiler, NVTX both ways, C ABI (feature `agent`) |
//! | [`simulator`] | an engine without a model, for `demo`, examples and tests (feature `agent`) |
//! | [`collector`] | finds segments, drains rings, makes trusted events |
//! | [`capture`] | the session: state machine, manifest, store |
//! | [`trace`] | fragments, Chrome JSON, Perfetto, the ledger |
//! | [`report`] | what happened in a window, in words and numbers |
//! | [`telemetry`] | our own logs and metrics, counters of the GPUs |
//! | [`proxy`] | in front of the engine: what is not ours goes to it and comes back untouched |
//! | [`service`] | axum: routes, errors, OpenAPI |
//! | [`config`] | settings, and the table of environment variables |
//! | [`client`], [`cli`] | the command `stepscope` |
//! | [`launch`] | starting an engine so that it can be sliced: environments, nsys lines, its reports |
//! | [`trigger`] | captures on any number of servers around a benchmark |
//! | [`native`] | the engine's own profiler behind our contract |
//! | [`merge`] | captures and other tools' traces into one |
//! | [`doctor`] | what keeps an engine from being seen on this machine |
#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "service")]
pub mod capture;
#[cfg(all(feature = "service", feature = "agent"))]
pub mod cli;
#[cfg(feature = "service")]
pub mod client;
#[cfg(feature = "service")]
pub mod collector;
#[cfg(feature = "service")]
pub mod config;
#[cfg(feature = "service")]
pub mod doctor;
#[cfg(feature = "service")]
pub mod launch;
#[cfg(feature = "service")]
pub mod merge;
#[cfg(feature = "service")]
pub mod native;
#[cfg(feature = "service")]
pub mod proxy;
#[cfg(feature = "service")]
pub mod report;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "agent")]
pub mod simulator;
#[cfg(feature = "service")]
pub mod telemetry;
#[cfg(feature = "service")]
pub mod trace;
#[cfg(feature = "service")]
pub mod trigger;
pub mod wire;
