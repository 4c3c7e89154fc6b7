//! Processes that look like an engine: does each worker have a segment, and is it run in a way that can be hooked?
//!
//! What vLLM's processes call themselves: `vllm serve …` (API server), `VLLM::EngineCore…`, `VLLM::Worker…` (both only
//! where setproctitle is installed); with Ray, workers are actors, `ray::RayWorker…`. Ray's executor comes in two kinds
//! (vLLM 0.32, `envs.py`): the second is the default, `VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0` chooses the first, whose
//! compiled graph runs the model where the plugin does not look.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::Finding;

const ABOUT: &str = "process";

/// What a command line says a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Runs iterations, so it must have a segment.
    Worker,
    /// With one worker it runs iterations itself, with several its workers do.
    EngineCore,
    /// Serves HTTP.
    ApiServer,
    /// An actor of Ray that runs iterations.
    RayWorker,
}

#[derive(Debug)]
struct Process {
    pid: i32,
    parent: i32,
    kind: Kind,
    words: Vec<String>,
    /// `VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0` is in its environment.
    compiled_graph: bool,
}

/// Looks at the processes of `user` below `proc`. `attached`: processes that hold a segment.
pub(super) fn look(proc: &Path, user: u32, attached: &[i32]) -> Vec<Finding> {
    let processes = list(proc, user);
    let mut findings: Vec<Finding> = processes.iter().filter_map(unhooked).collect();
    // A process of another pid namespace holds its lock as pid 0: then nobody can tell whose it is.
    let unknown_owners = attached.contains(&0);
    let on_ray = ray_is_used(&processes);
    for process in &processes {
        let has_segment = attached.contains(&process.pid);
        let pid = process.pid;
        let title = process.words.first().map_or("", String::as_str);
        let workers_of_it = processes.iter().any(|other| other.parent == pid && other.kind == Kind::Worker);
        let runs_iterations = match process.kind {
            Kind::Worker | Kind::RayWorker => true,
            Kind::EngineCore => !workers_of_it && !on_ray,
            Kind::ApiServer => false,
        };
        if has_segment {
            findings.push(Finding::ok(ABOUT, format!("{pid} ({title}) has a segment")));
        } else if runs_iterations && !unknown_owners {
            findings.push(Finding::bad(
                ABOUT,
                format!("{pid} ({title}) runs iterations but has no segment in this folder"),
                "pip install ./python (in Stepscope's repository) with the engine's Python, give it the same STEPSCOPE_DIR, look for `stepscope` in its log (STEPSCOPE_AGENT=off and VLLM_PLUGINS switch it off), and restart it",
            ));
        }
    }
    if processes.is_empty() {
        findings.push(Finding::ok(ABOUT, "no process of this user looks like vLLM (other engines are not looked for)"));
    }
    findings
}

/// Ways of running workers that the vLLM plugin does not hook, or that nobody has seen it hook.
fn unhooked(process: &Process) -> Option<Finding> {
    let pid = process.pid;
    let with_mp = "run it with --distributed-executor-backend mp (or uni for a single worker)";
    let backend = backend_of(&process.words)?;
    Some(match backend.as_str() {
        "mp" | "uni" => return None,
        "ray" if process.compiled_graph => Finding::bad(
            ABOUT,
            format!("{pid} runs vLLM on Ray's compiled graph, whose workers the plugin does not hook"),
            "unset VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0, or run it with --distributed-executor-backend mp",
        ),
        "ray" => Finding::warn(
            ABOUT,
            format!(
                "{pid} runs vLLM on Ray: untried, and its actors get another environment and may lie on other machines"
            ),
            "give the actors the package and STEPSCOPE_DIR, and each machine a sidecar; or --distributed-executor-backend mp",
        ),
        "external_launcher" => Finding::warn(
            ABOUT,
            format!(
                "{pid} runs vLLM with an external launcher: untried, and its workers can't be told from other programs"
            ),
            "count the segments above: there must be one per rank; if not, --distributed-executor-backend mp",
        ),
        other => Finding::bad(
            ABOUT,
            format!("{pid} runs vLLM with the executor {other}, which the plugin does not hook"),
            with_mp,
        ),
    })
}

/// What `--distributed-executor-backend` (or `--data-parallel-backend`) says.
fn backend_of(words: &[String]) -> Option<String> {
    let value_of = |flag: &str| {
        words.iter().enumerate().find_map(|(index, word)| {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let value = value.or_else(|| words.get(index + 1).map(String::as_str));
            (name.replace('_', "-") == flag).then_some(value)?
        })
    };
    let backend = value_of("--distributed-executor-backend").or_else(|| value_of("--data-parallel-backend"));
    backend.map(|value| value.replace('-', "_"))
}

/// Somebody here runs vLLM on Ray, so that an engine core may have its workers elsewhere.
fn ray_is_used(processes: &[Process]) -> bool {
    processes.iter().any(|p| p.kind == Kind::RayWorker || backend_of(&p.words).as_deref() == Some("ray"))
}

fn list(proc: &Path, user: u32) -> Vec<Process> {
    let mut processes: Vec<Process> = std::fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            (entry.metadata().ok()?.uid() == user).then_some(())?;
            let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words = words(&bytes);
            let kind = kind_of(&words)?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let compiled_graph =
                environment.split(|&byte| byte == 0).any(|word| word == b"VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0");
            Some(Process { pid, parent: parent_of(&stat), kind, words, compiled_graph })
        })
        .collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

/// Words end with NUL; a title that was set is one word, padded with NULs.
pub(super) fn words(cmdline: &[u8]) -> Vec<String> {
    let printable = |word: &[u8]| {
        String::from_utf8_lossy(word).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    };
    cmdline.split(|&byte| byte == 0).filter(|word| !word.is_empty()).map(printable).collect()
}

fn kind_of(words: &[String]) -> Option<Kind> {
    let first = words.first()?.as_str();
    if first.starts_with("VLLM::Worker") {
        return Some(Kind::Worker);
    }
    if first.starts_with("VLLM::EngineCore") {
        return Some(Kind::EngineCore);
    }
    if first.starts_with("VLLM::") {
        return Some(Kind::ApiServer);
    }
    if first.starts_with("ray::RayWorker") {
        return Some(Kind::RayWorker);
    }
    let named = |word: &String, name: &str| Path::new(word).file_name().is_some_and(|file| file == name);
    // `vllm serve …`, `python /usr/bin/vllm serve …`, `python -m vllm.entrypoints.openai.api_server …`
    let python = Path::new(first).file_name().is_some_and(|file| file.as_encoded_bytes().starts_with(b"python"));
    let command = if python { words.get(1..).unwrap_or_default() } else { words };
    let by_command = matches!(command, [vllm, verb, ..] if named(vllm, "vllm") && verb == "serve");
    let by_module = python && words.iter().take(4).any(|word| word.starts_with("vllm.entrypoints."));
    (by_command || by_module).then_some(Kind::ApiServer)
}

/// The fourth field of `stat`; the second one may hold spaces and parentheses.
fn parent_of(stat: &str) -> i32 {
    stat.rsplit_once(')').and_then(|(_, tail)| tail.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn proc(processes: &[(i32, i32, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (pid, parent, cmdline) in processes {
            let path = dir.path().join(pid.to_string());
            std::fs::create_dir(&path).expect("a folder");
            std::fs::write(path.join("cmdline"), cmdline).expect("a file");
            std::fs::write(path.join("stat"), format!("{pid} (a) b) S {parent} 1")).expect("a file");
        }
        dir
    }

    fn worst(processes: &[(i32, i32, &[u8])], attached: &[i32]) -> Vec<(Level, String)> {
        let proc = proc(processes);
        let findings = look(proc.path(), crate::wire::segment::user_id(), attached);
        findings.into_iter().filter(|f| f.level != Level::Ok).map(|f| (f.level, f.what)).collect()
    }

    #[test]
    fn executors_that_are_not_hooked_or_untried_are_named() {
        for (line, level, name) in [
            (
                &b"/usr/bin/python3\0/usr/bin/vllm\0serve\0m\0--distributed-executor-backend\0ray\0"[..],
                Level::Warn,
                "Ray",
            ),
            (b"vllm\0serve\0m\0--distributed-executor-backend=external_launcher\0", Level::Warn, "external launcher"),
            (b"vllm\0serve\0m\0--data-parallel-backend\0ray\0", Level::Warn, "Ray"),
            (
                b"python\0-m\0vllm.entrypoints.openai.api_server\0--distributed_executor_backend\0ray\0",
                Level::Warn,
                "Ray",
            ),
            (b"vllm\0serve\0m\0--distributed-executor-backend\0my.own.Executor\0", Level::Bad, "my.own.Executor"),
        ] {
            let found = worst(&[(10, 1, line)], &[]);
            assert!(found.len() == 1 && found[0].0 == level && found[0].1.contains(name), "{found:?}");
        }
        assert_eq!(worst(&[(10, 1, b"vllm\0serve\0m\0--distributed-executor-backend\0mp\0")], &[]), []);
    }

    #[test]
    fn the_compiled_graph_is_bad() {
        let proc = proc(&[(10, 1, b"vllm\0serve\0m\0--distributed-executor-backend\0ray\0")]);
        let environ = b"A=1\0VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0\0";
        std::fs::write(proc.path().join("10/environ"), environ).expect("a file");
        let findings = look(proc.path(), crate::wire::segment::user_id(), &[]);
        assert!(findings.iter().any(|f| f.level == Level::Bad && f.what.contains("compiled graph")), "{findings:?}");
    }

    #[test]
    fn a_worker_without_a_segment_is_bad_and_an_engine_core_with_workers_needs_none() {
        let tree: &[(i32, i32, &[u8])] = &[
            (10, 1, b"vllm\0serve\0m\0"),
            (11, 10, b"VLLM::EngineCore\0\0\0"),
            (12, 11, b"VLLM::Worker_TP0\0\0"),
            (13, 11, b"VLLM::Worker_TP1\0"),
        ];
        assert_eq!(worst(tree, &[12, 13]), []);
        let found = worst(tree, &[12]);
        assert!(found.len() == 1 && found[0].1.starts_with("13 "), "{found:?}");
        let alone = worst(&tree[..2], &[]);
        assert!(alone.len() == 1 && alone[0].1.starts_with("11 "), "{alone:?}");
        assert_eq!(worst(&tree[..2], &[0]), [], "a lock of another pid namespace may be its own");
    }

    #[test]
    fn what_only_mentions_vllm_is_no_engine() {
        for line in
            [&b"grep\0vllm\0serve\0"[..], b"vim\0vllm.py\0", b"bash\0-c\0vllm serve m\0", b"vllm\0bench\0serve\0"]
        {
            assert_eq!(kind_of(&words(line)), None, "{}", String::from_utf8_lossy(line));
        }
    }
}
