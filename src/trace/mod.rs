//! What a capture's records become: fragments on disk while the window is open, traces and the ledger afterwards.
//!
//! ```text
//! Event ──FragmentWriter──► one file per rank ──FragmentReader──► merge ──► export ──► TraceWriter (Chrome JSON, Perfetto)
//!                                                                   └─────► ledger (JSON lines, CSV)
//! ```
//!
//! * [`event`] is the model that the collector's checked records are turned into; nothing here knows shared memory.
//! * [`fragment`] is append-only and readable after a crash at any byte; every byte is treated as a stranger's.
//! * Everything streams: memory is bounded by the number of ranks, never by the length of the capture.
//!
//! Called by `capture` and `report` (and by `collector` for the event model). Uses nothing else of Stepscope.

pub mod chrome;
pub mod clock;
pub mod counter;
mod counters;
mod csv;
pub mod event;
pub mod export;
pub mod fragment;
mod json;
mod layout;
pub mod ledger;
pub mod lifecycle;
mod merge;
pub mod meta;
mod nesting;
pub mod output;
pub mod passed;
pub mod perfetto;
pub mod recorded;
mod request_tracks;
mod requests;
mod ring;
mod told;
mod tracks;
pub mod walk;
pub mod writer;
