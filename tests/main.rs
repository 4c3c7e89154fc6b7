//! The one integration binary: modules mirror `src/`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[cfg(feature = "service")]
mod trace;
