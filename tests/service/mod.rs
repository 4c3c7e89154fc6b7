//! HTTP on the real session, without an engine: bodies, routes, guard, downloads, connections, documents, settings.

mod audit;
mod body;
mod config;
mod connections;
mod errors;
mod guard;
mod hostile;
mod limit;
mod logs;
mod metrics;
mod openapi;
mod router;
mod session;
mod stream;
mod support;
mod tls;
mod tokens;
