//! Perfetto's protobuf (`.pftrace`), streamed: opens in ui.perfetto.dev and in trace processor, at less than half the size
//! of the JSON.
//!
//! A file is packets, one behind the other, and nothing else: each is `0x0A`, its length and its bytes. What a crash left
//! of a file is whole packets and one torn one, and a file may be appended to another.
//!
//! | what | how it is written |
//! | --- | --- |
//! | time | nanoseconds since `base_ns`, in a clock of the sequence (64); the first packet ties that clock to CLOCK_REALTIME and names CLOCK_REALTIME the trace's clock, so that a reader shows true nanoseconds since the epoch |
//! | process | a track with pid and name, ordered by its rank among its siblings |
//! | row | a thread track, the row's number being its tid |
//! | slice | a begin and an end on the row's track |
//! | asynchronous slice | a begin and an end on a track of its own below the row, which a later one takes over once it is free |
//! | counter | a track for each value, below its process, named as Perfetto names it in our JSON, with its unit |
//! | flow | `flow_ids` at the begin of its slice, `terminating_flow_ids` where it ends |
//! | metadata | an instant `metadata` on the track `stepscope metadata`, at `base_ns`: what stands in the JSON below `metadata`, as debug annotations |
//!
//! * Names of categories, events and annotations are interned when they come a second time, in tables of fixed size; an
//!   interned id is never given twice, so that nothing has to be cleared but once, in the first packet.
//! * Ids of tracks follow from what a track is of, and the sequence's from the rank: the one-rank files of a capture, put
//!   behind each other, are one trace. So are captures of one engine, in the order of time. Captures of two engines, whose
//!   processes have the same numbers, are put together by `merge`.
//!
//! Facts: perfetto 0.59.1's descriptors; trace processor's clock synchronizer, sorter and slice tracker.

mod annotation;
mod fields;
mod interner;
mod proto;
mod tracks;
mod writer;

pub use writer::PerfettoWriter;
