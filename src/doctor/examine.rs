//! All the looks, in the order in which they are printed.

use std::path::{Path, PathBuf};

use super::finding::{Finding, Level};
use super::segments::Segment;
use super::{folder as folders, gpus, launched, machine, processes, python, segments};
use crate::wire;

/// The folder that is looked at: the one given, else the one that agent and sidecar use by default.
pub fn folder(given: Option<&Path>) -> PathBuf {
    given
        .filter(|path| !path.as_os_str().is_empty())
        .map_or_else(|| wire::segment::default_folder().as_path().to_owned(), Path::to_owned)
}

/// Looks at this machine. `python` is the interpreter whose package is looked at, `nvml` the NVML library.
pub fn examine(dir: Option<&Path>, python: &Path, nvml: &Path) -> Vec<Finding> {
    let dir = folder(dir);
    let mut findings = machine::look(&dir);
    findings.push(gpus::look(nvml));
    findings.extend(folders::look(&dir));
    let seen: Vec<Segment> = segments::list(&dir).iter().map(|path| segments::read(path)).collect();
    findings.extend(seen.iter().map(Segment::finding));
    findings.extend(segments::versions(&seen));
    let alive: Vec<i32> = seen.iter().filter_map(|segment| segment.agent_pid).collect();
    findings.extend(processes::look(Path::new("/proc"), wire::segment::user_id(), &alive));
    findings.extend(launched::look(Path::new("/proc"), &alive));
    findings.extend(python::look(python));
    findings
}

/// One line for the end.
pub fn verdict(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    match (count(Level::Bad), count(Level::Warn)) {
        (0, 0) => "all is well".into(),
        (0, warnings) => format!("nothing is bad; {warnings} to look at"),
        (bad, warnings) => format!("{bad} bad, {warnings} more to look at"),
    }
}
