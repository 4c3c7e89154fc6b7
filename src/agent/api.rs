//! What a Rust engine calls.
//!
//! ```no_run
//! use stepscope::agent::api::{self, Batch, Rank};
//!
//! api::join(&Rank { rank: 0, world_size: 1, engine: "mine 1.0".into(), ..Rank::default() }).ok();
//! loop {
//!     let step = api::step();
//!     if step.is_recorded() {
//!         step.batch(Batch { generation_requests: 8, generation_tokens: 8, ..Batch::default() });
//!     }
//!     // the work of one iteration
//! #   break;
//! }
//! ```
//!
//! One agent per process: where `libstepscope.so.1` was loaded before the first call here, or another part of the
//! process has the agent compiled in and came first, that one is used; and a library that is loaded later uses this one.

use std::ffi::{CStr, CString};
use std::sync::OnceLock;

pub use crate::wire::record::Batch;

use super::ffi::{Api, BATCH_DUMMY, CIdentity, IDENTITY_NO_BATCH, OWN, announce, loaded_before};

/// Who this process is.
#[derive(Debug, Clone, Default)]
pub struct Rank {
    /// All groups of one engine; empty: `STEPSCOPE_JOB`, else that of the nearest ancestor that has joined, else random.
    pub job: String,
    /// The ranks that step together; empty: `0`.
    pub group: String,
    /// Rank within the group.
    pub rank: u32,
    /// Ranks of the group; 0: not known.
    pub world_size: u32,
    /// Engine and version.
    pub engine: String,
    /// What people call the rank.
    pub label: String,
    /// It runs no iterations, and tells of itself through [`recorder`] alone.
    pub is_source: bool,
    /// [`Step::batch`] is never called: NVTX ranges need not wait for it to have their name.
    pub tells_no_batch: bool,
}

/// The process could not join: the engine runs on without being seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinError(pub String);

impl std::fmt::Display for JoinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stepscope is off in this process: {}", self.0)
    }
}

impl std::error::Error for JoinError {}

pub mod recorder;

fn table() -> &'static Api {
    static TABLE: OnceLock<&'static Api> = OnceLock::new();
    TABLE.get_or_init(|| {
        loaded_before().unwrap_or_else(|| {
            announce();
            &OWN
        })
    })
}

/// Joins as a rank. `Ok(false)`: the process had joined already, and its first identity stays.
///
/// # Errors
/// [`JoinError`] with the reason; nothing else changes.
pub fn join(rank: &Rank) -> Result<bool, JoinError> {
    let api = table();
    let text = |s: &str| CString::new(s.replace('\0', " ")).unwrap_or_default();
    let (job, group, engine, label) = (text(&rank.job), text(&rank.group), text(&rank.engine), text(&rank.label));
    let or_null = |s: &CString| if s.is_empty() { std::ptr::null() } else { s.as_ptr() };
    let identity = CIdentity {
        size: size_of::<CIdentity>() as u32,
        role: if rank.is_source { 2 } else { 1 },
        rank: rank.rank,
        world_size: rank.world_size,
        job: or_null(&job),
        group: or_null(&group),
        engine: or_null(&engine),
        label: or_null(&label),
        flags: if rank.tells_no_batch { IDENTITY_NO_BATCH } else { 0 },
        reserved: 0,
    };
    // SAFETY: a whole identity whose strings live until the call returns.
    match unsafe { (api.join)(&identity) } {
        0 => Ok(true),
        1 => Ok(false),
        // SAFETY: the table's reason is a NUL-terminated string, valid until this thread joins again.
        _ => Err(JoinError(unsafe { CStr::from_ptr((api.reason)()) }.to_string_lossy().into_owned())),
    }
}

/// One iteration, from here until it is dropped.
#[derive(Debug)]
#[must_use = "the iteration ends when this is dropped"]
pub struct Step {
    api: &'static Api,
    iteration: u64,
}

/// An iteration begins.
#[inline]
pub fn step() -> Step {
    let api = table();
    Step { api, iteration: (api.step_begin)() }
}

impl Step {
    /// Whether it lies in an open window, so that its batch is worth working out.
    pub fn is_recorded(&self) -> bool {
        self.iteration != 0
    }

    /// What the iteration holds.
    pub fn batch(&self, batch: Batch) {
        self.tell(batch, 0);
    }

    /// The work goes onto this CUDA stream (a `CUstream` or `cudaStream_t`, null for the default one): with the profiler
    /// `cuda`, the iteration's time on the device is measured there. Call it before the work.
    ///
    /// # Safety
    /// A stream of the context that is current on this thread, alive until the iteration ends.
    pub unsafe fn stream(&self, stream: *mut std::ffi::c_void) {
        if self.iteration != 0 && self.api.has(std::mem::offset_of!(Api, step_stream)) {
            (self.api.step_stream)(stream);
        }
    }

    /// It is a dummy batch that keeps data-parallel ranks in step.
    pub fn dummy(&self) {
        self.tell(Batch::default(), BATCH_DUMMY);
    }

    fn tell(&self, b: Batch, flags: u32) {
        if self.iteration != 0 {
            (self.api.step_batch)(
                b.context_requests,
                b.context_tokens,
                b.generation_requests,
                b.generation_tokens,
                flags,
            );
        }
    }
}

impl Drop for Step {
    #[inline]
    fn drop(&mut self) {
        (self.api.step_end)();
    }
}

/// The process says goodbye; its open window is closed. Happens by itself at an orderly exit.
pub fn leave() {
    (table().leave)();
}
