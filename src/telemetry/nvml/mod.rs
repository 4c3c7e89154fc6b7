//! Counters of the GPUs through NVML, sampled by one thread: `stepscope-nvml`.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`sampler`] | the thread: when is what read, and how it ends |
//! | `gpu` | one GPU or MIG instance: its counters, and those it lacks |
//! | `reads` | the calls, metric by metric |
//! | `gpm` | the finer metrics of cards since Hopper |
//! | `engines` | which processes are the attached engines' |
//! | [`library`] | NVML itself, and why it is not there |
//! | [`status`] | what is shown |
//!
//! * **When.** Every `nvml.period_ms` while no window is open; from the opening of a window on, at once and then every
//!   `nvml.window_period_ms` until the capture ends. A period that was missed is left out, not made up for.
//! * **PCIe.** NVML's throughput call takes 20 ms, and one call knows one direction of one GPU. It comes last: all of
//!   them while no window is open, one per period (in turns) while one is. Where GPM knows it, the call is not made.
//! * **What is not there.** A call that fails makes its counter absent, with the reason; it is made again after ten
//!   seconds, unless NVML says that it is not supported. A GPU that is lost is not asked again. Each is logged once.
//! * **Isolation.** NVML is called on this thread alone, holding no lock. A call that hangs ends the samples and nothing
//!   else; a shutdown leaves such a thread behind.
//!
//! Called by `service` and `doctor`. Hands values to [`crate::capture::beside::counters`].

mod engines;
mod gpm;
mod gpu;
pub mod library;
mod reads;
pub mod sampler;
pub mod status;

pub use sampler::Sampler;
pub use status::{GpuStatus, Gpus};
