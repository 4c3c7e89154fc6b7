//! Fragments, traces and the ledger, from the outside.

pub(crate) mod counters;
mod export;
mod fragment;
mod hostile;
mod ledger;
pub(crate) mod sample;
mod viewers;
