//! HTTP: the one room that knows it.
//!
//! | file | noun |
//! | --- | --- |
//! | [`compose`] | the sidecar put together: logs, session, HTTP |
//! | [`mod@serve`] | bind, answer, shut down in order |
//! | [`door`], [`tls`] | tokens, audit and TLS as the settings want them; certificate and handshake |
//! | [`reload`] | what SIGHUP reads again |
//! | [`connections`] | accepting, with bounds on what a slow or greedy client can hold |
//! | [`front`] | who answers: we, or the engine behind us |
//! | [`router`] | the one route table |
//! | [`guard`] | what every request passes first: origin, name, token, room |
//! | [`auth`], [`tokens`], [`caller`] | what a request says of its caller, the tokens there are, who it is and what they may |
//! | [`limit`] | how many starts are taken, of each caller and of all |
//! | [`audit`] | who started, stopped and removed what |
//! | [`body`], [`values`] | what a start asks for, read by hand |
//! | [`error`] | every error as status, stable reason and message |
//! | [`document`], [`samples`] | the OpenAPI document; one of each error |
//! | [`stream`] | a blocking writer as a response body |
//! | [`routes`] | one file per resource |
//!
//! Called by `cli`. Talks to the session through [`crate::capture::handle::Captures`] alone.

pub mod audit;
pub mod auth;
pub mod body;
pub mod caller;
pub mod compose;
pub mod connections;
pub mod document;
pub mod door;
pub mod error;
pub mod front;
pub mod guard;
pub mod limit;
pub mod reload;
pub mod router;
pub mod routes;
pub mod samples;
pub mod serve;
pub mod state;
pub mod stream;
pub mod tls;
pub mod tokens;
pub mod values;

pub use compose::{RunError, run};
pub use serve::{ServeError, Server, serve};
