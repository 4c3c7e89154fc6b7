//! What happened in a window, in words and numbers: computed from a capture, shown as tables and as a page, compared.
//!
//! ```text
//! fragments ─┐                            ┌─► JSON ─► compare (two of them) ─► verdicts of differences
//! manifest ──┴─► build ─► model::Report ──┤
//!                                         └─► html (one self-contained page)
//! ```
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`model`] | the report as a document |
//! | [`about`] | what has to be known besides the fragments |
//! | [`build`](mod@build) | from the one to the other |
//! | `measure`, `phases` | one pass over the iterations |
//! | `lockstep` | ranks of a group, iteration by iteration |
//! | [`requests`], [`proxied`] | stages that add up: the engine's, and the sidecar's in front of it |
//! | `gpus`, `overhead`, [`pace`] | counters; what the capture itself took; how fast ranks stepped around it |
//! | [`rows`], [`words`] | what tables and the page show alike |
//! | `distribution`, [`points`] | many values in constant memory; an even choice of them |
//! | [`verdict`], [`thresholds`] | what limits the engine, as far as the data carries it |
//!
//! * Everything streams: memory is bounded by the number of ranks, never by the length of the capture.
//! * What the data does not carry is said to be not known. Nothing is extrapolated.
//!
//! Called by `capture`, which hands in fragments and manifest, and by `cli`, which renders what a sidecar sent. Uses
//! `trace` alone.

pub mod about;
pub mod build;
pub mod compare;
mod distribution;
mod gpus;
pub mod html;
mod lockstep;
mod measure;
pub mod model;
mod overhead;
pub mod pace;
mod phases;
pub mod points;
pub mod proxied;
pub mod requests;
pub mod rows;
pub mod thresholds;
pub mod verdict;
pub mod words;

pub use build::build;
pub use model::Report;
