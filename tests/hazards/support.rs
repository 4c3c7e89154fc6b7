//! The agent library as engines load it, C programs that load it, and what only these tests need.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{PATIENCE, Sidecar, eventually, number};

/// The agent library, built once per run, in a target folder of its own: the outer cargo holds the lock of its own.
pub fn agent_library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let target = target_folder().join("agent-check");
        let built = Command::new(env!("CARGO"))
            .args(["rustc", "--lib", "--crate-type", "cdylib", "--no-default-features", "--features", "agent"])
            .args(["--profile", "agent", "--offline", "--quiet"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("agent/libstepscope.so")
    })
}

/// Where cargo puts what it builds: two above the command under test.
fn target_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_stepscope")).ancestors().nth(2).unwrap();
    folder.to_owned()
}

/// A C program, compiled as its head says.
fn compiled(source: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = Path::new(source).file_stem().unwrap();
    let out = target_folder().join("agent-check").join(name);
    let made = out.with_extension(std::process::id().to_string());
    let cc = Command::new("cc")
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&made)
        .arg(root.join(source))
        .arg(format!("-I{}", root.join("include").display()))
        .args(["-ldl", "-pthread"])
        .output()
        .unwrap();
    assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));
    std::fs::rename(&made, &out).unwrap();
    out
}

/// `examples/engine.c`.
pub fn example_engine() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        agent_library();
        compiled("examples/engine.c")
    })
}

/// `tests/hazards/c/commanded.c`.
pub fn commanded_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        agent_library();
        compiled("tests/hazards/c/commanded.c")
    })
}

/// An engine in C that does as it is told; killed when dropped.
pub struct Commanded {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Commanded {
    /// Starts it with the agent library at its own path.
    pub fn start(segments: &Path) -> Self {
        let mut command = Command::new(commanded_program());
        command.arg(agent_library());
        Self::spawn(command, segments)
    }

    pub fn spawn(mut command: Command, segments: &Path) -> Self {
        command.env("STEPSCOPE_DIR", segments).env_remove("STEPSCOPE_JOB");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives a command that is not answered.
    pub fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
        orders.flush().unwrap();
    }

    /// Reads one line.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Gives a command and returns its answer.
    pub fn ask(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    /// What the agent says of itself.
    pub fn describe(&mut self) -> Value {
        serde_json::from_str(&self.ask("describe")).unwrap()
    }

    /// Waits for its end.
    pub fn ended(mut self) -> ExitStatus {
        eventually("the program to end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Commanded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that is killed when dropped.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `examples/engine.c` without an end, as a rank of a job; it has joined when this returns.
pub fn example_rank(segments: &Path, job: &str, rank: u32, world_size: u32) -> Ended {
    let mut process = Command::new(example_engine())
        .args(["--rank", &rank.to_string(), "--world-size", &world_size.to_string()])
        .args(["--iterations", "0", "--step-us", "1000"])
        .env("STEPSCOPE_LIBRARY", agent_library())
        .env("STEPSCOPE_DIR", segments)
        .env("STEPSCOPE_JOB", job)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Ended(process)
}

/// Names a check that this machine does not allow; `STEPSCOPE_SKIP=never` makes it a failure.
pub fn skipped(what: &str, reason: &str) {
    // Past the test harness, which keeps what a test that passes says.
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {what}: {reason}");
    assert!(std::env::var("STEPSCOPE_SKIP").as_deref() != Ok("never"), "skipped: {what}: {reason}");
}

/// Whether a command works here; else why not.
pub fn allowed(command: &[&str]) -> Result<(), String> {
    match Command::new(command[0]).args(&command[1..]).output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        Err(error) => Err(format!("{}: {error}", command[0])),
    }
}

/// Whether file systems can be mounted in namespaces of our own.
pub fn can_mount() -> Result<(), String> {
    allowed(&["unshare", "-Urm", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"])
}

/// A program whose `folder` is a tmpfs of this size, in a mount namespace of its own.
pub fn on_a_tmpfs(folder: &Path, size: &str, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size={size},mode=0700 none '{}' && exec \"$0\" \"$@\"", folder.display());
    command.args(["-Urm", "sh", "-c", &mount]).arg(program);
    command
}

/// A program where process `pid` sees its files.
pub fn beside(pid: u32, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--user", "--mount", "--preserve-credentials", "--target", &pid.to_string()]).arg(program);
    command
}

/// A folder as process `pid` sees it.
pub fn seen_by(pid: u32, folder: &Path) -> PathBuf {
    format!("/proc/{pid}/root{}", folder.display()).into()
}

/// Segment files in a folder.
pub fn segments_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path());
    entries.filter(|p| p.extension().is_some_and(|e| e == "seg")).collect()
}

/// What `status` says of a segment that it refused.
pub fn refusal(sidecar: &Sidecar, file: &Path) -> Option<String> {
    let status = sidecar.get("/stepscope/v1/status").ok();
    let refused = status["refused"].as_array().unwrap();
    let entry = refused.iter().find(|r| r["segment"].as_str() == file.to_str())?;
    Some(entry["reason"].as_str().unwrap().to_owned())
}

/// The report of one rank in a manifest.
pub fn rank_of(capture: &Value, rank: u64) -> Value {
    let ranks = capture["ranks"].as_array().unwrap();
    ranks.iter().find(|r| number(&r["rank"]) == rank).unwrap_or_else(|| panic!("no rank {rank}: {capture:#}")).clone()
}

/// Waits for more records of the first rank.
pub fn grows(sidecar: &Sidecar, capture: &str) {
    let records = || number(&rank_of(&sidecar.capture(capture), 0)["records"]);
    let before = records();
    eventually("more records", || (records() > before + 50).then_some(()));
}

/// Iteration numbers of one rank in a ledger.
pub fn numbers(ledger: &[Value], rank: u64) -> Vec<u64> {
    ledger.iter().filter(|row| number(&row["rank"]) == rank).map(|row| number(&row["iteration"])).collect()
}

/// The iteration numbers that a rank's report promises.
pub fn promised(report: &Value) -> Vec<u64> {
    match (report["first_iteration"].as_u64(), report["last_iteration"].as_u64()) {
        (Some(first), Some(last)) => (first..=last).collect(),
        _ => Vec::new(),
    }
}

/// A slice: begin and end in nanoseconds, name.
pub type Slice = (i64, i64, String);

/// The slices of a trace, one after the other by track. On each track they nest or are apart.
pub fn tracks_in_order(trace: &Value) -> Vec<Vec<Slice>> {
    let ns = |value: &Value| (value.as_f64().unwrap() * 1000.0).round() as i64;
    let mut tracks: BTreeMap<(u64, u64), Vec<Slice>> = Default::default();
    for event in trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X") {
        let (begin_ns, track) = (ns(&event["ts"]), (number(&event["pid"]), number(&event["tid"])));
        let slice = (begin_ns, begin_ns + ns(&event["dur"]), event["name"].as_str().unwrap().to_owned());
        tracks.entry(track).or_default().push(slice);
    }
    for (track, slices) in &mut tracks {
        slices.sort_by_key(|(begin_ns, end_ns, _)| (*begin_ns, -end_ns));
        let mut open: Vec<i64> = Vec::new();
        for (begin_ns, end_ns, name) in slices {
            assert!(begin_ns <= end_ns, "{name} ends before it begins");
            open.retain(|end| *end > *begin_ns);
            assert!(open.iter().all(|end| *end_ns <= *end), "track {track:?}: {name} ends behind what it lies in");
            open.push(*end_ns);
        }
    }
    tracks.into_values().collect()
}

/// One capture of `iterations`, whole, on every rank; for engines that must not have been harmed.
pub fn captures_whole(sidecar: &Sidecar, iterations: u64) -> Value {
    captures_job_whole(sidecar, iterations, None)
}

/// The same of one job alone, where more than one is attached.
pub fn captures_job_whole(sidecar: &Sidecar, iterations: u64, job: Option<&str>) -> Value {
    let id = sidecar.start_profile(&serde_json::json!({"max_iterations": iterations, "job": job}).to_string());
    let capture = sidecar.finished(id["capture_id"].as_str().unwrap());
    assert_eq!(capture["state"], "done", "{capture:#}");
    assert_eq!(capture["complete"], true, "{capture:#}");
    let ledger = sidecar.ledger(capture["capture_id"].as_str().unwrap());
    for report in capture["ranks"].as_array().unwrap() {
        assert_eq!(number(&report["iterations"]), iterations);
        assert_eq!(numbers(&ledger, number(&report["rank"])), promised(report));
    }
    capture
}

/// `stepscope doctor` on a folder: what it prints.
pub fn doctor(segments: &Path) -> String {
    let out = Command::new(crate::support::stepscope())
        .args(["doctor", "--json", "--url", "http://127.0.0.1:9", "--dir"])
        .arg(segments)
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Everybody may run it: a copy of a program in a folder of its own.
pub fn public_copy(program: &Path, folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let copy = folder.join(program.file_name().unwrap());
    if copy.exists() {
        return copy; // and it runs, so it could not be written
    }
    std::fs::copy(program, &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// How long nothing may hang; far beyond what is promised, since the machine may be busy.
pub fn in_bounds<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let began = std::time::Instant::now();
    let result = act();
    assert!(began.elapsed() < PATIENCE / 2, "{what} took {:?}", began.elapsed());
    result
}
