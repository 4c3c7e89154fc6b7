//! The GPUs' counters, with NVML's stand-in (`tests/fakes/nvml.c`), with the real library and with none.

mod absent;
mod captures;
mod support;
