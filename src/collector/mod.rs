//! Finds segments, drains their rings, and turns what strangers wrote into events that can be trusted.
//!
//! [`Collector`] looks through the segment folder and holds one [`source::Source`] per segment it drains; a `Source` is
//! the only way to a segment's control block. What always holds: every index is checked, a segment that makes no sense
//! is dropped with a reason and hurts nothing else, and records are freed only after they are safe elsewhere.
//!
//! Called by `capture`. Uses `wire`, and the event model of `trace`.

mod discovery;
mod events;
pub mod source;

pub use discovery::Collector;
