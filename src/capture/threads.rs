//! Threads of the session. Each is named, and none may be missing.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Starts one.
///
/// If it panics the sidecar ends: without it nothing can be started or ended any more. Whoever supervises us starts us
/// anew, and then the running capture is finished from its files; meanwhile the agents close by their lease.
///
/// # Errors
/// What the system said.
pub(super) fn start(name: &'static str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!("the thread {name} panicked: the sidecar ends, so that it can be restarted");
            std::process::exit(1);
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(guarded).map(drop)
}
