//! Every environment variable of Stepscope: who reads it, what it sets, its default and its unit.
//!
//! The one table ([`VARIABLES`]) is what the sidecar parses and what the README shows. A `STEPSCOPE_` variable that is
//! not in it is an error of `serve`, save for those that Kubernetes makes up for a service called `stepscope`.

/// Who reads a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// `stepscope serve`.
    Sidecar,
    /// The agent and its Python package, in the engine.
    Agent,
    /// Both.
    Both,
    /// The commands that call a sidecar.
    Client,
}

/// What a value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Words with commas between them.
    List,
    /// `true`, `false`, `1`, `0`, `yes`, `no`, `on` or `off`.
    Switch,
}

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name, `STEPSCOPE_…`.
    pub name: &'static str,
    /// Who reads it.
    pub reader: Reader,
    /// The key of the settings file it stands for, dotted; empty when it is no setting of the sidecar.
    pub key: &'static str,
    /// What it has to look like.
    pub kind: Kind,
    /// Its default, in words.
    pub default: &'static str,
    /// What it does, with its unit.
    pub about: &'static str,
}

const fn sidecar(
    name: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Variable {
    Variable { name, reader: Reader::Sidecar, key, kind, default, about }
}

const fn other(name: &'static str, reader: Reader, default: &'static str, about: &'static str) -> Variable {
    Variable { name, reader, key: "", kind: Kind::Text, default, about }
}

/// All of them.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "STEPSCOPE_DIR",
        reader: Reader::Both,
        key: "dir",
        kind: Kind::Text,
        default: "/dev/shm/stepscope-<uid>",
        about: "folder of the segments, the same for engine and sidecar",
    },
    sidecar("STEPSCOPE_LISTEN", "listen", Kind::Text, "127.0.0.1:8001", "address and port of HTTP"),
    sidecar(
        "STEPSCOPE_UPSTREAM",
        "upstream",
        Kind::Text,
        "none",
        "the engine, http://HOST:PORT: requests that are not ours are passed on to it",
    ),
    sidecar(
        "STEPSCOPE_DATA",
        "data",
        Kind::Text,
        "$XDG_DATA_HOME/stepscope, else ~/.local/share/stepscope, else /var/lib/stepscope",
        "folder of the captures",
    ),
    sidecar("STEPSCOPE_TRUST_GROUP", "trust_group", Kind::Switch, "false", "take segments of the folder's group too"),
    Variable {
        name: "STEPSCOPE_TOKEN",
        reader: Reader::Both,
        key: "token",
        kind: Kind::Text,
        default: "none",
        about: "bearer token: what the sidecar asks for, and what the commands and the routes in vLLM's server bring",
    },
    sidecar(
        "STEPSCOPE_TOKEN_FILE",
        "token_file",
        Kind::Text,
        "none",
        "file that holds the bearer token (the sidecar, and the routes in vLLM's server)",
    ),
    sidecar(
        "STEPSCOPE_TOKENS_FILE",
        "tokens_file",
        Kind::Text,
        "none",
        "file of several tokens, each with a name and its rights",
    ),
    sidecar(
        "STEPSCOPE_OPEN_PROFILE_ROUTES",
        "open_profile_routes",
        Kind::List,
        "none",
        "networks whose callers may start and stop without a token",
    ),
    sidecar(
        "STEPSCOPE_ALLOWED_HOST",
        "allowed_host",
        Kind::List,
        "none",
        "names under which callers without a token are answered too",
    ),
    sidecar(
        "STEPSCOPE_AUDIT_LOG",
        "audit_log",
        Kind::Text,
        "none",
        "file in which each start, opening, stop and removal is written down",
    ),
    sidecar("STEPSCOPE_TLS_CERT", "tls_cert", Kind::Text, "none", "certificate with its chain, PEM: serve HTTPS"),
    sidecar("STEPSCOPE_TLS_KEY", "tls_key", Kind::Text, "none", "private key of the certificate, PEM"),
    sidecar("STEPSCOPE_PROFILING", "profiling", Kind::Switch, "true", "whether captures can be started at all"),
    sidecar(
        "STEPSCOPE_DEFAULT_DELAY_ITERATIONS",
        "default_delay_iterations",
        Kind::Integer,
        "0",
        "iterations skipped when a start does not say",
    ),
    sidecar(
        "STEPSCOPE_DEFAULT_MAX_ITERATIONS",
        "default_max_iterations",
        Kind::Integer,
        "0",
        "iterations wanted when a start does not say; 0 is until stop",
    ),
    sidecar(
        "STEPSCOPE_DEFAULT_PROFILER",
        "default_profiler",
        Kind::Text,
        "steps",
        "profiler when a start does not say: steps, cuda or engine",
    ),
    sidecar(
        "STEPSCOPE_MAX_DURATION_MS",
        "max_duration_ms",
        Kind::Integer,
        "3600000",
        "longest window, milliseconds; with the profiler cuda 60000 unless the start says max_duration_ms",
    ),
    sidecar(
        "STEPSCOPE_MAX_WAIT_MS",
        "max_wait_ms",
        Kind::Integer,
        "3600000",
        "longest wait for a window, milliseconds",
    ),
    sidecar("STEPSCOPE_MAX_EVENTS", "max_events", Kind::Integer, "0", "most records of a capture; 0 is without bound"),
    sidecar("STEPSCOPE_MAX_BYTES", "max_bytes", Kind::Integer, "2147483648", "most bytes of a capture"),
    sidecar(
        "STEPSCOPE_BUFFER_BYTES",
        "buffer_bytes",
        Kind::Integer,
        "67108864",
        "memory for a capture's records while the disk does not take them, bytes; 0 is none",
    ),
    sidecar("STEPSCOPE_LEASE_MS", "lease_ms", Kind::Integer, "10000", "lease of an open window, milliseconds"),
    sidecar(
        "STEPSCOPE_RETENTION_MAX_AGE_HOURS",
        "retention.max_age_hours",
        Kind::Integer,
        "0",
        "oldest capture kept, hours; 0 is without bound",
    ),
    sidecar(
        "STEPSCOPE_RETENTION_MAX_CAPTURES",
        "retention.max_captures",
        Kind::Integer,
        "0",
        "most captures kept; 0 is without bound",
    ),
    sidecar(
        "STEPSCOPE_RETENTION_MAX_BYTES",
        "retention.max_bytes",
        Kind::Integer,
        "0",
        "most bytes of all captures; 0 is without bound",
    ),
    sidecar(
        "STEPSCOPE_NVML_PERIOD_MS",
        "nvml.period_ms",
        Kind::Integer,
        "1000",
        "how often GPUs are sampled without a window, milliseconds; 0 is not at all",
    ),
    sidecar(
        "STEPSCOPE_NVML_WINDOW_PERIOD_MS",
        "nvml.window_period_ms",
        Kind::Integer,
        "50",
        "how often GPUs are sampled in a window, milliseconds; 0 leaves them out of captures",
    ),
    sidecar("STEPSCOPE_NVML_LIBRARY", "nvml.library", Kind::Text, "libnvidia-ml.so.1", "the NVML library"),
    sidecar(
        "STEPSCOPE_ENGINE_URL",
        "engine.url",
        Kind::Text,
        "none",
        "the engine's own HTTP, for the profiler engine; none: upstream",
    ),
    sidecar(
        "STEPSCOPE_ENGINE_KIND",
        "engine.kind",
        Kind::Text,
        "none",
        "which engine that is: vllm, sglang or tensorrt-llm; none: it is asked",
    ),
    sidecar(
        "STEPSCOPE_ENGINE_PROFILE_DIR",
        "engine.profile_dir",
        Kind::Text,
        "none",
        "folder that the engine's profiler writes to, as the sidecar sees it",
    ),
    sidecar("STEPSCOPE_ENGINE_TOKEN", "engine.token", Kind::Text, "none", "bearer token that the engine asks for"),
    sidecar("STEPSCOPE_ENGINE_TOKEN_FILE", "engine.token_file", Kind::Text, "none", "file that holds that token"),
    sidecar(
        "STEPSCOPE_ENGINE_PATIENCE_MS",
        "engine.patience_ms",
        Kind::Integer,
        "1800000",
        "how long the engine may take to stop its profiler and to write, milliseconds",
    ),
    sidecar(
        "STEPSCOPE_START_RATE_PER_SECOND",
        "start_rate_per_second",
        Kind::Number,
        "10",
        "starts accepted per second and caller, twice as many at once; 0 is without bound",
    ),
    sidecar(
        "STEPSCOPE_SHUTDOWN_PATIENCE_MS",
        "shutdown_patience_ms",
        Kind::Integer,
        "8000",
        "how long a shutdown waits for a running capture, milliseconds",
    ),
    sidecar("STEPSCOPE_SELF_TRACE", "self_trace", Kind::Text, "none", "file for a Chrome trace of the service itself"),
    sidecar("STEPSCOPE_LOG_LEVEL", "log.level", Kind::Text, "info", "what is logged: a level or directives"),
    sidecar("STEPSCOPE_LOG_FORMAT", "log.format", Kind::Text, "text", "how log lines look: text or json"),
    other("STEPSCOPE_CONFIG", Reader::Sidecar, "none", "the settings file (TOML)"),
    other("STEPSCOPE_URL", Reader::Client, "http://127.0.0.1:8001", "the sidecar that the commands call"),
    other(
        "STEPSCOPE_CACERT",
        Reader::Client,
        "none",
        "certificates, PEM, that the commands trust instead of the system's",
    ),
    other(
        "STEPSCOPE_PHASE_SOCKET",
        Reader::Client,
        "set by `run --phase`",
        "socket that takes `start` and `stop` of a measured phase",
    ),
    other(
        "STEPSCOPE_PHASE_FD",
        Reader::Client,
        "set by `run --phase`",
        "open descriptor that takes the same from the command itself",
    ),
    other(
        "STEPSCOPE_PHASE_COMMAND",
        Reader::Client,
        "set by `run --phase`",
        "what a shell runs, with `start` or `stop` behind it",
    ),
    other("STEPSCOPE_AGENT", Reader::Agent, "on", "`off` keeps the agent out of this process"),
    other(
        "STEPSCOPE_JOB",
        Reader::Agent,
        "the engine's instance id, else the starting process's, else random",
        "name of the job",
    ),
    other("STEPSCOPE_SEGMENT_BYTES", Reader::Agent, "8388608", "bytes of a segment"),
    other("STEPSCOPE_STEP", Reader::Agent, "none", "module:Class.method that runs one iteration"),
    other("STEPSCOPE_RANK", Reader::Agent, "RANK, else LOCAL_RANK, else 0", "with STEPSCOPE_STEP: rank in the group"),
    other(
        "STEPSCOPE_WORLD_SIZE",
        Reader::Agent,
        "WORLD_SIZE, else not known",
        "with STEPSCOPE_STEP: ranks of the group",
    ),
    other("STEPSCOPE_GROUP", Reader::Agent, "0", "with STEPSCOPE_STEP: the ranks that step together"),
    other("STEPSCOPE_NVTX", Reader::Agent, "window", "iterations as NVTX ranges: window, always, or off"),
    other(
        "STEPSCOPE_NVTX_STEP",
        Reader::Agent,
        "none",
        "NVTX range that is an iteration: TEXT or PREFIX*, and @DOMAIN",
    ),
    other("STEPSCOPE_NVTX_NEXT", Reader::Agent, "none", "NVTX tool that gets every call once the agent has seen it"),
    other("STEPSCOPE_LIBRARY", Reader::Agent, "the package's own", "the agent library that the Python package loads"),
];

/// The variable of this name.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Whether it is read when Stepscope itself is built or tested: no business of a running one.
pub fn is_for_building(name: &str) -> bool {
    name.starts_with("STEPSCOPE_BUILD_") || name.starts_with("STEPSCOPE_TEST_")
}

/// Whether Kubernetes makes this name up for a service whose name begins with `stepscope`:
/// `STEPSCOPE_SERVICE_HOST`, `STEPSCOPE_PORT`, `STEPSCOPE_PORT_8001_TCP_ADDR` and the like.
pub fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
}
