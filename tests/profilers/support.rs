//! An engine with a driver and a tool that write down what they are called.

use std::path::PathBuf;

use crate::support::fakes::{Call, calls, library};
use crate::support::{Engine, Place, Sidecar};

/// What stands in for the vendor's parts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts {
    /// `Some(answers)`: a driver; the answers as `tests/fakes/cuda.c` takes them.
    pub driver: Option<&'static str>,
    /// A tool listens to NVTX.
    pub tool: bool,
    /// The tool's session; empty: none.
    pub session: &'static str,
}

/// Engine, sidecar, and the log of the stand-ins.
pub struct Bench {
    pub sidecar: Sidecar,
    pub engine: Engine,
    _place: Place,
    log: PathBuf,
}

impl Bench {
    pub fn new(parts: Parts, engine: &[&str], sidecar: &[&str]) -> Self {
        let place = Place::new();
        let log = place.path().join("calls");
        let mut environment = vec![("STEPSCOPE_TEST_CALLS", log.display().to_string())];
        if let Some(answers) = parts.driver {
            let driver = library("cuda", "libcuda.so.1", &[]);
            environment.push(("LD_LIBRARY_PATH", driver.parent().unwrap().display().to_string()));
            environment.push(("STEPSCOPE_TEST_CUDA", answers.into()));
            environment.push(("STEPSCOPE_TEST_CUDA_CONTEXT", "1".into()));
        }
        if parts.tool {
            let tool = library("nvtx_tool", "libnvtx_tool.so", &[]);
            environment.push(("NVTX_INJECTION64_PATH", tool.display().to_string()));
        }
        if !parts.session.is_empty() {
            environment.push(("NSYS_PROFILING_SESSION_ID", parts.session.into()));
        }
        Self::with_environment(place, log, &environment, engine, sidecar)
    }

    pub fn with_environment(
        place: Place,
        log: PathBuf,
        environment: &[(&str, String)],
        engine: &[&str],
        sidecar: &[&str],
    ) -> Self {
        let borrowed: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let engine = Engine::start_with(&place.segments(), engine, &borrowed);
        let sidecar = Sidecar::start(&place, sidecar);
        Self { sidecar, engine, _place: place, log }
    }

    /// What the stand-ins were called, of these names, in order.
    pub fn calls(&self, names: &[&str]) -> Vec<Call> {
        calls(&self.log).into_iter().filter(|call| names.contains(&call.name.as_str())).collect()
    }
}
