//! What is recorded beside the ranks: values that others in this process hand in while a window is open, and their files.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`counters`], `gpus` | counters of the GPUs: handed in, and on the disk |
//! | [`passed`], `proxied` | requests that passed through the sidecar: handed in, and on the disk |
//!
//! Handed in by `telemetry` and `proxy`, written by `files`.

pub mod counters;
pub(super) mod gpus;
pub mod passed;
pub(super) mod proxied;
