//! Names the agent library for the linker (see `src/agent/ffi.rs`). Only where the agent is built alone: cargo warns of
//! link arguments for a library that the build does not make.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_SERVICE").is_none() {
        println!("cargo:rustc-link-arg-cdylib=-Wl,-soname,libstepscope.so.1");
        println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
    }
}
