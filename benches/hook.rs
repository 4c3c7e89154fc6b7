//! What the step hook costs, idle and recording: `cargo bench --bench hook`. Beside other tracers:
//! `cargo bench -p stepscope-peers --bench peers`.
#![allow(unsafe_code, reason = "calls the agent through its C table")]
#![allow(clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a command line")]

mod support;

use support::{consumer, hook, rounds};

fn main() {
    if consumer::was_asked_to_be_one() {
        return;
    }
    let bench = hook::Bench::new();
    let mut contenders = bench.contenders();
    rounds::run(&mut contenders, 41).print(hook::EMPTY, hook::BUDGETS);
}
