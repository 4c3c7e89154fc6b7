//! A capture with something of everything: three phases and a dummy, device times, a straggler, a lost record, GPUs.

use stepscope::report::Report;
use stepscope::report::about::{About, RankAbout};
use stepscope::report::build;
use stepscope::report::model::{Pace, ProfilerCalls};
use stepscope::trace::counter::{GpuIdentity, Metric};
use stepscope::trace::event::{Batch, Event, Flags, Iteration};

use crate::trace::counters::{counters, value};
use crate::trace::sample::{fragment, identity, meta, window};

/// Iterations of the sample's window.
pub(crate) const ITERATIONS: u64 = 60;
const MS: u64 = 1_000_000;

/// One iteration; times are nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn iteration(number: u64, begin_ns: u64, duration_ns: u64, batch: [u32; 4]) -> Iteration {
    let [context_requests, context_tokens, generation_requests, generation_tokens] = batch;
    Iteration {
        iteration: number,
        begin_ticks: begin_ns * 2,
        end_ticks: (begin_ns + duration_ns) * 2,
        batch: Batch { context_requests, context_tokens, generation_requests, generation_tokens },
        device_ns: None,
        flags: Flags::default(),
    }
}

/// Iterations `1..=ITERATIONS` of one rank. Rank 1 begins 50 µs late and takes 400 µs longer.
fn events(rank: u64) -> Vec<Event> {
    let mut begin_ns = 2 * MS;
    let mut events = Vec::new();
    for number in 1..=ITERATIONS {
        let (duration_ns, batch) = match number % 10 {
            0 => (8 * MS, [2, 1024, 0, 0]),
            5 => (5 * MS, [1, 512, 8, 8]),
            _ => (2 * MS + number % 7 * 20_000, [0, 0, 8, 8]),
        };
        let duration_ns = duration_ns + if number == 1 { 3 * MS } else { 0 };
        let mut this = iteration(number, begin_ns + rank * 50_000, duration_ns + rank * 400_000, batch);
        this.device_ns = Some(duration_ns / 10 * 9);
        if number == 19 {
            this.flags = Flags::DUMMY;
        }
        if number == 41 {
            this.flags = Flags::NO_BATCH.with(Flags::UNENDED);
        }
        // Rank 1 lost one.
        if (rank, number) != (1, 30) {
            events.push(Event::Iteration(this));
        }
        begin_ns += duration_ns + 700_000;
    }
    events
}

/// What the manifest would say.
pub(crate) fn about() -> About {
    let mut windows = vec![window("0", 0, 1, ITERATIONS), window("0", 1, 1, ITERATIONS)];
    windows[1].dropped = 1;
    let mut meta = meta(windows);
    meta.complete = Some(false);
    meta.missing =
        vec!["rank 1 of group 0 of job job: 1 records were dropped because there was no room for them".into()];
    let rank = |rank: u32| RankAbout {
        job: "job".into(),
        group: "0".into(),
        rank,
        iterations: ITERATIONS,
        before: Some(Pace { iterations: 612, mean_ns: 3_260_000, uncertainty_ns: 5_326 }),
        after: (rank == 0).then_some(Pace { iterations: 75, mean_ns: 3_310_000, uncertainty_ns: 13_000 }),
        calls: (rank == 0).then(|| ProfilerCalls {
            job: "job".into(),
            group: "0".into(),
            rank,
            start_ns: Some(12 * MS),
            stop_ns: Some(30 * MS),
            synchronize_open_ns: Some(400_000),
            synchronize_close_ns: None,
        }),
    };
    About {
        meta,
        accepted_at: "2026-11-21T10:00:00.5Z".into(),
        profiler: "cuda".into(),
        closed_by: Some("max_iterations".into()),
        ranks: vec![rank(0), rank(1)],
        gpu_values_dropped: 3,
        gpus_absent: None,
    }
}

/// The sample's report.
pub(crate) fn report() -> Report {
    let dir = tempfile::tempdir().unwrap();
    let mut files: Vec<_> = [0, 1].map(|rank| fragment(dir.path(), &identity("0", rank as u32), &events(rank))).into();
    let gpu = GpuIdentity { index: 0, mig: None, uuid: "GPU-0".into(), name: "H100".into() };
    let values: Vec<Event> = (0..8)
        .flat_map(|i| {
            let at_ns = 3 * MS + i * 50 * MS;
            [
                value(0, Metric::GpuUtilization, at_ns, 90.0 + i as f64),
                value(0, Metric::Power, at_ns, 312.125),
                value(0, Metric::ProcessSmUtilization, at_ns, 88.0),
            ]
        })
        .collect();
    files.push(counters(dir.path(), vec![gpu], &values));
    build(&files, &about())
}

/// The report of one rank whose iterations these are.
pub(crate) fn report_of(iterations: &[Iteration]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let events: Vec<Event> = iterations.iter().copied().map(Event::Iteration).collect();
    let file = fragment(dir.path(), &identity("0", 0), &events);
    build(&[file], &About { meta: meta(Vec::new()), profiler: "steps".into(), ..About::default() })
}
