//! The code inside the engine: counts iterations, opens and closes the window, writes records.
//!
//! What always holds: nothing here blocks, waits, or ends the engine. Idle, a step costs one store, one load and one
//! branch ([`hook`]); everything else happens while a window is armed or open ([`window`]), or on the helper thread
//! ([`helper`]), which closes windows when no step comes. A failure switches the agent off, with a reason.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`api`] | what an engine calls, from Rust |
//! | [`ffi`] | what an engine calls, from C: the table of `include/stepscope.h` |
//! | [`hook`] | step begin, batch, end |
//! | [`window`], [`guard`] | the hook's view of a window: arm, record; and the try-lock around it |
//! | [`edges`] | opening and closing, whoever does it |
//! | [`profiler`], [`cuda`] | the CUDA profiler's calls at the edges; the driver, device times |
//! | [`nvtx`] | window and iterations as NVTX ranges; an engine's own ranges as iterations |
//! | [`capability`] | what of all this can work in this process |
//! | [`helper`] | closing on an idle or stuck engine, by lease, by force |
//! | [`process`], [`job`] | joining, leaving, forking: which segment this process writes, and for which job |
//! | [`state`] | the words of the idle step, and the joined process |
//! | [`once`] | what is looked for once in a process |
//! | [`recorder`], [`interned`] | spans, counters, requests that an engine tells of; their texts |
//! | [`threads`] | one ring per thread |
//! | [`sources`], [`describe`] | who drives the steps; what this agent is, in JSON |
//!
//! **No panic, no allocator.** A panic or an allocation that fails would be the engine's end, and both bring in the
//! standard library's machinery for them (four fifths of the bytes that the library once had). So what runs in the
//! engine neither indexes nor unwraps, keeps text in [`crate::wire::text`], and asks the kernel by
//! [`crate::wire::system`] instead of `std::fs`, `std::env`, `std::thread` and `format!`. That no panic can be reached is
//! held by a test on the library's symbols (`tests/structure/agent_library.rs`); `catch_unwind` stays at the border, for
//! debug builds and for engines that compile the agent in. [`api`] runs in Rust engines alone and need not care.
//!
//! Called by engines, through Rust, C or Python. Uses `wire` alone.
#![allow(unsafe_code, reason = "the C border and shared memory: each block states what it relies on")]

pub mod api;
mod capability;
mod cuda;
mod describe;
mod edges;
pub mod ffi;
mod guard;
mod helper;
mod hook;
mod interned;
mod job;
mod nvtx;
mod once;
mod process;
mod profiler;
mod recorder;
mod sources;
mod state;
mod threads;
mod window;
