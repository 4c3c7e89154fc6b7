//! HTTP: the one room that knows it.
//!
//! | file | noun |
//! | --- | --- |
//! | [`compose`] | the sidecar put together: logs, session, HTTP |
//! | [`mod@serve`] | bind, answer, shut down in order |
//! | [`connections`] | accepting, with bounds on what a slow or greedy client can hold |
//! | [`router`] | the one route table |
//! | [`guard`] | what every request passes first: origin, token, room |
//! | [`body`], [`values`] | what a start asks for, read by hand |
//! | [`error`] | every error as status, stable reason and message |
//! | [`stream`] | a blocking writer as a response body |
//! | [`routes`] | one file per resource |
//!
//! Called by `cli`. Talks to the session through [`crate::capture::handle::Captures`] alone.

pub mod auth;
pub mod body;
pub mod compose;
pub mod connections;
pub mod error;
pub mod guard;
pub mod limit;
pub mod router;
pub mod routes;
pub mod serve;
pub mod state;
pub mod stream;
pub mod values;

pub use compose::{RunError, run};
pub use serve::{ServeError, Server, serve};
