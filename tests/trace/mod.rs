//! Fragments, traces and the ledger, from the outside.

mod counters;
mod export;
mod fragment;
mod hostile;
mod ledger;
mod recorded;
pub(crate) mod sample;
mod viewers;
