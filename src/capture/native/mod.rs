//! The engine's own profiler, from a capture's side.
//!
//! | file | what it answers |
//! | --- | --- |
//! | `port` | what a capture wants of it, and what it tells: filled in by the room `native` |
//! | `driving` | when it is asked, and whether it has let go |
//! | `files` | what it wrote, taken into the capture |
//! | [`covered`] | which of our iterations its traces show |
//! | `manifest` | what is said of it |
//!
//! Called by `manager`, `running` and `exporter`.

pub mod covered;
pub(super) mod driving;
pub(super) mod files;
pub(super) mod manifest;
mod port;

pub use port::{Facts, Later, Native, Phase, Shown, Talk, Told, Wanted};
