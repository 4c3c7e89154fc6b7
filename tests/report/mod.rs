//! Mirrors `src/report`: what a report says of captures that are made here, record by record.

mod build;
mod compare;
pub(crate) mod page;
pub(crate) mod sample;
mod verdict;
