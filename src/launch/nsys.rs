//! The nsys of this machine, and the line that slices our windows with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::line::{Line, option};

/// What `-c nvtx` waits for: the agent's range around a window.
pub const CAPTURE: &str = "capture@stepscope";

/// What begins and ends a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Our NVTX range; works without a GPU, and with every profiler of a start.
    Nvtx,
    /// cudaProfilerStart and cudaProfilerStop, which a start with `profiler: cuda` calls.
    Cuda,
}

/// How kernels inside CUDA graphs are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphs {
    /// A graph is one bar.
    Graph,
    /// Each kernel of it; dearer.
    Node,
}

/// What is wanted of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What begins and ends a report.
    pub range: Range,
    /// So many reports; `None`: as many as there are captures.
    pub captures: Option<u32>,
    /// Where the reports go, without an ending.
    pub output: String,
    /// What is traced; `None`: what is right for the machine.
    pub trace: Option<String>,
    /// How CUDA graphs are traced.
    pub graphs: Graphs,
    /// Trace workers that are forked and do not exec.
    pub forks: bool,
    /// Further options, each one word; they win over ours.
    pub options: Vec<String>,
    /// The engine.
    pub command: Vec<String>,
}

/// An nsys that was found.
#[derive(Debug, Clone)]
pub struct Nsys {
    /// Its path, as given or found in `PATH`.
    pub program: PathBuf,
    /// What it calls its version.
    pub version: String,
    help: String,
}

/// Why no nsys can be used.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It can't be run.
    #[error("{program} can't be run: {source}. Install NVIDIA Nsight Systems, or name its nsys with --nsys")]
    Run {
        /// What was tried.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{program} does not answer as nsys does: {answer:?}")]
    Other {
        /// What was tried.
        program: String,
        /// What it said.
        answer: String,
    },
}

impl Nsys {
    /// Asks it for its version and its options.
    ///
    /// # Errors
    /// See [`FindError`].
    pub fn find(program: &Path) -> Result<Self, FindError> {
        let ask = |arguments: &[&str]| {
            let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
            let output = output.map_err(|source| FindError::Run { program: program.display().to_string(), source })?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let answer = ask(&["--version"])?;
        let Some((_, version)) = answer.trim().rsplit_once("version ") else {
            return Err(FindError::Other { program: program.display().to_string(), answer });
        };
        Ok(Self { program: program.to_owned(), version: version.to_owned(), help: ask(&["profile", "--help"])? })
    }

    /// Whether it has this option of `profile`. `true` where its help can't be read.
    pub fn has(&self, name: &str) -> bool {
        self.help.trim().is_empty() || self.help.contains(&format!("--{name}="))
    }

    /// What it can trace; empty where its help can't be read.
    pub fn traces(&self) -> Vec<&str> {
        let Some((_, about)) = self.help.split_once("-t, --trace=") else { return Vec::new() };
        let about = about.split("Select").next().unwrap_or_default();
        let names = about.split('\'').skip(1).step_by(2);
        let is_name =
            |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || "-_".contains(c));
        names.filter(is_name).collect()
    }
}

/// Whether there is an NVIDIA GPU, below this root directory. (`/dev/nvidiactl` proves nothing: it can be a left-over.)
pub fn has_gpu(root: &Path) -> bool {
    let is_device = |name: &str| name.strip_prefix("nvidia").is_some_and(|n| n.parse::<u32>().is_ok());
    let devices = std::fs::read_dir(root.join("dev")).into_iter().flatten().flatten();
    std::fs::read_dir(root.join("proc/driver/nvidia/gpus")).is_ok_and(|mut gpus| gpus.next().is_some())
        || devices.into_iter().any(|entry| entry.file_name().to_str().is_some_and(is_device))
}

/// The line. Options that this nsys does not have are left out; without an nsys all are written.
pub fn line(wanted: &Wanted, nsys: Option<&Nsys>, program: &str, gpu: bool) -> Line {
    let mut line = Line {
        environment: Vec::new(),
        program: program.to_owned(),
        options: Vec::new(),
        command: wanted.command.clone(),
    };
    let mut set = |name: &str, value: &str| {
        if nsys.is_none_or(|nsys| nsys.has(name)) {
            line.set(name, value);
        }
    };
    let cuda = wanted.range == Range::Cuda || gpu;
    let trace = wanted.trace.clone().unwrap_or_else(|| if cuda { "cuda,nvtx".into() } else { "nvtx".into() });
    set("trace", &trace);
    // Sampling slows the engine down, needs rights that containers lack, and is not what a window is looked at for.
    set("sample", "none");
    set("cpuctxsw", "none");
    if trace.split(',').any(|t| t == "cuda") {
        set("cuda-graph-trace", if wanted.graphs == Graphs::Node { "node" } else { "graph" });
    }
    match wanted.range {
        Range::Nvtx => {
            set("capture-range", "nvtx");
            set("nvtx-capture", CAPTURE);
        }
        Range::Cuda => set("capture-range", "cudaProfilerApi"),
    }
    set("capture-range-end", &wanted.captures.map_or("repeat".into(), |count| format!("repeat:{count}")));
    if wanted.forks {
        set("trace-fork-before-exec", "true");
    }
    set("force-overwrite", "true");
    set("output", &wanted.output);
    for word in &wanted.options {
        if let Some((name, value)) = option(word) {
            line.set(&name, &value.unwrap_or_default());
        }
    }
    if is_vllm(&line.command) {
        line.environment.push((KEEP_ENVIRONMENT.0.into(), KEEP_ENVIRONMENT.1.into()));
        // Forked workers are not traced, and a CUDA context does not survive a fork: vLLM spawns its workers if told so.
        if !wanted.forks {
            line.environment.push(("VLLM_WORKER_MULTIPROC_METHOD".into(), "spawn".into()));
        }
    }
    line
}

/// Keeps setproctitle, with which vLLM names its processes, from writing over the environment: nsys's library keeps pointers
/// into it, and then waits for a range of another name (seen with nsys 2022.4: no NVTX range began a report).
pub const KEEP_ENVIRONMENT: (&str, &str) = ("SPT_NOENV", "1");

/// Whether it runs vLLM, as far as its words tell.
fn is_vllm(command: &[String]) -> bool {
    command.iter().any(|word| {
        word.starts_with("vllm.") || Path::new(word).file_name().is_some_and(|name| name.as_encoded_bytes() == b"vllm")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
\t-c, --capture-range=\n\t--capture-range-end=\n\t--cpuctxsw=\n\t-f, --force-overwrite=\n\t-o, --output=\n\t-p, --nvtx-capture=
\t-s, --sample=\n\t-t, --trace=\n\n\t   Possible values are 'cuda', 'nvtx' or 'none'.\n\t   Select the API(s) to trace. 'x'.\n";

    fn wanted(range: Range, command: &[&str]) -> Wanted {
        Wanted {
            range,
            captures: None,
            output: "report".into(),
            trace: None,
            graphs: Graphs::Node,
            forks: false,
            options: Vec::new(),
            command: command.iter().map(|&w| w.to_owned()).collect(),
        }
    }

    #[test]
    fn the_line_for_vllm_on_a_gpu() {
        let line = line(&wanted(Range::Cuda, &["/usr/bin/vllm", "serve", "m"]), None, "nsys", true);
        assert_eq!(
            line.to_string(),
            "SPT_NOENV=1 VLLM_WORKER_MULTIPROC_METHOD=spawn nsys profile --trace=cuda,nvtx --sample=none --cpuctxsw=none \
             --cuda-graph-trace=node --capture-range=cudaProfilerApi --capture-range-end=repeat --force-overwrite=true \
             --output=report /usr/bin/vllm serve m"
        );
    }

    #[test]
    fn the_line_without_a_gpu_and_options_that_replace_ours() {
        let mut wanted = wanted(Range::Nvtx, &["./engine"]);
        wanted.captures = Some(3);
        wanted.options = vec!["-s=process-tree".into(), "--stats=true".into()];
        assert_eq!(
            line(&wanted, None, "nsys", false).to_string(),
            "nsys profile --trace=nvtx --sample=process-tree --cpuctxsw=none --capture-range=nvtx \
             --nvtx-capture=capture@stepscope --capture-range-end=repeat:3 --force-overwrite=true --output=report \
             --stats=true ./engine"
        );
    }

    #[test]
    fn an_option_that_this_nsys_lacks_is_left_out() {
        let nsys = Nsys { program: "nsys".into(), version: "1".into(), help: HELP.into() };
        assert_eq!(nsys.traces(), ["cuda", "nvtx", "none"]);
        let line = line(&wanted(Range::Cuda, &["./engine"]), Some(&nsys), "nsys", true);
        assert_eq!(line.get("cuda-graph-trace"), None);
        assert_eq!(line.get("capture-range"), Some("cudaProfilerApi"));
    }
}
