//! What this agent can do: looked at when the process joins, and again when a sidecar asks.
//!
//! The first look touches nothing: the environment, and whether a tool listens to NVTX. The second, on the helper thread,
//! loads the driver and asks it; `cuInit` only if the process has not called it, since a context of its own is no business
//! of ours.

use std::sync::atomic::Ordering;

use crate::wire::capability::{Answer, Question, with};
use crate::wire::layout::{Capabilities, NONE};
use crate::wire::system;
use crate::wire::text::{FixedText, PathText};

use super::cuda::driver::{self, Context, Driver, Missing, NOT_INITIALIZED, SUCCESS};
use super::nvtx::client;
use super::state::Joined;

/// What nsys sets in every process of a session.
const NSYS_SESSION: &std::ffi::CStr = c"NSYS_PROFILING_SESSION_ID";
/// Part of the name of the library that ncu injects.
const NCU_LIBRARY: &[u8] = b"cuda-injection";

/// The tool's session that this process runs in, as its environment tells; empty for none.
pub(super) fn tool_session() -> FixedText<64> {
    system::variable(NSYS_SESSION).unwrap_or_default()
}

/// When the process joins.
pub(super) fn look(joined: &Joined) {
    let capabilities = &joined.segment.status().capabilities;
    capabilities.cuda_code.store(NONE, Ordering::Relaxed);
    answer(capabilities, Question::NvtxTool, client::look().into());
    answer(capabilities, Question::Nsys, (!joined.identity.tool_session.is_empty()).into());
    let injected: PathText = system::variable(c"CUDA_INJECTION64_PATH").unwrap_or_default();
    let ncu = injected.as_bytes().windows(NCU_LIBRARY.len()).any(|part| part == NCU_LIBRARY);
    answer(capabilities, Question::Ncu, ncu.into());
}

/// When a sidecar asks; on the helper thread.
pub(super) fn probe(joined: &Joined, asked: u64) {
    let capabilities = &joined.segment.status().capabilities;
    let loaded = driver::load();
    answer(capabilities, Question::CudaLibrary, (loaded.err() != Some(Missing::Library)).into());
    if let Ok(driver) = loaded {
        answer(capabilities, Question::CudaSymbols, Answer::Yes);
        initialise(capabilities, driver);
    } else if loaded.err() == Some(Missing::Symbol) {
        answer(capabilities, Question::CudaSymbols, Answer::No);
    }
    // SYNC probe: the answers are there before they count as given.
    capabilities.probed.store(asked, Ordering::Release);
}

fn initialise(capabilities: &Capabilities, driver: &Driver) {
    let mut version = 0;
    // SAFETY: a variable of ours; needs no initialised driver.
    if unsafe { (driver.version)(&mut version) } == SUCCESS {
        capabilities.cuda_version.store(u64::from(version.unsigned_abs()), Ordering::Relaxed);
    }
    let code = match driver.current_context() {
        // SAFETY: takes no pointers; a second call does nothing.
        Err(NOT_INITIALIZED) => unsafe { (driver.init)(0) },
        Ok(_) => SUCCESS,
        Err(other) => other,
    };
    capabilities.cuda_code.store(u64::from(code), Ordering::Relaxed);
    answer(capabilities, Question::CudaInitialized, (code == SUCCESS).into());
}

/// On the engine's thread, when a window of `cuda` is taken up: which context is current there.
pub(super) fn look_at_context(joined: &Joined, context: Context) {
    answer(&joined.segment.status().capabilities, Question::CudaContext, (!context.is_null()).into());
}

/// Something that this process came to know of itself.
pub(super) fn tell(joined: &Joined, question: Question, told: Answer) {
    answer(&joined.segment.status().capabilities, question, told);
}

fn answer(capabilities: &Capabilities, question: Question, answer: Answer) {
    let _ =
        capabilities.bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(with(word, question, answer)));
}
