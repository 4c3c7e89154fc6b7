//! The session: from a start to a manifest and its files.
//!
//! One thread, `stepscope-capture`, owns all state: the collector, the running capture, the files. Others talk to it
//! through [`Captures`], a handle that sends messages and reads published snapshots.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`request`], [`manifest`] | what may be asked, what is said of a capture |
//! | [`handle`] | how others ask |
//! | [`manager`] | the thread: commands, turns, exports, retention |
//! | `plan` | from what was asked to what will be done |
//! | [`window`] | where a window begins and ends: arithmetic |
//! | [`session`] | one capture while it runs: a state machine without clock or thread |
//! | `running` | the same with its hands: sources, fragments, manifest |
//! | `report` | from a session to what is said of it |
//! | `recover` | taking up what a sidecar that died left |
//! | [`store`], [`export`] | files |
//!
//! Called by `service`. Uses `collector` and `trace`. Knows nothing of HTTP.

pub mod export;
pub mod handle;
pub mod manager;
pub mod manifest;
pub mod options;
mod plan;
mod recover;
mod report;
pub mod request;
mod running;
pub mod session;
mod snapshot;
pub mod store;
pub mod window;

pub use handle::Captures;
pub use manager::open;
