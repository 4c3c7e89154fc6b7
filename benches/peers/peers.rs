//! The step hook beside other tracers, in one run: `cargo bench -p stepscope-peers --bench peers`.
#![allow(unsafe_code, reason = "calls the agent through its C table")]
#![allow(clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a command line")]

#[path = "../support/mod.rs"]
mod support;

use fastrace::collector::{Config, Reporter, SpanContext, SpanRecord};
use fastrace::prelude::{LocalSpan, Span};
use support::rounds::{Budget, Contender};
use support::{consumer, hook, recorder, rounds};
use tracing_subscriber::layer::SubscriberExt;

const FASTRACE: &str = "fastrace LocalSpan";
/// Spans per round: peers keep them in memory, or write behind the caller's back.
const SPANS: u64 = 2_000;

struct Nowhere;

impl Reporter for Nowhere {
    fn report(&mut self, _: Vec<SpanRecord>) {}
}

fn main() {
    if consumer::was_asked_to_be_one() {
        return;
    }
    let bench = hook::Bench::new();
    fastrace::set_reporter(Nowhere, Config::default());
    puffin::set_scopes_on(true);
    perfetto_recorder::start().expect("perfetto-recorder starts");
    let trace = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file");
    let (layer, guard) = tracing_chrome::ChromeLayerBuilder::new().file(trace.path()).build();
    let subscriber = tracing_subscriber::registry().with(layer);
    let dispatch = tracing::Dispatch::new(subscriber);
    let mut contenders = bench.contenders();
    contenders.extend(recorder::contenders(&bench).into_iter().filter(|contender| contender.name == recorder::SPAN));
    contenders.extend([
        Contender::new(FASTRACE, SPANS, |n| {
            let root = Span::root("root", SpanContext::random());
            let _root = root.set_local_parent();
            for _ in 0..n {
                let _span = LocalSpan::enter_with_local_parent("span");
            }
        })
        .after(fastrace::flush),
        Contender::new("puffin scope", SPANS, |n| {
            for _ in 0..n {
                puffin::profile_scope!("span");
            }
        })
        .after(|| puffin::GlobalProfiler::lock().new_frame()),
        Contender::new("perfetto-recorder span", SPANS, |n| {
            for _ in 0..n {
                perfetto_recorder::scope!("span");
            }
        })
        .after(|| drop(perfetto_recorder::ThreadTraceData::take_current_thread())),
        Contender::new("tracing-chrome span", SPANS, |n| {
            tracing::dispatcher::with_default(&dispatch, || {
                for _ in 0..n {
                    let _span = tracing::info_span!("span").entered();
                }
            });
        })
        .after(|| guard.flush()),
    ]);
    let mut budgets: Vec<Budget> = Vec::from_iter(hook::BUDGETS.iter().map(|b| Budget { ..*b }));
    budgets.push(Budget { what: hook::SPAN, beside: FASTRACE, most: 0.65 });
    budgets.push(Budget { what: recorder::SPAN, beside: FASTRACE, most: 0.65 });
    rounds::run(&mut contenders, 41).print(hook::EMPTY, &budgets);
}
