//! What we depend on: licences, sources, bans. Asked of cargo itself, for every platform and feature in the lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::support::top;

/// Licences that may be linked into an Apache-2.0 binary without asking anybody.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Of data: the root certificates that Mozilla lists.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// What must not come in, by whichever door, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "links a system library that containers have in three versions"),
    ("openssl-sys", "links a system library that containers have in three versions"),
    ("native-tls", "pulls openssl"),
    ("figment", "no release for years"),
    ("humantime-serde", "no release for years"),
    ("tonic", "a gRPC stack for nothing we do; it comes with tower_governor's default features"),
    ("nvtx-sys", "needs libclang to build"),
    ("divan", "no release for 19 months; gungraun and plain loops do"),
    ("chrono", "jiff is here"),
    ("time", "jiff is here"),
    ("lazy_static", "std has LazyLock"),
    ("actix-web", "axum is here"),
    ("serde_yaml", "unmaintained"),
    ("atty", "unmaintained; std has IsTerminal"),
    ("ansi_term", "unmaintained"),
    ("failure", "unmaintained"),
    ("structopt", "clap is here"),
];

/// Bans that something we want still brings along, each with who brings it. Checked, so that it goes when it can.
const TOLERATED: &[(&str, &str)] = &[("lazy_static", "sharded-slab")];

/// One major version of these: two would mean two event loops, two HTTP stacks, or types that do not meet.
const SINGLE: &[&str] = &[
    "axum",
    "bytes",
    "clap",
    "futures-util",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "jiff",
    "libc",
    "prometheus-client",
    "reqwest",
    "rustls",
    "serde",
    "serde_json",
    "tokio",
    "tokio-util",
    "toml",
    "tower",
    "tracing",
    "tracing-core",
    "tracing-subscriber",
    "uuid",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let all = metadata["packages"].as_array().unwrap();
    assert!(all.len() > 50, "cargo metadata lists {} packages", all.len());
    all.iter().map(|p| (p["name"].as_str().unwrap(), p["version"].as_str().unwrap(), p))
}

/// `A OR B` needs one of them, `A AND B` both; `/` is an old way to write OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(" or ", " OR ");
    let bare = expression.replace(['(', ')'], " ");
    if expression.contains('(') {
        // With parentheses all of it has to be fine: stricter than the words, and enough so far.
        return bare.split(" AND ").all(|part| part.split(" OR ").any(|l| LICENCES.contains(&l.trim())));
    }
    expression.split(" OR ").any(|choice| choice.split(" AND ").all(|l| LICENCES.contains(&l.trim())))
}

#[test]
fn licences_are_ones_we_may_ship() {
    assert!(
        is_allowed("MIT OR GPL-3.0")
            && is_allowed("MIT/Apache-2.0")
            && is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0")
    );
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed("(MIT OR ISC) AND GPL-2.0"));
    let metadata = metadata();
    let wrong: Vec<_> = packages(&metadata)
        .filter(|(_, _, p)| !p["license"].as_str().is_some_and(is_allowed))
        .map(|(name, version, p)| format!("{name} {version}: {}", p["license"]))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn everything_comes_from_the_registry() {
    let metadata = metadata();
    let members: BTreeSet<_> = metadata["workspace_members"].as_array().unwrap().iter().map(Value::to_string).collect();
    for (name, version, package) in packages(&metadata) {
        match package["source"].as_str() {
            Some(source) => assert!(source.starts_with("registry+"), "{name} {version} comes from {source}"),
            None => assert!(members.contains(&package["id"].to_string()), "{name} {version} is a path outside"),
        }
    }
}

#[test]
fn nothing_banned_comes_in() {
    let metadata = metadata();
    let names: BTreeMap<_, _> = packages(&metadata).map(|(name, _, p)| (p["id"].as_str().unwrap(), name)).collect();
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        for dependency in node["deps"].as_array().unwrap() {
            let (user, used) = (node["id"].as_str().unwrap(), dependency["pkg"].as_str().unwrap());
            users.entry(names[used]).or_default().insert(names[user]);
        }
    }
    let there: BTreeSet<_> = packages(&metadata).map(|(name, ..)| name).collect();
    for (name, reason) in BANNED {
        if !there.contains(name) {
            continue;
        }
        let tolerated: BTreeSet<_> = TOLERATED.iter().filter(|(banned, _)| banned == name).map(|(_, by)| *by).collect();
        let by: Vec<_> = users.get(name).into_iter().flatten().filter(|user| !tolerated.contains(*user)).collect();
        assert!(by.is_empty() && !tolerated.is_empty(), "{name} is banned ({reason}); brought by {by:?}");
    }
    for (name, by) in TOLERATED {
        assert!(there.contains(name) && there.contains(by), "{name} by {by} need not be tolerated any more");
    }
}

#[test]
fn what_must_be_one_is_one() {
    let metadata = metadata();
    let mut majors: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, version, _) in packages(&metadata) {
        let mut numbers = version.split('.');
        let (major, minor) = (numbers.next().unwrap(), numbers.next().unwrap());
        majors.entry(name).or_default().insert(if major == "0" { format!("0.{minor}") } else { major.to_owned() });
    }
    for name in SINGLE {
        let found = majors.get(name).map_or(0, BTreeSet::len);
        assert!(found <= 1, "{name} is there in {:?}", majors[name]);
    }
}
