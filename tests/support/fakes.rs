//! Stand-ins for vendor libraries that can't be here, built from `tests/fakes/` at their ABI, and what they were called.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Builds `tests/fakes/NAME.c` into a library called `file`, in a folder of its own; once per set of flags.
pub fn library(name: &str, file: &str, flags: &[&str]) -> PathBuf {
    build(name, file, flags, true)
}

fn build(name: &str, file: &str, flags: &[&str], shared: bool) -> PathBuf {
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fake-{name}{}", flags.concat()));
    if !built.insert(folder.clone()) {
        return folder.join(file);
    }
    std::fs::create_dir_all(&folder).unwrap();
    let (library, fresh) = (folder.join(file), folder.join(format!("{file}.{}", std::process::id())));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fakes/{name}.c"));
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC"])
        .args(shared.then_some("-shared"))
        .arg("-o")
        .arg(&fresh)
        .arg(source)
        .args(flags)
        .arg("-lpthread")
        .status()
        .expect("a C compiler is needed");
    assert!(compiled.success());
    std::fs::rename(&fresh, &library).unwrap();
    // Looked for without a version too.
    if let Some((plain, _)) = file.split_once(".so.") {
        let link = folder.join(format!("{plain}.so"));
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(file, &link).unwrap();
    }
    library
}

/// Builds `tests/fakes/NAME.c` as a program, once.
pub fn program(name: &str) -> PathBuf {
    build(name, name, &["-ldl"], false)
}

/// One call of a stand-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub pid: u32,
    pub tid: u32,
    pub name: String,
    pub detail: String,
}

/// All calls so far, in their order over all processes.
pub fn calls(log: &Path) -> Vec<Call> {
    // A line that is just being written may be seen in part, where it crosses a page of the file.
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let call = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (pid, tid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Call { pid, tid, name: words.next()?.into(), detail: words.next().unwrap_or_default().into() })
    };
    whole.lines().map(|line| call(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
}
