//! Who may look into whom: the table of rooms, held against every path in the sources.

use super::support::{Source, paths_below, sources, top};

/// A room, and the paths of ours that it may use. A path allows all below it.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("agent", &["wire"]),
    ("simulator", &["agent::api"]),
    ("collector", &["wire", "trace::event", "trace::recorded"]),
    ("trace", &[]),
    // A capture is told to it as values: neither manifests nor files of a store.
    ("report", &["trace"]),
    (
        "capture",
        &[
            "collector",
            "trace",
            "report",
            // Words, clock and fence of the window protocol. Never a segment's memory: that is the collector's.
            "wire::clock::monotonic_ns",
            "wire::control::profiler",
            "wire::clock::realtime_ns",
            "wire::gate::State",
            "wire::gate::Cause",
            "wire::layout::NONE",
            "wire::membarrier",
            "wire::segment::Trust",
            "wire::wanted::MAX_SHIFT",
        ],
    ),
    // The clock is the trace's: counters lie on it with the iterations.
    ("telemetry", &["capture::handle", "capture::beside::counters", "config", "wire::clock::monotonic_ns"]),
    ("config", &[]),
    // Put together here; what `native` does is asked by `capture` alone.
    ("service", &["capture", "trace", "telemetry", "config", "proxy", "native"]),
    // Knows no routes: what is whose is the service's to say. Of the session it knows where requests are handed in.
    ("proxy", &["capture::beside::passed", "wire::clock::monotonic_ns"]),
    // The port of `capture`, filled in over the engine's HTTP and the folder that its profiler writes to.
    ("native", &["capture::native", "capture::manifest", "client", "merge::annotations", "merge::Annotations"]),
    ("client", &["config"]),
    // Calls servers by what the client knows of them, and merges what it fetched. What is typed and printed is the caller's.
    ("trigger", &["client", "merge"]),
    // Of traces it knows the names of their formats: a file name chooses one. A report comes as JSON, also from afar: it is
    // read, compared and shown here.
    (
        "cli",
        &[
            "client",
            "config",
            "doctor",
            "launch",
            "merge",
            "report",
            "service",
            "simulator",
            "trace::output",
            "trigger",
        ],
    ),
    // Environments and command lines as values; what they mean to the sidecar is the caller's.
    ("launch", &[]),
    // Works on files that lie there, whoever wrote them: of ours it knows what a trace says, not how it is written. Reports
    // of nsys are exported as `reports` does it.
    ("merge", &["launch::report", "launch::timeline"]),
    // Looks at this machine as both sides would.
    ("doctor", &["wire", "config", "launch", "telemetry::nvml"]),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// Libraries that belong to some rooms only: CONVENTIONS' "only `service` knows HTTP" and its like.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("axum", &["service"]),
    ("hyper", &["service", "proxy"]),
    ("hyper_util", &["service", "proxy"]),
    ("tower_http", &["service"]),
    ("reqwest", &["client"]),
    ("rustls", &["service", "client"]),
    ("tokio_rustls", &["service"]),
    ("rustls_native_certs", &["client"]),
    ("ring", &["service"]),
    ("ipnet", &["config"]),
    ("clap", &["cli", "config"]),
    ("clap_complete", &["cli"]),
    ("anyhow", &["cli"]),
    ("indicatif", &["cli", "doctor"]),
    // Never the agent: it panics and allocates.
    ("cudarc", &["doctor"]),
    ("comfy_table", &["cli"]),
    ("hdrhistogram", &["report"]),
    ("rusqlite", &["launch"]),
    ("rustix", &["cli", "proxy", "trigger"]),
    ("signal_hook", &["trigger"]),
    ("toml", &["config"]),
    ("prometheus_client", &["telemetry"]),
    ("nvml_wrapper", &["telemetry"]),
    ("tracing_chrome", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("flate2", &["trace", "merge"]),
    ("zstd", &["trace", "merge"]),
    ("crc32fast", &["trace", "merge"]),
    ("libc", &["wire", "agent", "doctor"]),
];

/// Rooms that know nothing but the core library, libc and each other: they run inside the engine.
const BARE: &[&str] = &["wire", "agent", "simulator"];

/// Words that only some files may say, and why the ones beyond their home do. A file allows all below it.
const WORDS: &[(&str, &[&str])] = &[
    ("libc::mmap", &["src/wire/"]),
    ("libc::munmap", &["src/wire/"]),
    ("MAP_SHARED", &["src/wire/"]),
    ("posix_fallocate", &["src/wire/"]),
    ("libc::fcntl", &["src/wire/"]),
    ("SYS_futex", &["src/wire/"]),
    ("SYS_membarrier", &["src/wire/"]),
    // The collector names the order of its loads; a service keeps flags and counts of its own, and so does a proxy.
    (
        "sync::atomic",
        &[
            "src/wire/",
            "src/agent/",
            "src/collector/source.rs",
            "src/collector/profiling.rs",
            "src/service/state.rs",
            "src/service/audit.rs",
            "src/proxy/counts.rs",
        ],
    ),
    // The C border; functions of the driver and of NVTX tools, and tables for them. Handlers of a signal, of fork and exit, of a thread's begin and end; the hook's slow halves, which must not unwind.
    (
        "extern \"C\"",
        &[
            "src/agent/ffi.rs",
            "src/agent/ffi/",
            "src/agent/cuda/driver.rs",
            "src/agent/nvtx/",
            "src/agent/profiler.rs",
            "src/agent/process.rs",
            "src/agent/hook.rs",
            "src/agent/helper.rs",
            "src/agent/threads.rs",
            "src/wire/sigbus.rs",
        ],
    ),
    // The environment is only read: engines read theirs in other threads without a lock. Before `main` there are none.
    ("setenv", &["src/agent/nvtx/preload.rs"]),
    ("no_mangle", &["src/agent/ffi.rs"]),
    // statvfs has no safe form, nor have the driver's presence and version.
    ("allow(unsafe_code", &["src/wire/mod.rs", "src/agent/mod.rs", "src/doctor/space.rs", "src/doctor/driver.rs"]),
    ("unsafe {", &["src/wire/", "src/agent/", "src/doctor/space.rs", "src/doctor/driver.rs"]),
    // Exit codes are an enum; a child of `demo` that lost its parent, and a sidecar that lost a thread of its session, have
    // nothing left to do.
    ("process::exit", &["src/cli/children.rs", "src/capture/threads.rs"]),
    // Threads are named.
    ("thread::spawn", &[]),
    ("println!", &["src/cli/"]),
    ("StatusCode", &["src/service/", "src/client/", "src/proxy/"]),
    // A start looks for 20 ms whether a group is idle, and waits for the agents to say what they can do.
    (
        "thread::sleep",
        &[
            "src/wire/membarrier.rs",
            "src/simulator/",
            "src/agent/helper.rs",
            "src/capture/agree.rs",
            "src/capture/profiling.rs",
        ],
    ),
];

/// What the design allows and nobody needs yet.
const RESERVED: &[&str] = &["trace", "config"];

/// Variables that are read when something is built, not when it runs.
const BUILD_VARIABLES: &[&str] = &["STEPSCOPE_BUILD_PROFILE"];

fn ours() -> Vec<Source> {
    sources("src", &["rs"])
}

fn allowed(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|p| path == *p || path.strip_prefix(p).is_some_and(|rest| rest.starts_with("::")))
}

/// Code without the tests at its end: they may look where they like for their fixtures.
fn shipped(source: &Source) -> &str {
    source.code.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn every_room_uses_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for source in ours() {
        let room = source.room();
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: room {room} is not in the table", source.path));
            continue;
        };
        let mut used = paths_below(shipped(&source), "crate::");
        used.extend(paths_below(shipped(&source), "stepscope::"));
        for path in used {
            let is_own = path == room || path.starts_with(&format!("{room}::"));
            if !is_own && !allowed(&path, may) {
                wrong.push(format!("{}: {room} must not use {path}", source.path));
            }
        }
        let depth = source.path.matches('/').count() - 1 + usize::from(source.name() != "mod.rs");
        if source.path.matches('/').count() > 1 && shipped(&source).contains(&"super::".repeat(depth)) {
            wrong.push(format!("{}: leaves its room by `super`; say crate:: so that the table sees it", source.path));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_names_no_room_that_is_not_there() {
    let rooms: Vec<_> = ours().iter().map(|s| s.room().to_owned()).collect();
    for (room, may) in ROOMS {
        assert!(rooms.iter().any(|r| r == room), "{room} is in the table and not in src/");
        for path in *may {
            let used = ours().iter().filter(|s| s.room() == *room).any(|s| {
                paths_below(shipped(s), "crate::")
                    .iter()
                    .chain(&paths_below(shipped(s), "stepscope::"))
                    .any(|p| allowed(p, &[path]))
            });
            assert!(used || RESERVED.contains(path), "{room} may use {path} and does not: take it out of the table");
        }
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in ours() {
        for (library, rooms) in LIBRARIES {
            if !rooms.contains(&source.room()) && !paths_below(shipped(&source), &format!("{library}::")).is_empty() {
                wrong.push(format!("{}: {library} belongs to {rooms:?}", source.path));
            }
        }
        if BARE.contains(&source.room()) {
            for library in ["serde", "serde_json", "tokio", "tracing", "thiserror", "uuid", "jiff", "futures_util"] {
                if !paths_below(shipped(&source), &format!("{library}::")).is_empty() {
                    wrong.push(format!("{}: {library} has no place inside an engine", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn mmap_atomics_the_c_border_and_unsafe_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in ours() {
        for (word, homes) in WORDS {
            if shipped(&source).contains(word) && !homes.iter().any(|home| source.path.starts_with(home)) {
                wrong.push(format!("{}: `{word}` belongs to {homes:?}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn maps_hold_no_logic() {
    for source in ours().iter().filter(|s| matches!(s.name(), "mod.rs" | "lib.rs" | "main.rs")) {
        for (number, line) in source.code.lines().enumerate() {
            let line = line.trim_start();
            let is_logic = [" fn ", " impl ", " static "].iter().any(|w| format!(" {line}").contains(w));
            let is_main = source.name() == "main.rs" && line.starts_with("fn main()");
            assert!(!is_logic || is_main, "{}:{}: a map holds no logic: {line}", source.path, number + 1);
        }
        assert!(source.name() != "main.rs" || source.code.lines().count() <= 10, "{} has grown logic", source.path);
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut lengths = Vec::new();
    for source in
        sources("src", &["rs"]).into_iter().chain(sources("tests", &["rs"])).chain(sources("benches", &["rs"]))
    {
        let lines = source.text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines: look for the seam", source.path);
        assert!(source.text.starts_with("//!"), "{} does not begin with what it is for", source.path);
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 200, "the median file has {median} lines");
}

#[test]
fn every_environment_variable_is_in_the_one_table() {
    let mut unknown = Vec::new();
    let files = sources("src", &["rs"])
        .into_iter()
        .chain(sources("python", &["rs", "py"]))
        .chain(sources("examples", &["rs", "c"]));
    let mut seen = 0;
    for source in files.filter(|s| !s.path.contains("/tests/") && s.path != "src/config/variables.rs") {
        for name in quoted_variables(shipped(&source)) {
            seen += 1;
            if stepscope::config::variables::find(&name).is_none() && !BUILD_VARIABLES.contains(&&*name) {
                unknown.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert!(seen >= 4, "the sources' variables were not found: {seen}");
    assert!(unknown.is_empty(), "not in src/config/variables.rs:\n{}", unknown.join("\n"));
    let readme = std::fs::read_to_string(top().join("README.md")).unwrap();
    for variable in stepscope::config::variables::VARIABLES {
        assert!(
            readme.contains(&format!("`{}`", variable.name)) || variable.name == "STEPSCOPE_EXIT_WITH_PARENT",
            "{} is not in the README's table",
            variable.name
        );
    }
}

/// Variables as string literals: `"STEPSCOPE_X"`, or `'STEPSCOPE_X'` in Python.
fn quoted_variables(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("STEPSCOPE_") {
        let end = code[at..].find(|c: char| !c.is_ascii_uppercase() && c != '_').map_or(code.len(), |n| at + n);
        let quotes = (code[..at].chars().next_back(), code[end..].chars().next());
        let is_whole = at + "STEPSCOPE_".len() < end;
        if is_whole && matches!(quotes, (Some('"'), Some('"')) | (Some('\''), Some('\''))) {
            found.push(code[at..end].to_owned());
        }
    }
    found
}
