//! How the agent library is linked (see `src/agent/ffi.rs`). Only where the agent is built alone: cargo warns of link
//! arguments for a library that the build does not make.
//!
//! GNU's linker, where it is there: it leaves out the exception tables of code that it leaves out, and what only they
//! refer to. Rust's default on x86-64 keeps them, and through them the standard library's panic machinery, which nothing
//! in the agent can reach: four times the bytes, no other difference.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PATH");
    if std::env::var_os("CARGO_FEATURE_SERVICE").is_none() {
        println!("cargo:rustc-link-arg-cdylib=-Wl,-soname,libstepscope.so.1");
        println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
        println!("cargo:rustc-link-arg-cdylib=-Wl,-z,noseparate-code");
        let is_native = std::env::var_os("HOST") == std::env::var_os("TARGET");
        let path = std::env::var_os("PATH").unwrap_or_default();
        if is_native && std::env::split_paths(&path).any(|folder| folder.join("ld.bfd").exists()) {
            println!("cargo:rustc-link-arg-cdylib=-fuse-ld=bfd");
        }
    }
}
