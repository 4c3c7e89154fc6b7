//! The session: from a start to a manifest and its files.
//!
//! One thread, `stepscope-capture`, owns all state: the collector and the running capture. It never touches the disk:
//! `stepscope-files` writes what a running capture makes, `stepscope-export` what is made of captures that are over. Others
//! talk to the first through [`Captures`], a handle that sends messages and reads published snapshots. Every queue between
//! them is bounded; callers are told to come again when it is full.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`request`], [`manifest`], `manifest_native` | what may be asked, what is said of a capture |
//! | [`handle`] | how others ask |
//! | [`open`](mod@open) | setting it up |
//! | [`manager`] | the thread: commands, turns, retention |
//! | `threads` | how threads are started |
//! | `hold` | a capture that waits to be opened |
//! | `plan` | from what was asked to what will be done |
//! | [`profiling`] | which rank makes the profiler's calls, and whether it can |
//! | [`window`] | where a window begins and ends: arithmetic |
//! | [`session`] | one capture while it runs: a state machine without clock or thread |
//! | `agree` | where a group's window opens, agreed on with its ranks |
//! | `running` | the same with its hands: sources, manifest |
//! | `to_record` | what is drained, and what fragments begin with |
//! | `files` | the thread that puts a running capture on the disk |
//! | `pace` | how fast ranks step before and behind a window |
//! | [`progress`] | how far it has got |
//! | `clocks` | what anchors saw of the wall clock, and what that makes of the manifest's times |
//! | `memory` | records that the disk does not take |
//! | [`native`] | the engine's own profiler: a port |
//! | `driving` | when it is asked, and whether it has let go |
//! | `engine_files` | what it wrote, taken into the capture |
//! | [`covered`] | which of our iterations its traces show |
//! | [`counters`] | what is sampled beside the ranks, handed in |
//! | `gpus` | the same on the disk |
//! | [`passed`], `proxied` | requests that passed through the sidecar: handed in, and on the disk |
//! | `report` | from a session to what is said of it |
//! | `recover` | taking up what a sidecar that died left |
//! | `exporter` | the thread that works on captures that are over |
//! | [`store`], [`export`] | files |
//!
//! Called by `service`. Uses `collector`, `trace` and `report`. Knows nothing of HTTP.

mod agree;
mod clocks;
pub mod counters;
pub mod covered;
mod driving;
mod engine_files;
mod events;
pub mod export;
mod exporter;
mod files;
mod gpus;
pub mod handle;
mod hold;
mod manager;
pub mod manifest;
mod manifest_native;
mod memory;
pub mod native;
pub mod open;
pub mod options;
mod pace;
pub mod passed;
mod plan;
pub mod profiling;
pub mod progress;
mod proxied;
mod recover;
mod report;
pub mod request;
mod running;
pub mod session;
mod snapshot;
pub mod store;
mod threads;
mod to_record;
pub mod window;

pub use handle::Captures;
pub use open::open;
