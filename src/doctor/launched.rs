//! How each attached process was started, and what a tool around it will not capture.
//!
//! A process that was forked and did not exec has its stack and its environment where its parent has them; one that was
//! executed has them where chance put them (address space layout randomisation; where that is off it is not told).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::BinaryBytes;

use super::finding::Finding;
use super::processes::words;
use super::space;
use crate::launch::line::{Line, quoted};
use crate::launch::nsys::KEEP_ENVIRONMENT;
use crate::launch::problem::{self, Facts, Loss};

const ABOUT: &str = "launch";
const NSYS: &str = "nsys";
/// Reports of a window are some ten to hundred megabytes; less room than this is worth a word.
const ROOM_BYTES: u64 = 1 << 30;

/// A process, as `/proc` has it.
#[derive(Debug)]
struct Process {
    pid: i32,
    parent: i32,
    words: Vec<String>,
    environment: BTreeMap<String, String>,
    /// The process has written over where its environment began: with its title, which is longer than its command line was.
    titled: bool,
    /// Where its stack and its environment begin; 0 where that may not be read.
    places: (u64, u64),
}

impl Process {
    fn read(proc: &Path, pid: i32) -> Option<Self> {
        let folder = proc.join(pid.to_string());
        let words = words(&std::fs::read(folder.join("cmdline")).ok()?);
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // From the third field on: the second may hold spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let environ = std::fs::read(folder.join("environ")).unwrap_or_default();
        let pair = |word: &[u8]| {
            let word = String::from_utf8_lossy(word).into_owned();
            word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            words,
            titled: environ
                .split(|&byte| byte == 0)
                .next()
                .is_some_and(|first| !environ.is_empty() && !first.contains(&b'=')),
            environment: environ.split(|&byte| byte == 0).filter_map(pair).collect(),
            places: (number(28), number(50)),
        })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn name(&self) -> String {
        let first = self.words.first().map_or("", String::as_str);
        let name = Path::new(first).file_name().unwrap_or_default().to_string_lossy();
        format!("{} ({name})", self.pid)
    }

    /// Forked from its parent, and did not exec.
    fn is_fork_of(&self, parent: &Self) -> bool {
        self.places.0 != 0 && self.places.1 != 0 && self.places == parent.places
    }
}

/// Below one nsys.
struct Session {
    nsys: Process,
    line: Line,
    ranks: Vec<i32>,
    forked: Vec<i32>,
    /// Whose environment their own title has written over.
    titled: Vec<i32>,
}

/// Looks at the processes that hold a segment.
pub(super) fn look(proc: &Path, attached: &[i32]) -> Vec<Finding> {
    let randomised =
        std::fs::read_to_string(proc.join("sys/kernel/randomize_va_space")).is_ok_and(|text| text.trim() != "0");
    let mut findings = Vec::new();
    let mut sessions: BTreeMap<i32, Session> = BTreeMap::new();
    for process in attached.iter().filter(|pid| **pid > 0).filter_map(|pid| Process::read(proc, *pid)) {
        let above = ancestors(proc, &process);
        let forked = randomised && above.first().is_some_and(|parent| process.is_fork_of(parent));
        let parent = above.first().map_or_else(|| "nobody that can be seen".into(), Process::name);
        let how = if forked { "forked from" } else { "executed below" };
        let nsys = above.into_iter().find_map(|above| Line::parse(&above.words).map(|line| (above, line)));
        let below = nsys.as_ref().map_or(String::new(), |(nsys, _)| format!(", traced by nsys {}", nsys.pid));
        findings.push(Finding::ok(ABOUT, format!("{} is attached; {how} {parent}{below}", process.name())));
        findings.extend(injections(&process));
        if let Some((nsys, line)) = nsys {
            let session = sessions.entry(nsys.pid).or_insert_with(|| Session {
                nsys,
                line,
                ranks: Vec::new(),
                forked: Vec::new(),
                titled: Vec::new(),
            });
            session.ranks.push(process.pid);
            if forked {
                session.forked.push(process.pid);
            }
            if process.titled {
                session.titled.push(process.pid);
            }
        } else if process.variable("NSYS_PROFILING_SESSION_ID").is_some() {
            findings.push(Finding::warn(
                NSYS,
                format!("{} is traced by an nsys whose command line can't be seen from here", process.name()),
                "run doctor in nsys's own container; of `nsys launch`, look at your `nsys start` line",
            ));
        }
    }
    for session in sessions.values() {
        findings.extend(judge(session));
        findings.extend(titled(session));
        findings.extend(rooms(proc, session));
    }
    findings
}

/// Parent first.
fn ancestors(proc: &Path, process: &Process) -> Vec<Process> {
    let mut found = Vec::new();
    let mut next = process.parent;
    // Pids can be taken again while we read: a ring of them must not hold us up.
    while next > 0 && found.len() < 64 {
        let Some(parent) = Process::read(proc, next) else { break };
        next = parent.parent;
        found.push(parent);
    }
    found
}

/// What this nsys will not capture.
fn judge(session: &Session) -> Vec<Finding> {
    let Session { nsys, line, ranks, forked, .. } = session;
    let facts = Facts { forked, traces: &[] };
    let problems = problem::problems(line, &facts);
    let ranks: Vec<String> = ranks.iter().map(i32::to_string).collect();
    if problems.is_empty() {
        let range = if line.get("capture-range") == Some("nvtx") {
            "each window of any capture becomes a report"
        } else {
            "each window of a capture with `profiler: cuda` becomes a report"
        };
        return vec![Finding::ok(NSYS, format!("{} traces {}: {range}", nsys.pid, ranks.join(", ")))];
    }
    let mended = problem::mended(line, &facts);
    let finding = |problem: &problem::Problem| {
        let what = format!("{} traces {}: {}", nsys.pid, ranks.join(", "), problem.what);
        let mend = format!("restart the engine with: {mended}");
        match problem.loss {
            Loss::All => Finding::bad(NSYS, what, mend),
            Loss::Some => Finding::warn(NSYS, what, mend),
        }
    };
    problems.iter().map(finding).collect()
}

/// Ranks that wrote their title over the environment, into which nsys's library keeps pointers: its range then has another name.
fn titled(session: &Session) -> Option<Finding> {
    if session.titled.is_empty() || session.line.get("capture-range") != Some("nvtx") {
        return None;
    }
    let ranks: Vec<String> = session.titled.iter().map(i32::to_string).collect();
    let (name, value) = KEEP_ENVIRONMENT;
    let mut line = session.line.clone();
    line.environment.push((name.into(), value.into()));
    let what = format!(
        "no window of {} will begin a report: its title is written over the environment (setproctitle), where nsys keeps \
         the name of the range that it waits for",
        ranks.join(", ")
    );
    Some(Finding::bad(NSYS, what, format!("restart the engine with: {line}")))
}

/// Room for the reports: where they are kept while nsys runs, and where they go.
fn rooms(proc: &Path, session: &Session) -> Vec<Finding> {
    let here = std::fs::read_link(proc.join(session.nsys.pid.to_string()).join("cwd")).unwrap_or_else(|_| "/".into());
    let output = here.join(session.line.get("output").unwrap_or("report"));
    let output = output.parent().map_or_else(|| here.clone(), Path::to_owned);
    let scratch = PathBuf::from(session.nsys.variable("TMPDIR").unwrap_or("/tmp"));
    let low = |(folder, what): (&PathBuf, &str)| {
        let free = space::free_bytes(folder).ok().filter(|free| *free < ROOM_BYTES)?;
        let what = format!("{} free in {}, {what}", BinaryBytes(free), folder.display());
        let mend = "make room there, or restart nsys with TMPDIR and --output on a larger disk";
        Some(Finding::warn(NSYS, what, mend))
    };
    let places =
        [(&scratch, "where nsys keeps its reports until the engine ends"), (&output, "where nsys's reports go")];
    places.into_iter().filter_map(low).collect()
}

/// Variables that name libraries of tools.
fn injections(process: &Process) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = process.name();
    let is_ours =
        |path: &str| Path::new(path).file_name().is_some_and(|f| f.to_string_lossy().starts_with("libstepscope.so"));
    let is_nsys = |path: &str| path.contains("libToolsInjection");
    for (variable, what) in [
        ("NVTX_INJECTION64_PATH", "no NVTX range of it reaches any tool"),
        ("CUDA_INJECTION64_PATH", "no CUDA call of it reaches any tool"),
        ("STEPSCOPE_NVTX_NEXT", "the tool behind the agent sees no NVTX range"),
    ] {
        let Some(path) = process.variable(variable) else { continue };
        if path.starts_with('/') && !Path::new(path).exists() {
            findings.push(Finding::bad(
                ABOUT,
                format!("{name}: {what}: {variable} is {path}, which is not there"),
                format!("restart it with: env -u {variable} {}", command(process)),
            ));
        } else if variable == "NVTX_INJECTION64_PATH" && !is_ours(path) && !is_nsys(path) {
            findings.push(Finding::warn(
                ABOUT,
                format!("{name}: its NVTX ranges, ours among them, go to another tool: {path}"),
                "nothing, if that tool is wanted; nsys takes its place where nsys starts the engine",
            ));
        }
    }
    if let Some(pattern) = process.variable("STEPSCOPE_NVTX_STEP") {
        let first = process.variable("LD_PRELOAD").and_then(|all| all.split([':', ' ']).next()).unwrap_or_default();
        let is_injected = process.variable("NVTX_INJECTION64_PATH").is_some_and(is_ours);
        let nsys = process.variable("NSYS_PROFILING_SESSION_ID").is_some();
        if !is_ours(first) && (nsys || !is_injected) {
            let line = format!("stepscope exec --nvtx-step {} -- {}", quoted(pattern), command(process));
            findings.push(Finding::bad(
                ABOUT,
                format!("{name}: its ranges {pattern:?} are not counted: the agent is not the first library preloaded"),
                format!("restart it with: {line}"),
            ));
        }
    }
    findings
}

/// Its command line, for a shell.
fn command(process: &Process) -> String {
    process.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    /// pid, parent, command line, environment, and where its stack is.
    type Fake<'a> = (i32, i32, &'a str, &'a [u8], u64);

    fn found(processes: &[Fake<'_>], attached: &[i32]) -> Vec<Finding> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(dir.path().join("sys/kernel")).expect("a folder");
        std::fs::write(dir.path().join("sys/kernel/randomize_va_space"), "2\n").expect("a file");
        for (pid, parent, line, environ, stack) in processes {
            let path = dir.path().join(pid.to_string());
            std::fs::create_dir(&path).expect("a folder");
            std::fs::write(path.join("cmdline"), line.replace(' ', "\0")).expect("a file");
            std::fs::write(path.join("environ"), environ).expect("a file");
            let zeros = |count: usize| " 0".repeat(count);
            let stat = format!("{pid} (a) b) S {parent}{} {stack}{} {stack} 0 0", zeros(23), zeros(21));
            std::fs::write(path.join("stat"), stat).expect("a file");
        }
        look(dir.path(), attached)
    }

    const GOOD: &str =
        "nsys profile -t nvtx -c nvtx -p capture@stepscope --capture-range-end=repeat -o /tmp/r ./engine";

    #[test]
    fn a_forked_rank_below_nsys_is_named_with_the_line_that_captures_it() {
        let tree: &[Fake<'_>] = &[
            (10, 1, GOOD, b"", 1),
            (11, 10, "nsys-launcher x", b"", 2),
            (12, 11, "./engine", b"", 3),
            (13, 12, "./engine", b"", 3),
            (14, 12, "./engine", b"", 4),
        ];
        let findings = found(tree, &[13, 14]);
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(text[0].contains("13 (engine) is attached; forked from 12 (engine), traced by nsys 10"), "{text:?}");
        assert!(text[1].contains("14 (engine) is attached; executed below 12"), "{text:?}");
        let bad: Vec<&Finding> = findings.iter().filter(|f| f.level == Level::Bad).collect();
        assert!(bad.len() == 1 && bad[0].what.contains("nothing of 13 will be captured"), "{text:?}");
        let mend = bad[0].mend.as_deref().unwrap_or_default();
        assert!(mend.contains("nsys profile --trace=nvtx") && mend.contains("--trace-fork-before-exec=true"), "{mend}");
        let good = found(tree, &[14]);
        assert!(good.iter().any(|f| f.about == NSYS && f.what.contains("each window of any capture")), "{good:?}");
    }

    #[test]
    fn a_rank_whose_title_hides_the_range_from_nsys_is_named_with_the_line_that_mends_it() {
        for (environ, is_bad) in
            [(&b"\0\0\0\0LANG=C\0"[..], true), (b"ker\0\0", true), (b"LANG=C\0", false), (b"", false)]
        {
            let tree: &[Fake<'_>] = &[(10, 1, GOOD, b"", 1), (12, 10, "VLLM::Worker", environ, 3)];
            let findings = found(tree, &[12]);
            let bad: Vec<&Finding> = findings.iter().filter(|f| f.level == Level::Bad).collect();
            assert_eq!(bad.len(), usize::from(is_bad), "{findings:?}");
            if let Some(bad) = bad.first() {
                assert!(bad.what.contains("setproctitle"), "{bad:?}");
                assert!(bad.mend.as_deref().unwrap_or_default().contains("SPT_NOENV=1 nsys profile"), "{bad:?}");
            }
        }
    }

    #[test]
    fn a_fork_is_told_from_an_execution_by_the_real_proc() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        // A subshell is a fork that does not exec; what runs in it is executed.
        let script = "exec 3<&0; (read line <&3; :) & echo $!; sleep 100 & echo $!; wait $!";
        let mut shell = Command::new("sh");
        let mut shell =
            shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut lines = BufReader::new(shell.stdout.take().expect("its output")).lines();
        let mut pid = || lines.next().and_then(|line| line.ok()?.parse::<i32>().ok()).expect("a pid");
        let (subshell, sleep) = (pid(), pid());
        // It is a fork too, until it executes.
        while !std::fs::read(format!("/proc/{sleep}/cmdline")).expect("its words").starts_with(b"sleep") {
            std::thread::yield_now();
        }
        let findings = look(Path::new("/proc"), &[subshell, sleep]);
        let killed = Command::new("kill").arg(sleep.to_string()).status();
        drop(shell.stdin.take());
        let ended = shell.wait();
        assert!(killed.is_ok() && ended.is_ok());
        let told = |pid: i32, how: &str| {
            findings.iter().any(|f| f.what.starts_with(&format!("{pid} ")) && f.what.contains(how))
        };
        assert!(told(subshell, "forked from") && told(sleep, "executed below"), "{findings:?}");
    }

    #[test]
    fn variables_that_name_nothing_or_somebody_else_are_told() {
        for (environ, level, word) in [
            (&b"NVTX_INJECTION64_PATH=/nowhere/x.so\0"[..], Level::Bad, "no NVTX range of it reaches any tool"),
            (b"CUDA_INJECTION64_PATH=/nowhere/x.so\0", Level::Bad, "no CUDA call"),
            (b"NVTX_INJECTION64_PATH=/proc/self/exe\0", Level::Warn, "another tool: /proc/self/exe"),
            (b"NSYS_PROFILING_SESSION_ID=1\0", Level::Warn, "can't be seen from here"),
            (b"STEPSCOPE_NVTX_STEP=st*\0", Level::Bad, "are not counted"),
        ] {
            let findings = found(&[(20, 1, "./engine", environ, 1)], &[20]);
            let told: Vec<_> = findings.iter().filter(|f| f.level != Level::Ok).collect();
            assert!(told.len() == 1 && told[0].level == level && told[0].what.contains(word), "{findings:?}");
        }
        let preloaded =
            b"STEPSCOPE_NVTX_STEP=st*\0LD_PRELOAD=/l/libstepscope.so.1:/n.so\0NSYS_PROFILING_SESSION_ID=1\0";
        assert!(!found(&[(20, 1, "./engine", preloaded, 1)], &[20]).iter().any(|f| f.level == Level::Bad));
    }
}
