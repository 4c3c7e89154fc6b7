//! The session: from a start to a manifest and its files.
//!
//! One thread, `stepscope-capture`, owns all state ([`manager`]): the collector, the running session, the files. Others
//! talk to it through [`Captures`], a handle that sends messages and reads published snapshots. The rules of a window
//! are a pure state machine without clock or thread ([`window`], [`session`]); files are the [`store`]'s business.
//!
//! Called by `service`. Uses `collector` and `trace`. Knows nothing of HTTP.

pub mod handle;
pub mod manifest;
pub mod request;
