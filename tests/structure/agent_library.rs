//! The library inside the engine: how big it is, what it exports, what it needs. Built as the README and the Python
//! package build it, in a folder of its own, because the outer `cargo test` holds the lock of the usual one.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::support::top;

/// Bytes, stripped: a third more than it has, so that what comes to it is looked at.
const BUDGET_BYTES: u64 = 192 << 10;
/// What any glibc system has.
const SYSTEM_LIBRARIES: &[&str] = &["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
/// Most instructions of an idle `step_begin`, the way out included.
const IDLE_BEGIN_INSTRUCTIONS: usize = 12;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(top())
        .output()
        .unwrap_or_else(|e| panic!("{program} (binutils and cargo are needed): {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn build(folder: &str, more: &[&str]) -> PathBuf {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => top().join(folder),
        None => top().join("target"),
    };
    let target = target.join(folder);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--no-default-features", "--features", "agent"])
        .args(["--profile", "agent", "--locked", "--quiet"])
        .args(more)
        .current_dir(top())
        .env("CARGO_TARGET_DIR", &target);
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    target.join("agent/libstepscope.so")
}

/// The library, built once.
pub fn library() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| build("agent-check", &[]).to_str().unwrap().to_owned())
}

/// The same with its symbols, built once.
fn with_symbols() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    let keep = ["--config", "profile.agent.strip=false"];
    BUILT.get_or_init(|| build("agent-symbols", &keep).to_str().unwrap().to_owned())
}

#[test]
fn it_is_small() {
    let bytes = std::fs::metadata(library()).unwrap().len();
    assert!(bytes <= BUDGET_BYTES, "{bytes} bytes, the budget is {BUDGET_BYTES}");
    assert!(run("nm", &["--debug-syms", library()]).is_empty(), "not stripped");
}

/// A panic, or an allocation that fails, would be the engine's end; see `src/agent/mod.rs`. The linker leaves out what
/// nothing reaches, so what is not in the library cannot happen.
#[test]
fn nothing_in_it_can_panic_or_allocate() {
    let symbols = run("nm", &["--demangle", with_symbols()]);
    assert!(symbols.contains("stepscope::agent::hook::begin_slowly"), "not the symbols");
    let machinery =
        ["panicking", "rust_begin_unwind", "rust_eh_personality", "__rust_alloc", "alloc::alloc", "core::fmt"];
    let found: Vec<_> =
        symbols.lines().filter(|line| machinery.iter().any(|word| line.contains(word))).take(20).collect();
    let is_gnu_linked = !run("readelf", &["--string-dump=.comment", library()]).contains("Linker: LLD");
    assert!(is_gnu_linked, "linked without GNU's linker (see build.rs): install binutils");
    assert!(
        found.is_empty(),
        "a panic or an allocation can be reached; `objdump -dC` tells from where:\n{}",
        found.join("\n")
    );
}

#[test]
fn it_exports_its_table_and_what_nvtx_looks_for() {
    let listed = run("nm", &["--dynamic", "--defined-only", library()]);
    let symbols: Vec<_> = listed.lines().filter_map(|l| l.split_whitespace().last()).collect();
    assert_eq!(symbols, ["InitializeInjectionNvtx2", "stepscope_get_api"]);
}

#[test]
fn it_needs_what_every_system_has_and_cannot_be_unloaded() {
    let listed = run("readelf", &["--dynamic", "--wide", library()]);
    let named = |tag: &str| -> Vec<&str> {
        let lines = listed.lines().filter(|l| l.contains(tag));
        lines.filter_map(|l| l.split_once('[')?.1.split(']').next()).collect()
    };
    assert_eq!(named("(SONAME)"), ["libstepscope.so.1"]);
    let needed = named("(NEEDED)");
    assert!(needed.contains(&"libc.so.6"), "{listed}");
    for library in needed {
        assert!(SYSTEM_LIBRARIES.contains(&library), "needs {library}");
    }
    assert!(listed.lines().any(|l| l.contains("FLAGS_1") && l.contains("NODELETE")), "{listed}");
    assert!(!listed.contains("TEXTREL"), "{listed}");
}

/// vLLM's images go back to Ubuntu 22.04.
#[test]
fn it_loads_with_the_c_library_of_ubuntu_22_04() {
    let listed = run("nm", &["--dynamic", "--undefined-only", "--with-symbol-versions", library()]);
    let versions = listed.lines().filter_map(|l| l.split("@GLIBC_").nth(1));
    let newest = versions.map(|v| v.split('.').map(|n| n.parse().unwrap()).collect::<Vec<u32>>()).max().unwrap();
    assert!(newest <= vec![2, 35], "needs glibc {newest:?}");
}

#[test]
fn its_dependencies_are_libc_alone() {
    let arguments = ["tree", "--locked", "--no-default-features", "--features", "agent", "-e", "normal"];
    let tree = run(env!("CARGO"), &[&arguments[..], &["--prefix", "none", "--format", "{p}"]].concat());
    let names: Vec<_> = tree.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, ["stepscope", "libc"]);
}

/// DESIGN: one store, one load, one branch. What is counted is what the compiler made of it.
#[test]
#[cfg(target_arch = "x86_64")]
fn an_idle_step_is_a_handful_of_instructions() {
    let listed = run("objdump", &["-d", "--no-show-raw-insn", "-C", with_symbols()]);
    let body: Vec<_> = listed
        .lines()
        .skip_while(|l| !l.ends_with("ffi::step_begin>:"))
        .skip(1)
        .take_while(|l| !l.trim().is_empty())
        .filter_map(|l| l.split_once(":\t").map(|(_, code)| code.trim()))
        .collect();
    let end = body.iter().position(|code| code.starts_with("ret")).expect("step_begin returns");
    let idle = &body[..=end];
    assert!(idle.len() <= IDLE_BEGIN_INSTRUCTIONS, "{idle:#?}");
    for code in idle {
        let word = code.split_whitespace().next().unwrap();
        let is_slow = ["lock", "mfence", "sfence", "lfence", "xchg", "syscall", "rdtsc", "call"].contains(&word);
        assert!(!is_slow, "an idle step has a {word}: {idle:#?}");
    }
    assert_eq!(idle.iter().filter(|code| code.starts_with('j')).count(), 1, "one branch: {idle:#?}");
}
