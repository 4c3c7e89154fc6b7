//! Fragments, traces and the ledger, from the outside.

mod counters;
mod export;
mod formats;
mod fragment;
mod hostile;
mod ledger;
mod pftrace;
pub(crate) mod picture;
mod recorded;
pub(crate) mod sample;
mod viewers;
