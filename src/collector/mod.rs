//! Finds segments, drains their rings, and turns what strangers wrote into events that can be trusted.
//!
//! [`Collector`] looks through the segment folder and holds one [`source::Source`] per segment it drains; a `Source` is
//! the only way to a segment's control block, and its [`rings::Rings`] the only way to its records: two ends, so that
//! whoever waits for a disk with records in hand keeps nobody from renewing a lease. What always holds: every index is checked, a segment that makes no sense
//! is dropped with a reason and hurts nothing else, and records are freed only after they are safe elsewhere, or noted as
//! what dies with us.
//!
//! Called by `capture`. Uses `wire`, and the event model of `trace`.

mod discovery;
mod events;
pub mod profiling;
mod recorded;
pub mod rings;
pub mod source;
mod taken;

pub use discovery::Collector;
