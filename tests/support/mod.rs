//! Real processes to test with: the simulated engine, the sidecar, and plain HTTP. Everything ends with its handle.

pub mod engine;
pub mod engine_http;
pub mod fakes;
pub mod http;
pub mod sidecar;

pub use engine::Engine;
pub use http::request;
pub use sidecar::Sidecar;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::test_runner::Config as ProptestConfig;
use serde_json::Value;

/// Long enough for a machine that does other things too; nothing waits this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The command under test.
pub fn stepscope() -> PathBuf {
    env!("CARGO_BIN_EXE_stepscope").into()
}

/// Looks until `found` finds something.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder for one test's segments and captures, in shared memory as in real life.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("stepscope-test-").tempdir_in("/dev/shm").unwrap();
        for name in ["segments", "data"] {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().mode(0o700).create(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn segments(&self) -> PathBuf {
        self.folder.path().join("segments")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// The rows of a ledger.
pub fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A number in JSON.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Generated cases: `few`, or as many as `PROPTEST_CASES` asks for, if that is more. A seed that fails is printed and kept
/// below `proptest-regressions/`, where it is tried first from then on: commit it with what mends it.
pub fn at_least(few: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").map(|_| ProptestConfig::default().cases);
    ProptestConfig::with_cases(asked.unwrap_or(0).max(few))
}
