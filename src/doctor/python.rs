//! The Python package, as the engine's Python sees it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::finding::Finding;

const ABOUT: &str = "python";

/// Says what is there without importing any of it.
const SCRIPT: &str = r#"
import importlib.metadata as m, importlib.util as u, sys
try:
    version = m.version("stepscope")
except m.PackageNotFoundError:
    version = ""
plugin = any(e.value.startswith("stepscope") for e in m.entry_points(group="vllm.general_plugins"))
try:
    vllm = m.version("vllm")
except m.PackageNotFoundError:
    vllm = ""
print("\t".join(["stepscope", sys.executable, version, str(plugin), vllm]))
"#;

/// Whether the package is there, of our version, and registered as a vLLM plugin.
pub(super) fn look(python: &Path) -> Vec<Finding> {
    let name = python.display();
    let output = Command::new(python).args(["-I", "-c", SCRIPT]).stdin(Stdio::null()).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            let mend = "name the engine's Python with --python, if the engine is a Python program";
            return vec![Finding::warn(ABOUT, format!("{name} can't be run: {error}"), mend)];
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
    let ["stepscope", executable, version, plugin, vllm] = fields[..] else {
        let mend = "name the engine's Python (3.10 or later) with --python";
        return vec![Finding::warn(ABOUT, format!("{name} does not answer as a Python should"), mend)];
    };
    vec![judge(executable, version, plugin == "True", vllm)]
}

fn judge(executable: &str, version: &str, plugin: bool, vllm: &str) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    let with = if vllm.is_empty() { "no vLLM".into() } else { format!("vLLM {vllm}") };
    if version.is_empty() {
        let what = format!("{executable} has {with} and no stepscope package");
        let mend = "pip install ./python with the engine's Python; if that is another one, name it with --python";
        return if vllm.is_empty() { Finding::warn(ABOUT, what, mend) } else { Finding::bad(ABOUT, what, mend) };
    }
    let what = format!("{executable} has stepscope {version} and {with}");
    if !plugin {
        let mend = "install the package anew (pip install --force-reinstall ./python): its vLLM entry point is missing";
        return Finding::bad(ABOUT, what, mend);
    }
    if version != ours {
        return Finding::warn(ABOUT, what, format!("this command is {ours}: use one version on both sides"));
    }
    Finding::ok(ABOUT, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn vllm_without_the_package_is_bad_and_a_python_without_either_is_not() {
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(judge("p", "", false, "0.32.0").level, Level::Bad);
        assert_eq!(judge("p", "", false, "").level, Level::Warn);
        assert_eq!(judge("p", ours, true, "0.32.0").level, Level::Ok);
        assert_eq!(judge("p", ours, false, "0.32.0").level, Level::Bad);
        assert_eq!(judge("p", "0.0.9", true, "0.32.0").level, Level::Warn);
    }
}
