//! NVTX, both ways: the window and its iterations as ranges for whatever tool listens, and an engine's own ranges as
//! iterations, or as spans of a window.
//!
//! NVTX version 3 is a protocol between a library that emits and a tool that was injected; nothing is linked. The emitter
//! loads the library that `NVTX_INJECTION64_PATH` names and hands it a way to fill in function pointers, see [`abi`].
//! Without a tool every pointer stays null, and a range costs the look at one word.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`abi`] | numbers and structures of the protocol |
//! | [`tables`] | the function pointers that a tool fills in |
//! | [`client`] | finding a tool, and calling it |
//! | [`range`] | what we emit: `capture`, iterations, marks |
//! | [`injection`] | what other libraries emit, coming in and passed on |
//! | [`preload`] | staying in place where a tool comes too |
//! | [`message`], [`names`] | what a range is called, and what a handle stands for |
//! | [`steps`], [`pattern`] | ranges as iterations: which |
//! | [`spans`], [`open_ranges`] | other ranges as spans: those of a thread, and those that any thread may end |
//!
//! Called by the window and the profiler of this room.

pub(super) mod abi;
pub(super) mod client;
pub(super) mod injection;
mod message;
pub(super) mod names;
pub(super) mod open_ranges;
pub(super) mod pattern;
mod preload;
pub(super) mod range;
pub(super) mod spans;
pub(super) mod steps;
mod tables;
