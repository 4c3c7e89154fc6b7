//! An engine without a model: for `stepscope demo`, the example `engine`, and the tests.
//!
//! It has the shape of a real one: a scheduler process batches continuously (requests come, are prefilled in chunks,
//! decode a token an iteration, and go) and drives ranks in lockstep; each rank is a process of its own that joins
//! through the real agent and steps. Only the work is made up: a rank sleeps for the length of a step.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`arguments`] | what can be set |
//! | [`batching`] | what each iteration holds |
//! | [`driver`] | the scheduler process: starts ranks, paces them |
//! | [`worker`] | one rank |
//!
//! Uses `agent`, through its Rust API.

pub mod arguments;
pub mod batching;
pub mod driver;
pub mod lives;
pub mod worker;
