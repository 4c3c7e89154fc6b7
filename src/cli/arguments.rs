//! Everything that can be typed after `stepscope`.
#![allow(rustdoc::bare_urls, rustdoc::invalid_html_tags, reason = "these comments are help texts")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

use super::file_arguments::MergeArguments;
pub use super::report_arguments::ReportArguments;
pub use super::run_arguments::{PhaseArguments, RunArguments};
use super::wanted::Wanted;
pub use super::window_arguments::WindowArguments;
use crate::config::ServeArguments;

/// Slices an exact window of engine iterations out of a running LLM inference server, as one Chrome trace.
#[derive(Debug, Parser)]
#[command(
    name = "stepscope",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_long_help = super::exit::HELP,
    after_help = "`stepscope --help` lists the exit codes; `stepscope COMMAND --help` explains a command."
)]
pub struct Cli {
    /// End when standard input is at its end; for children of `demo`
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar: find engines, capture windows, serve HTTP
    Serve(Box<ServeArguments>),
    /// Capture a window of a simulated engine, end to end, without a GPU or a model
    ///
    /// Starts a simulated engine (two ranks in lockstep, two real processes, batches coming and going) and a
    /// sidecar on a free loopback port, posts /start_profile to it, waits until the capture is done, writes the trace
    /// and a report of what happened in the window. Everything else it started or made is gone afterwards.
    Demo(DemoArguments),
    /// Start a capture
    ///
    /// Returns as soon as the ranks agreed on the first iteration; the capture goes on behind it. What is not given
    /// is left to the sidecar's defaults. One capture runs at a time.
    ///
    /// With --wait the command stays until the trace is written and its exit code tells how it went; ending the
    /// command does not end the capture.
    Start(StartArguments),
    /// Stop the running capture
    ///
    /// All ranks close at the same iteration. Stopping before the window opened cancels the capture; with nothing
    /// running it does nothing and succeeds.
    Stop(StopArguments),
    /// Show attached ranks, refused segments and the running capture
    Status(StatusArguments),
    /// List captures, or remove them
    Captures(CapturesArguments),
    /// Download a capture's trace, or its ledger
    ///
    /// Waits for a capture that is not over yet. An incomplete capture is delivered all the same: what is missing
    /// is printed and the exit code is 5.
    ///
    /// Open the trace at https://ui.perfetto.dev (Open trace file) or in chrome://tracing; both read .json and
    /// .json.gz, and the first also .pftrace. What ends in .csv or .jsonl gets the ledger: one row per iteration.
    Get(GetArguments),
    /// Say what happened in a captured window, or what differs between two
    ///
    /// Tables of iterations by phase, the slowest ones, ranks and the straggler, requests, what the capture itself took
    /// and what is missing; and a verdict, with its evidence. What the data does not carry is said to be not known.
    ///
    /// With two captures: which iterations of the same phase and about the same batch are longer or shorter beyond noise.
    /// A file that --json wrote stands for a capture, so that two servers can be compared.
    ///
    /// An incomplete capture is reported all the same, with exit code 5.
    ///
    /// Example: stepscope report latest --html report.html
    Report(ReportArguments),
    /// Run a benchmark with a capture around it, on any number of servers
    ///
    /// Starts a capture on every target at once, runs the command, and stops the captures when it ends, fails or is
    /// interrupted. The command keeps its input, output, exit code and signals; a profiler that fails never fails the
    /// run, it is warned of and put on record. What is left in the folder: profiling.json and profiling.txt, the trace of
    /// every sidecar, and of two or more all of them merged into one.
    ///
    /// A target is a sidecar, or an engine with a /start_profile of its own, by the address of its inference endpoint
    /// (/v1 at the end is taken off). Sidecars are armed first and opened at one moment. With --phase nothing is
    /// captured until the benchmark says so: `stepscope phase start` and `stepscope phase stop`, from the command.
    ///
    /// If this command is killed (SIGKILL), captures end by their caps: --max-duration-ms, or --max-iterations.
    ///
    /// Examples:
    ///
    /// stepscope run --delay-iterations 100 --max-iterations 20 -- vllm bench serve --model MODEL
    ///
    /// stepscope run --target http://a:8001 --target http://b:8001/v1 --out prof -- ./bench.sh
    ///
    /// stepscope run --targets replicas.txt --phase -- ./bench.sh
    Run(Box<RunArguments>),
    /// Say that a measured phase begins or ends, from inside `run --phase`
    ///
    /// Waits until every target is armed, or stopped. Outside of `stepscope run --phase`, or where no target could be
    /// started, it says so on standard error and succeeds all the same, so that a script runs with and without a
    /// profiler; --strict makes that exit code 1.
    ///
    /// Example: stepscope phase start; ./measure; stepscope phase stop
    Phase(PhaseArguments),
    /// Run an engine that knows nothing of us so that its iterations are seen
    ///
    /// Sets the environment and becomes the command (same process, same exit code). Name what an iteration is: NVTX ranges
    /// that the engine emits (--nvtx-step), or a Python function (--step, with our package in the engine's Python). With
    /// --nvtx-step or --nvtx the agent library is preloaded and stands in front of whatever tool listens to NVTX, nsys
    /// included: the tool sees every range as before, whether it is started inside `exec` or around it.
    ///
    /// Example: stepscope exec --nvtx-step 'execute_*' -- ./engine
    Exec(Box<ExecArguments>),
    /// Print the nsys line that slices our windows out of an engine, or run it
    ///
    /// nsys then writes one report per capture: it waits for our NVTX range `capture`, or for cudaProfilerStart. The
    /// line is checked against the nsys of this machine and goes to standard output, ready to be pasted; what it takes
    /// to start a capture goes to standard error.
    ///
    /// With --run it is run, in the foreground: nsys gets the terminal and the signals, its exit code is ours, and in
    /// the end it is said which report holds which capture.
    ///
    /// Example: stepscope nsys --run -o decode -- vllm serve MODEL
    Nsys(NsysArguments),
    /// Say which capture each report of nsys holds
    ///
    /// Reads the reports with nsys's own tools and compares processes, iterations and times with the captures that the
    /// sidecar has. What can't be told for certain is said so, never guessed.
    Reports(ReportsArguments),
    /// Merge captures and other tools' traces into one
    ///
    /// Takes traces that `get` wrote, those of PyTorch's profiler (vLLM's and SGLang's too), any other Chrome trace, packed or
    /// not, and reports of nsys. Processes and flow ids are kept apart, times are put on one clock, and what is broken in
    /// a file is left out or mended, counted and said. Memory stays below 64 MB however long the files are.
    ///
    /// Times count from what a file states (baseTimeNanoseconds); a file that states nothing is left out, unless --offset or
    /// --force places it. A report of nsys is laid on our iterations by the NVTX ranges in it. The merge is refused where
    /// the clocks are less certain than an iteration is long; --force overrides that too.
    ///
    /// Example: stepscope merge -o all.json.gz capture.json.gz rank0.1234.pt.trace.json.gz
    Merge(MergeArguments),
    /// Find out why an engine is not seen or not captured, on this machine
    ///
    /// Looks at the segment folder, every segment in it, this machine's kernel and memory, the processes that look
    /// like an engine, how the attached ones were started and what an nsys around them will not capture, the Python
    /// package and the sidecar, and says for each thing that is wrong what mends it. It
    /// only reads: neither the engine nor the sidecar is disturbed.
    ///
    /// The exit code is 1 if anything is bad.
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    ///
    /// For example: stepscope completions bash > ~/.local/share/bash-completion/completions/stepscope
    Completions(CompletionsArguments),
    /// A simulated engine: what `demo` runs
    #[command(hide = true)]
    Engine(EngineArguments),
    /// Asks the CUDA driver: what `doctor` runs
    #[command(hide = true)]
    CudaDriver,
}

/// Which sidecar, and how to speak to it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sidecar")]
pub struct ConnectArguments {
    /// Where the sidecar listens
    #[arg(long, env = "STEPSCOPE_URL", hide_env_values = true, default_value = "http://127.0.0.1:8001")]
    pub url: String,
    /// Bearer token, if the sidecar wants one; better set in the variable, since arguments can be seen by others
    #[arg(long, env = "STEPSCOPE_TOKEN", hide_env_values = true)]
    pub token: Option<SecretString>,
    /// Certificates (PEM) to trust instead of the system's, where the sidecar speaks HTTPS
    #[arg(long, value_name = "FILE", env = "STEPSCOPE_CACERT", hide_env_values = true)]
    pub cacert: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArguments {
    /// Print the sidecar's JSON unchanged instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Whether to wait for the end.
#[derive(Debug, Clone, Copy, Args)]
pub struct WaitArguments {
    /// Wait until the capture is over and its trace is written, at most this long [600 if no number is given]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "600")]
    pub wait: Option<u64>,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Folder for the trace and the report; made if it is not there
    #[arg(long, short, value_name = "DIR", default_value = "stepscope-demo")]
    pub out: PathBuf,
    /// Iterations to skip
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub delay_iterations: u64,
    /// Iterations to capture
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub max_iterations: u64,
    /// Ranks of the simulated engine
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub ranks: u32,
    /// Print the capture's JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `start`.
#[derive(Debug, Args)]
pub struct StartArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub window: WindowArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub wait: WaitArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `stop`.
#[derive(Debug, Args)]
pub struct StopArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub wait: WaitArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `captures`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CapturesArguments {
    /// What to do with them; list them if nothing is given.
    #[command(subcommand)]
    pub command: Option<CapturesCommand>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `captures ...`.
#[derive(Debug, Subcommand)]
pub enum CapturesCommand {
    /// Remove captures and their files
    Rm(RemoveArguments),
}

/// `captures rm`.
#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// Which captures, by id
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// Which capture, by id; `latest` is the newest
    #[arg(value_name = "ID", default_value = "latest")]
    pub id: String,
    /// File or folder to write to, or - for standard output [the sidecar's file name, in this folder]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Format [what FILE ends in, else json.gz]
    #[arg(long, value_name = "FORMAT", value_parser = Wanted::parser())]
    pub format: Option<Wanted>,
    /// The ledger instead of the trace: one row per iteration, as JSON lines unless FILE or --format says csv
    #[arg(long)]
    pub iterations: bool,
    /// Only this rank, as HolisticTraceAnalysis wants it: one file per rank
    #[arg(long, value_name = "N")]
    pub rank: Option<u32>,
    /// Also put the files of the engine's own profiler into this folder; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// Also merge our trace and the engine's own into this file (.json, .json.gz or .json.zst)
    #[arg(long, value_name = "FILE")]
    pub merged: Option<PathBuf>,
    /// Wait at most this long for a capture that is not over yet
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Print the capture's JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `exec`.
#[derive(Debug, Args)]
pub struct ExecArguments {
    /// NVTX range that is an iteration: TEXT or PREFIX*, and @DOMAIN where only one is meant
    #[arg(long, value_name = "PATTERN")]
    pub nvtx_step: Option<String>,
    /// Show the engine's NVTX ranges in traces; --nvtx-step does so anyway
    #[arg(long)]
    pub nvtx: bool,
    /// Each call of this Python function is an iteration: module:Class.method or module:function
    #[arg(long, value_name = "FUNCTION")]
    pub step: Option<String>,
    /// Name of the job [the engine's instance id, else that of the process that started it, else random]
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Folder in which engine and sidecar meet [STEPSCOPE_DIR, else /dev/shm/stepscope-<uid>]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The ranks that step together, by name [group 0]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Rank in the group [RANK, else LOCAL_RANK, else 0]
    #[arg(long, value_name = "N")]
    pub rank: Option<u32>,
    /// Ranks of the group [WORLD_SIZE, else not known]
    #[arg(long, value_name = "N")]
    pub world_size: Option<u32>,
    /// The agent library, libstepscope.so [beside this command, or in the Python package beside it]
    #[arg(long, value_name = "FILE", env = "STEPSCOPE_LIBRARY", hide_env_values = true)]
    pub library: Option<PathBuf>,
    /// The engine and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `nsys`.
#[derive(Debug, Args)]
pub struct NsysArguments {
    /// Run the line instead of printing it
    #[arg(long)]
    pub run: bool,
    /// What begins and ends a report: nvtx is our range and works anywhere; cuda is cudaProfilerStart, which starts with
    /// profiler cuda call [cuda if there is a GPU, else nvtx]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub capture_range: Option<CaptureRange>,
    /// Reports to make; later captures are not recorded [as many as there are captures]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub captures: Option<u32>,
    /// Name of the reports, without ending; nsys adds .1, .2, ...
    #[arg(long, short, value_name = "NAME", default_value = "report")]
    pub output: String,
    /// What nsys traces [cuda,nvtx if there is a GPU, else nvtx]
    #[arg(long, short, value_name = "LIST")]
    pub trace: Option<String>,
    /// Kernels inside CUDA graphs: each one (node), or each graph as a whole (graph), which costs the engine less
    #[arg(long, value_enum, default_value = "node", value_name = "HOW")]
    pub cuda_graph_trace: GraphTrace,
    /// Trace workers that are forked and do not exec; nsys warns that it may crash them, and spawn is better
    #[arg(long)]
    pub trace_forks: bool,
    /// A further option for nsys, as one word, for example --nsys-option=--gpu-metrics-device=all; it wins over ours
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub nsys_option: Vec<String>,
    /// The nsys to use
    #[arg(long, value_name = "FILE", default_value = "nsys")]
    pub nsys: PathBuf,
    /// The engine and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `--capture-range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureRange {
    /// Our NVTX range.
    Nvtx,
    /// cudaProfilerStart.
    Cuda,
}

/// `--cuda-graph-trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphTrace {
    /// Whole graphs.
    Graph,
    /// Each kernel.
    Node,
}

/// `reports`.
#[derive(Debug, Args)]
pub struct ReportsArguments {
    /// Reports (.nsys-rep, .qdstrm), the name given to --output, or a folder
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// The nsys to read them with
    #[arg(long, value_name = "FILE", default_value = "nsys")]
    pub nsys: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Folder in which engines and sidecar meet [/dev/shm/stepscope-<uid>]
    #[arg(long, value_name = "DIR", env = "STEPSCOPE_DIR", hide_env_values = true)]
    pub dir: Option<PathBuf>,
    /// Python that runs the engine; its stepscope package is looked at
    #[arg(long, value_name = "FILE", default_value = "python3")]
    pub python: PathBuf,
    /// The NVML library
    #[arg(
        long,
        value_name = "FILE",
        env = "STEPSCOPE_NVML_LIBRARY",
        hide_env_values = true,
        default_value = "libnvidia-ml.so.1"
    )]
    pub nvml_library: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArguments,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// Which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `engine`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct EngineArguments {
    /// Read by the simulator itself; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<String>,
}
