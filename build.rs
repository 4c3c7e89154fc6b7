//! Tells the linker what the agent library is called; see `src/agent/ffi.rs`.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-cdylib=-Wl,-soname,libstepscope.so.1");
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
}
