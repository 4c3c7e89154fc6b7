//! The environment that `stepscope exec` leaves to an engine.
//!
//! An agent that is to see NVTX has to be its injection library in every process of the engine, also below nsys, which
//! claims that place for itself: it sets `NVTX_INJECTION64_PATH` for what it starts, and the library that it preloads sets
//! it again in every process that is executed (2022.4: a wrapper between nsys and the engine is of no use). So the agent is
//! preloaded too, in front: of preloaded libraries the first is initialised last, so that it sees what nsys set, keeps
//! that in `STEPSCOPE_NVTX_NEXT`, and takes the place. nsys keeps what is in `LD_PRELOAD` and adds itself behind it, so
//! this holds whichever of the two starts the other.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What the engine is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// NVTX ranges that are iterations: a pattern for their text.
    pub nvtx_step: Option<String>,
    /// Other NVTX ranges are spans, whoever drives the steps.
    pub nvtx: bool,
    /// `module:Class.method` that runs one iteration.
    pub step: Option<String>,
    /// Name of the job.
    pub job: Option<String>,
    /// Folder of the segments.
    pub dir: Option<PathBuf>,
    /// The ranks that step together.
    pub group: Option<String>,
    /// Rank in the group.
    pub rank: Option<u32>,
    /// Ranks of the group.
    pub world_size: Option<u32>,
    /// The agent library, an absolute path.
    pub library: Option<PathBuf>,
}

/// Variables to set; `current` is the environment as it is.
///
/// # Errors
/// A sentence: the library's path can't be preloaded.
pub fn variables(
    wanted: &Wanted,
    current: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<(&'static str, OsString)>, String> {
    let current = |name: &str| current(name).filter(|value| !value.is_empty());
    let text = |value: &Option<String>| value.as_ref().map(OsString::from);
    let number = |value: Option<u32>| value.map(|n| OsString::from(n.to_string()));
    let path = |value: &Option<PathBuf>| value.as_ref().map(|p| p.clone().into_os_string());
    let mut variables: Vec<(&'static str, OsString)> = [
        ("STEPSCOPE_DIR", path(&wanted.dir)),
        ("STEPSCOPE_JOB", text(&wanted.job)),
        ("STEPSCOPE_GROUP", text(&wanted.group)),
        ("STEPSCOPE_RANK", number(wanted.rank)),
        ("STEPSCOPE_WORLD_SIZE", number(wanted.world_size)),
        ("STEPSCOPE_STEP", text(&wanted.step)),
        ("STEPSCOPE_NVTX_STEP", text(&wanted.nvtx_step)),
        ("STEPSCOPE_LIBRARY", path(&wanted.library)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    if (wanted.nvtx || wanted.nvtx_step.is_some())
        && let Some(library) = &wanted.library
    {
        if library.as_os_str().as_encoded_bytes().iter().any(|byte| b": \t\n".contains(byte)) {
            return Err(format!("{} can't be preloaded: its path has a space or a colon in it", library.display()));
        }
        if let Some(next) = current("NVTX_INJECTION64_PATH").filter(|next| next != library.as_os_str()) {
            variables.push(("STEPSCOPE_NVTX_NEXT", next));
        }
        variables.push(("NVTX_INJECTION64_PATH", library.clone().into_os_string()));
        variables.push(("LD_PRELOAD", in_front(library, current("LD_PRELOAD").as_deref())));
    }
    Ok(variables)
}

/// The library, then whatever else was to be preloaded.
fn in_front(library: &Path, preload: Option<&OsStr>) -> OsString {
    let mut all = library.as_os_str().to_owned();
    // Spaces separate as colons do.
    let rest = preload.unwrap_or_default().to_string_lossy().into_owned();
    for other in rest.split([':', ' ']).filter(|other| !other.is_empty() && Path::new(other) != library) {
        all.push(":");
        all.push(other);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wanted: &Wanted, current: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let current = |name: &str| current.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        let found = variables(wanted, current).expect("variables");
        found.into_iter().map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect()
    }

    fn nvtx() -> Wanted {
        Wanted { nvtx_step: Some("step *".into()), library: Some("/l/a.so".into()), ..Wanted::default() }
    }

    #[test]
    fn the_tool_that_was_there_is_kept_as_the_next_one() {
        let found = of(&nvtx(), &[("NVTX_INJECTION64_PATH", "/nsys.so"), ("LD_PRELOAD", "/p.so:/q.so")]);
        assert_eq!(
            found,
            [
                ("STEPSCOPE_NVTX_STEP", "step *".to_owned()),
                ("STEPSCOPE_LIBRARY", "/l/a.so".to_owned()),
                ("STEPSCOPE_NVTX_NEXT", "/nsys.so".to_owned()),
                ("NVTX_INJECTION64_PATH", "/l/a.so".to_owned()),
                ("LD_PRELOAD", "/l/a.so:/p.so:/q.so".to_owned()),
            ]
        );
    }

    #[test]
    fn exec_inside_exec_changes_nothing_and_loses_nobody() {
        let inside =
            [("NVTX_INJECTION64_PATH", "/l/a.so"), ("STEPSCOPE_NVTX_NEXT", "/n.so"), ("LD_PRELOAD", "/l/a.so")];
        let found = of(&nvtx(), &inside);
        assert!(!found.iter().any(|(name, _)| *name == "STEPSCOPE_NVTX_NEXT"), "it stays as it is: {found:?}");
        assert!(found.contains(&("LD_PRELOAD", "/l/a.so".to_owned())));
    }

    #[test]
    fn without_nvtx_nothing_is_preloaded() {
        let wanted =
            Wanted { step: Some("m:f".into()), rank: Some(3), library: Some("/l/a.so".into()), ..Wanted::default() };
        let found = of(&wanted, &[]);
        assert_eq!(
            found.iter().map(|v| v.0).collect::<Vec<_>>(),
            ["STEPSCOPE_RANK", "STEPSCOPE_STEP", "STEPSCOPE_LIBRARY"]
        );
        let spaced = Wanted { library: Some("/a b/l.so".into()), ..nvtx() };
        assert!(variables(&spaced, |_| None).is_err());
    }
}
