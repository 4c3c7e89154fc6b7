//! `Scheduling`: spans of `schedule` and `update_from_output`, and the counters of a scheduler, while a capture records.
//!
//! A counter keeps its value until it is told another one. The scheduler is asked for its counts where they may have changed:
//! where the plugin has seen a request come, go or be put back, the batch has another size or the pool of blocks another
//! number of free ones, and all [`LOOKED_AT`] iterations whatever was seen.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::event::Told;
use crate::recorder::{self, monotonic_ns};
use crate::table::{self, Argument, shape};
use crate::texts;

use super::own_span::OwnSpan;

/// Iterations after which the counts are asked for although nothing was seen.
const LOOKED_AT: u64 = 32;
/// What no number of free blocks is.
const UNKNOWN: u64 = u64::MAX;

/// What is kept of one scheduler.
#[pyclass(frozen, module = "stepscope")]
pub(crate) struct Scheduling {
    schedule: OwnSpan,
    update: OwnSpan,
    keys: [u64; 2],
    category: u64,
    gap: Counter,
    counters: [Counter; 3],
    /// The capture that all of this is of.
    capture: AtomicU64,
    began_ticks: AtomicU64,
    /// When `schedule` returned; 0: without work, or not in this capture.
    returned_ticks: AtomicU64,
    /// Of the capture.
    ms_per_tick: AtomicU64,
    /// Something came, went or was put back.
    changed: AtomicBool,
    requests: AtomicU64,
    free_blocks: AtomicU64,
    since_look: AtomicU64,
    /// vLLM's queue of free blocks, where this vLLM has it.
    queue: PyOnceLock<Option<Py<PyAny>>>,
}

struct Counter {
    name: u64,
    /// The bits of what it stands at in this capture.
    stands_at: AtomicU64,
}

impl Counter {
    fn new(py: Python<'_>, name: &str) -> Self {
        let name = texts::handle(pyo3::types::PyString::intern(py, name).as_any());
        Self { name, stands_at: AtomicU64::new(f64::NAN.to_bits()) }
    }

    fn tell(&self, category: u64, value: f64) {
        Told { shape: shape::COUNTER, level: 1, name: self.name, category, value, ..Told::NOTHING }.tell(&[]);
    }

    fn tell_change(&self, category: u64, value: f64) {
        if self.stands_at.swap(value.to_bits(), Ordering::Relaxed) != value.to_bits() {
            self.tell(category, value);
        }
    }
}

#[pymethods]
impl Scheduling {
    #[new]
    fn new(category: &Bound<'_, PyAny>, level: u32) -> Self {
        let py = category.py();
        let span = |name: &Bound<'_, PyAny>| OwnSpan::new(name, category, level);
        let key = |name: &Bound<'_, PyAny>| texts::handle(name);
        Self {
            schedule: span(intern!(py, "schedule").as_any()),
            update: span(intern!(py, "update_from_output").as_any()),
            keys: [key(intern!(py, "tokens").as_any()), key(intern!(py, "requests").as_any())],
            category: texts::handle(category),
            gap: Counter::new(py, "step gap ms"),
            counters: ["requests running", "requests waiting", "kv cache use"].map(|name| Counter::new(py, name)),
            capture: AtomicU64::new(0),
            began_ticks: AtomicU64::new(0),
            returned_ticks: AtomicU64::new(0),
            ms_per_tick: AtomicU64::new(0),
            changed: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            free_blocks: AtomicU64::new(UNKNOWN),
            since_look: AtomicU64::new(0),
            queue: PyOnceLock::new(),
        }
    }

    /// Before each `schedule`. 0: nobody captures. 1: somebody does. 2: and a new capture knows nothing of what is in flight.
    fn begin(&self, py: Python<'_>) -> u32 {
        let recording = recorder::recording();
        if recording == 0 {
            return 0;
        }
        let is_new = self.capture.load(Ordering::Relaxed) != recording >> 8;
        if is_new {
            self.take_up(recording >> 8);
        }
        self.began_ticks.store((table::current().now)(), Ordering::Relaxed);
        self.schedule.begin(py, recording);
        1 + u32::from(is_new)
    }

    /// `schedule` has returned this batch, in a capture. 1: the counts may have changed, which `count` then tells. 2: and some of
    /// it is new or resumed.
    #[pyo3(signature = (output, /))]
    fn scheduled(&self, output: &Bound<'_, PyAny>) -> PyResult<u32> {
        let py = output.py();
        let (tokens, requests) = match batch(output) {
            Ok(batch) => batch,
            Err(error) => {
                self.schedule.end(py, &[]);
                return Err(error);
            }
        };
        let numbers = [Argument::unsigned(self.keys[0], tokens), Argument::unsigned(self.keys[1], requests)];
        let now = self.schedule.end(py, &numbers);
        let returned = self.returned_ticks.load(Ordering::Relaxed);
        self.returned_ticks.store(if tokens > 0 { now } else { 0 }, Ordering::Relaxed);
        if tokens > 0 && returned != 0 {
            let gap = self.began_ticks.load(Ordering::Relaxed).saturating_sub(returned);
            self.gap.tell(self.category, gap as f64 * f64::from_bits(self.ms_per_tick.load(Ordering::Relaxed)));
        }
        let may_have_changed = self.may_have_changed(py, requests);
        let resumed = || output.getattr(intern!(py, "scheduled_cached_reqs"))?.getattr(intern!(py, "resumed_req_ids"));
        let news = output.getattr(intern!(py, "scheduled_new_reqs"))?.is_truthy()? || resumed()?.is_truthy()?;
        Ok(if news { 2 } else { may_have_changed.into() })
    }

    /// Tells what the scheduler stands at, where it has changed.
    #[pyo3(signature = (scheduler, /))]
    fn count(&self, scheduler: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = scheduler.py();
        let queue = self.queue.get_or_init(py, || {
            let pool = scheduler.getattr("kv_cache_manager").and_then(|manager| manager.getattr("block_pool"));
            pool.and_then(|pool| pool.getattr("free_block_queue")).ok().map(Bound::unbind)
        });
        self.free_blocks.store(free_blocks(py, queue.as_ref()), Ordering::Relaxed);
        let (running, waiting): (f64, f64) = scheduler.call_method0(intern!(py, "get_request_counts"))?.extract()?;
        let used: f64 = scheduler.call_method0(intern!(py, "get_kv_cache_usage"))?.extract()?;
        for (counter, value) in self.counters.iter().zip([running, waiting, used]) {
            counter.tell_change(self.category, value);
        }
        Ok(())
    }

    /// `schedule` or `update_from_output` raised.
    #[pyo3(signature = (error, /))]
    fn failed(&self, error: &Bound<'_, PyAny>) {
        self.update.fail(error);
        self.schedule.fail(error);
    }

    /// Before an `update_from_output` in a capture: whether its span is open.
    fn updates(&self, py: Python<'_>) -> bool {
        self.update.begin(py, recorder::recording())
    }

    /// Behind it.
    fn updated(&self, py: Python<'_>) {
        self.update.end(py, &[]);
    }

    /// A request came, went or was put back.
    fn changes(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl Scheduling {
    #[cold]
    #[inline(never)]
    fn take_up(&self, capture: u64) {
        const SECOND_NS: u64 = 1_000_000_000;
        self.capture.store(capture, Ordering::Relaxed);
        self.returned_ticks.store(0, Ordering::Relaxed);
        self.changed.store(true, Ordering::Relaxed);
        for counter in &self.counters {
            counter.stands_at.store(f64::NAN.to_bits(), Ordering::Relaxed);
        }
        let (ticks_at, now_ns) = (table::current().ticks_at, monotonic_ns());
        let ticks = ticks_at(now_ns).saturating_sub(ticks_at(now_ns.saturating_sub(SECOND_NS)));
        self.ms_per_tick.store((1e3 / ticks.max(1) as f64).to_bits(), Ordering::Relaxed);
    }

    fn may_have_changed(&self, py: Python<'_>, requests: u64) -> bool {
        let free_blocks = self.queue.get(py).map_or(UNKNOWN, |queue| free_blocks(py, queue.as_ref()));
        let before = (self.requests.load(Ordering::Relaxed), self.free_blocks.load(Ordering::Relaxed));
        let since = self.since_look.load(Ordering::Relaxed).wrapping_add(1);
        let may = before != (requests, free_blocks)
            || free_blocks == UNKNOWN
            || since >= LOOKED_AT
            || self.changed.load(Ordering::Relaxed);
        self.since_look.store(if may { 0 } else { since }, Ordering::Relaxed);
        if may {
            self.requests.store(requests, Ordering::Relaxed);
            self.changed.store(false, Ordering::Relaxed);
        }
        may
    }
}

fn free_blocks(py: Python<'_>, queue: Option<&Py<PyAny>>) -> u64 {
    let free = queue.and_then(|queue| queue.bind(py).getattr(intern!(py, "num_free_blocks")).ok());
    free.and_then(|free| free.extract().ok()).unwrap_or(UNKNOWN)
}

/// Tokens and requests of a batch.
fn batch(output: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
    let py = output.py();
    let tokens = output.getattr(intern!(py, "total_num_scheduled_tokens"))?.extract()?;
    Ok((tokens, output.getattr(intern!(py, "num_scheduled_tokens"))?.len()? as u64))
}
