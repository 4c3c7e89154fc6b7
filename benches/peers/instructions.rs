//! Instructions of the idle hook, counted by callgrind: `cargo bench -p stepscope-peers --bench instructions`.
//!
//! Needs valgrind, and `cargo install gungraun-runner` of the version in the lock file. The calls go through the same C
//! table that an engine uses; the agent has not joined, so its words are inert ones and every step is idle.
#![allow(missing_docs, reason = "the macros of gungraun")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use stepscope::agent::ffi::{Api, OWN};

extern "C" fn nothing() -> u64 {
    0
}

#[library_benchmark]
#[bench::one(nothing)]
fn empty_call(function: extern "C" fn() -> u64) -> u64 {
    black_box(function)()
}

#[library_benchmark]
#[bench::one(&OWN)]
fn idle_step_begin(api: &'static Api) -> u64 {
    (black_box(api).step_begin)()
}

#[library_benchmark]
#[bench::one(&OWN)]
fn idle_step_begin_and_end(api: &'static Api) -> u64 {
    let api = black_box(api);
    let iteration = (api.step_begin)();
    (api.step_end)();
    iteration
}

library_benchmark_group!(name = hook, benchmarks = [empty_call, idle_step_begin, idle_step_begin_and_end]);
main!(library_benchmark_groups = hook);
