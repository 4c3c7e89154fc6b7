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
//! | [`window`], [`guard`] | the gate's moves: arm, open, record, close; and the try-lock around them |
//! | [`helper`] | closing on an idle or stuck engine, by lease, by force |
//! | [`process`] | joining, leaving, forking: which segment this process writes |
//! | [`state`] | the words of the idle step, and the joined process |
//! | [`threads`] | one ring per thread |
//! | [`sources`], [`describe`] | who drives the steps; what this agent is, in JSON |
//!
//! Called by engines, through Rust, C or Python. Uses `wire` alone.
#![allow(unsafe_code, reason = "the C border and shared memory: each block states what it relies on")]

pub mod api;
mod describe;
pub mod ffi;
mod guard;
mod helper;
mod hook;
mod process;
mod sources;
mod state;
mod threads;
mod window;
