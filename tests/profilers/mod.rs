//! What a window switches on besides recording: the CUDA profiler, NVTX ranges. The driver and the tool are stand-ins at
//! their ABI; the engine, the agent and the sidecar are real.

mod cuda;
mod nvtx_in;
mod nvtx_out;
mod nvtx_spans;
mod support;
