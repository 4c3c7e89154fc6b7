//! What the recorder costs an engine, off and on, through the C table: `cargo bench --bench recorder`.
#![allow(unsafe_code, reason = "calls the agent through its C table")]
#![allow(clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a command line")]

mod support;

use support::rounds::{Budget, Contender};
use support::{consumer, hook, recorder, rounds};

/// DESIGN §10: through the thread-local, an event is at most twice a read of the clock and a span three times.
const BUDGETS: &[Budget] = &[
    Budget { what: recorder::ASKED, beside: hook::EMPTY, most: 1.5 },
    Budget { what: recorder::EVENT, beside: hook::CLOCK, most: 2.0 },
    Budget { what: recorder::SPAN, beside: hook::CLOCK, most: 3.0 },
];

fn main() {
    if consumer::was_asked_to_be_one() {
        return;
    }
    let bench = hook::Bench::new();
    let kept = [hook::EMPTY, hook::CLOCK, "loop"];
    let mut contenders: Vec<Contender<'_>> = bench.contenders();
    contenders.retain(|contender| kept.contains(&contender.name));
    contenders.extend(recorder::contenders(&bench));
    rounds::run(&mut contenders, 41).print(hook::EMPTY, BUDGETS);
}
