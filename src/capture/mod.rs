//! The session: from a start to a manifest and its files.
//!
//! One thread, `stepscope-capture`, owns all state: the collector and the running capture. It never touches the disk:
//! `stepscope-files` writes what a running capture makes, `stepscope-export` what is made of captures that are over. Others
//! talk to the first through [`Captures`], a handle that sends messages and reads published snapshots. Every queue between
//! them is bounded; callers are told to come again when it is full.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`request`], [`options`], [`manifest`] | what may be asked, what is set, what is said of a capture |
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
//! | `events` | when the engine's processes tell of themselves, and of which requests |
//! | `to_record` | what is drained, and what fragments begin with |
//! | `files`, `lanes` | the thread that puts a running capture on the disk, and the way there from each rank's rings |
//! | `pace` | how fast ranks step before and behind a window |
//! | [`progress`] | how far it has got |
//! | `clocks` | what anchors saw of the wall clock, and what that makes of the manifest's times |
//! | `memory` | records that the disk does not take |
//! | [`native`] | the engine's own profiler |
//! | [`beside`] | counters and requests that others in this process hand in |
//! | `report` | from a session to what is said of it |
//! | `recover` | taking up what a sidecar that died left |
//! | `exporter` | the thread that works on captures that are over |
//! | [`store`], [`export`] | files |
//!
//! Called by `service`; `telemetry`, `proxy` and `native` hand in what is theirs. Uses `collector`, `trace` and `report`. Knows nothing of
//! HTTP.

mod agree;
pub mod beside;
mod clocks;
mod events;
pub mod export;
mod exporter;
mod files;
pub mod handle;
mod hold;
mod lanes;
mod manager;
pub mod manifest;
mod memory;
pub mod native;
pub mod open;
pub mod options;
mod pace;
mod plan;
pub mod profiling;
pub mod progress;
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
