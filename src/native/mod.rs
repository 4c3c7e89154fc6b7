//! The engine's own profiler behind our contract: `capture`'s port [`Native`](crate::capture::native::Native), filled in over
//! the engine's HTTP and the folder that it writes to.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`kind`] | which engines there are, how each counts, and what mends one that can't profile |
//! | `engine` | the calls: who it is, whether it can, start, stop |
//! | `session` | one session beside a capture, from start to files |
//! | `folder` | what lies in the output folder, and what is new in it |
//! | [`profiler`] | the port itself |
//!
//! * The engine is asked for nothing but its profiler's own routes and who it is. A check switches nothing on.
//! * Every wait has a bound, and what did not come in time is a problem that is named.
//! * Whatever a start answered, a stop is sent when the window has closed: nobody leaves a profiler on.
//!
//! Called by `service`, which puts it together. Uses `client` for HTTP and `merge` to read traces.

mod engine;
mod folder;
pub mod kind;
pub mod profiler;
mod session;

pub use crate::client::ClientError as EngineUrlError;
pub use kind::Kind;
pub use profiler::{EngineProfiler, EngineSettings};
