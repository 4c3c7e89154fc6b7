//! Which track an event is on, and the spans that are open there.
//!
//! A thread has a track, an asyncio task has one of its own, and so has whatever a program calls one. The plugin's own spans
//! ([`crate::vllm`]) are on their thread's, whatever task runs. Spans of a track are
//! nested or disjoint: one that is left out of turn, or elsewhere than it was entered, is told as a duration, which may
//! overlap anything. Only asked while a capture records.
//!
//! Tasks are told from each other by their address and a weak reference, so that nothing keeps a task alive; those that are
//! gone are swept out when there are many.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyWeakrefReference};

use crate::{names, table, texts};

/// Most spans that are open on a track at once.
const DEEPEST: usize = 1024;
/// Tasks of a thread that are known before those that are gone are swept out.
const MANY_TASKS: usize = 1024;
/// Numbers of our tracks begin here: an engine's own may be small.
const FIRST_NUMBER: u64 = 0x5059_0000_0000_0001;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(FIRST_NUMBER);

/// A track, and what is open on it.
pub(crate) struct Stack {
    /// 0: the calling thread's own.
    number: u64,
    /// Handle of its name.
    name: u64,
    /// The capture it was named in.
    named: AtomicU64,
    open: Mutex<Spans>,
}

/// The spans that are open on a track, outermost first.
struct Spans {
    places: Vec<Place>,
    /// How many ever were.
    entered: u64,
}

/// A span that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) span: u64,
    pub(crate) generation: u64,
}

/// How a span was left.
pub(crate) enum Left {
    /// As the innermost one, with so many around it.
    InTurn(u16),
    /// Otherwise.
    OutOfTurn,
}

impl Stack {
    fn new(number: u64, name: u64) -> Arc<Self> {
        let open = Mutex::new(Spans { places: Vec::new(), entered: 0 });
        Arc::new(Self { number, name, named: AtomicU64::new(0), open })
    }

    /// A track that is no thread's.
    pub(crate) fn logical(name: u64) -> Arc<Self> {
        Self::new(NEXT_NUMBER.fetch_add(1, Ordering::Relaxed), name)
    }

    /// Its number, once this capture knows its name.
    pub(crate) fn number(&self, generation: u64) -> u64 {
        if self.number != 0 && self.named.swap(generation, Ordering::Relaxed) != generation {
            (table::current().track)(self.number, self.name);
        }
        self.number
    }

    /// A span opens; `None`: too many are.
    pub(crate) fn enter(&self, generation: u64) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.places.len() >= DEEPEST {
            return None;
        }
        open.entered = open.entered.wrapping_add(1);
        let place = Place { span: open.entered, generation };
        open.places.push(place);
        Some(place)
    }

    /// It closes.
    pub(crate) fn leave(&self, place: Place) -> Left {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.places.last() == Some(&place) {
            open.places.pop();
            let around = open.places.iter().filter(|other| other.generation == place.generation).count();
            return Left::InTurn(around as u16);
        }
        open.places.retain(|other| *other != place);
        Left::OutOfTurn
    }
}

/// `stepscope.track(name)`: a track that is no thread's and no task's. Pass it on as `track=`.
#[pyclass(frozen, name = "track", module = "stepscope")]
pub(crate) struct Track(pub(crate) Arc<Stack>);

#[pymethods]
impl Track {
    #[new]
    fn new(name: &Bound<'_, PyAny>) -> Self {
        Self(Stack::logical(texts::handle(name)))
    }
}

struct Task {
    task: Py<PyWeakrefReference>,
    stack: Arc<Stack>,
}

/// Addresses are spread well enough once they are multiplied.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_usize(byte.into()));
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

#[derive(Default)]
struct Tasks {
    known: HashMap<usize, Task, BuildHasherDefault<Spread>>,
    many: usize,
}

thread_local! {
    static OWN: RefCell<Option<Arc<Stack>>> = const { RefCell::new(None) };
    static TASKS: RefCell<Tasks> = RefCell::new(Tasks::default());
}

/// The track that was asked for, else that of the task that runs, else that of the thread.
pub(crate) fn current(py: Python<'_>, asked: Option<&Bound<'_, PyAny>>) -> Arc<Stack> {
    if let Some(track) = asked.and_then(|asked| asked.cast::<Track>().ok()) {
        return track.get().0.clone();
    }
    of_task(py).unwrap_or_else(|| of_thread(py))
}

/// Whether this is the track that [`current`] would give.
pub(crate) fn is_current(py: Python<'_>, asked: Option<&Bound<'_, PyAny>>, stack: &Arc<Stack>) -> bool {
    if asked.is_none() && stack.number == 0 && running_task(py).is_none() {
        return OWN
            .with(|own| own.try_borrow().is_ok_and(|own| own.as_ref().is_some_and(|own| Arc::ptr_eq(own, stack))));
    }
    Arc::ptr_eq(&current(py, asked), stack)
}

/// The number of the track that [`current`] would give, once this capture knows its name.
pub(crate) fn number(py: Python<'_>, asked: Option<&Bound<'_, PyAny>>, recording: u64) -> u64 {
    if asked.is_none() && is_threads_own(py) {
        return 0;
    }
    current(py, asked).number(recording >> 8)
}

/// Whether the track that [`current`] would give is the thread's own, which has been asked for before.
pub(crate) fn is_threads_own(py: Python<'_>) -> bool {
    running_task(py).is_none() && OWN.with(|own| own.try_borrow().is_ok_and(|own| own.is_some()))
}

/// The thread's own track, whatever task runs.
pub(crate) fn of_thread(py: Python<'_>) -> Arc<Stack> {
    let own = OWN.with(|own| own.try_borrow().ok().and_then(|own| own.clone()));
    own.unwrap_or_else(|| {
        // The agent reads the name with the thread's first event.
        names::name_thread(py);
        let stack = Stack::new(0, 0);
        OWN.with(|own| own.try_borrow_mut().map(|mut own| *own = Some(stack.clone())).ok());
        stack
    })
}

fn of_task(py: Python<'_>) -> Option<Arc<Stack>> {
    let task = running_task(py)?;
    let address = task.as_ptr() as usize;
    let known = TASKS.with(|tasks| {
        let tasks = tasks.try_borrow().ok()?;
        tasks.known.get(&address).map(|known| (known.task.clone_ref(py), known.stack.clone()))
    });
    if let Some((weak, stack)) = known
        && weak.bind(py).upgrade().is_some_and(|living| living.is(&task))
    {
        return Some(stack);
    }
    // Nothing of Python's is made while the table is held: that may collect garbage, which may have spans.
    let weak = PyWeakrefReference::new(&task).ok()?.unbind();
    let stack = Stack::logical(names::of_task(&task));
    TASKS.with(|tasks| {
        let mut tasks = tasks.try_borrow_mut().ok()?;
        if tasks.known.len() >= tasks.many.max(MANY_TASKS) {
            tasks.known.retain(|_, task| task.task.bind(py).upgrade().is_some());
            tasks.many = tasks.known.len() * 2;
        }
        tasks.known.insert(address, Task { task: weak, stack: stack.clone() });
        Some(stack)
    })
}

/// How asyncio is asked for the task that runs.
struct Asyncio {
    running_loop: Py<PyAny>,
    /// Loops and their tasks, up to Python 3.13: asking it spares a call of a function that is Python's own before 3.12.
    tasks: Option<Py<PyDict>>,
    current_task: Py<PyAny>,
}

static ASYNCIO: PyOnceLock<Asyncio> = PyOnceLock::new();

impl Asyncio {
    /// `None`: the program has not imported it yet.
    fn get(py: Python<'_>) -> Option<&Self> {
        if let Some(known) = ASYNCIO.get(py) {
            return Some(known);
        }
        let asyncio = names::imported(py, intern!(py, "asyncio"))?;
        let tasks = asyncio.getattr("tasks").and_then(|tasks| tasks.getattr("_current_tasks"));
        let tasks = tasks.ok().filter(|_| py.version_info() < (3, 14)).and_then(|tasks| tasks.cast_into().ok());
        let found = Self {
            running_loop: asyncio.getattr("_get_running_loop").ok()?.unbind(),
            tasks: tasks.map(Bound::unbind),
            current_task: asyncio.getattr("current_task").ok()?.unbind(),
        };
        Some(ASYNCIO.get_or_init(py, || found))
    }
}

fn running_task(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let asyncio = Asyncio::get(py)?;
    // No task runs anywhere: to ask further is most of what a span would cost.
    if asyncio.tasks.as_ref().is_some_and(|tasks| tasks.bind(py).is_empty()) {
        return None;
    }
    // Outside of a loop `current_task` raises.
    let running = asyncio.running_loop.bind(py).call0().ok().filter(|running| !running.is_none())?;
    match &asyncio.tasks {
        Some(tasks) => tasks.bind(py).get_item(running).ok()?,
        None => asyncio.current_task.bind(py).call0().ok().filter(|task| !task.is_none()),
    }
}
