//! All integration tests, one binary.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod cli;
mod service;
mod structure;
