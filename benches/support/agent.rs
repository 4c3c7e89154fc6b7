//! The agent library as an engine has it: built with its own profile, loaded with dlopen, called through its table. And
//! a library with one empty function, for scale.

use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use stepscope::agent::ffi::{ABI, Api, CIdentity};

type GetApi = extern "C" fn(u32) -> *const Api;

/// The loaded agent; never unloaded.
pub struct Agent {
    /// Its table.
    pub api: &'static Api,
    /// Its only exported symbol.
    pub get_api: GetApi,
}

fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    if here.ends_with("benches/peers") { here.join("../..") } else { here.to_owned() }
}

fn target() -> PathBuf {
    top().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn load<T: Copy>(path: &Path, symbol: &str) -> T {
    // SAFETY: our own libraries, whose initialisers do nothing; the symbols have the types that the callers name.
    unsafe {
        let library = Library::open(Some(path), RTLD_NOW | RTLD_LOCAL).expect("the library loads");
        let found: Symbol<T> = library.get(symbol).expect("the symbol is there");
        let value = *found;
        std::mem::forget(library);
        value
    }
}

impl Agent {
    /// Builds it; the library.
    pub fn build() -> PathBuf {
        let folder = target().join("agent-check");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["rustc", "--lib", "--crate-type", "cdylib", "--no-default-features", "--features", "agent"])
            .args(["--profile", "agent", "--quiet"])
            .current_dir(top())
            .env("CARGO_TARGET_DIR", &folder)
            .status();
        assert!(built.is_ok_and(|s| s.success()), "the agent library was not built");
        folder.join("agent/libstepscope.so")
    }

    /// Builds and loads it.
    pub fn load() -> Self {
        let get_api: GetApi = load(&Self::build(), "stepscope_get_api");
        // SAFETY: valid for ever, says the header.
        let api = unsafe { get_api(ABI).as_ref() }.expect("the library speaks our version");
        Self { api, get_api }
    }

    /// Joins as a rank.
    pub fn join(&self) {
        let none = std::ptr::null();
        let identity = CIdentity {
            size: size_of::<CIdentity>() as u32,
            role: 1,
            rank: 0,
            world_size: 1,
            job: none,
            group: none,
            engine: c"benchmark".as_ptr(),
            label: none,
            flags: 0,
            reserved: 0,
        };
        // SAFETY: a whole identity.
        assert_eq!(unsafe { (self.api.join)(&identity) }, 0, "joined");
    }
}

/// An empty function in a library of its own, built with `cc -O2`.
pub fn empty_function(folder: &Path) -> extern "C" fn() -> u64 {
    let (source, library) = (folder.join("empty.c"), folder.join("libempty.so"));
    std::fs::write(&source, "unsigned long empty(void) { return 0; }\n").expect("a file is written");
    let made = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(made.is_ok_and(|s| s.success()), "cc is needed");
    load(&library, "empty")
}
