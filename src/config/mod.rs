//! Settings of the sidecar: what they are, where they come from, what they are called.
//!
//! Defaults are overridden by the settings file, that by the environment, that by flags ([`mod@load`]). A key nobody knows
//! is an error, so that a typing mistake never passes for a setting. Every environment variable of Stepscope, the
//! agent's too, stands in one table ([`variables`]).
//!
//! Called by `cli` and `service`. Uses nothing of ours.

pub mod arguments;
pub mod load;
pub mod networks;
pub mod private_file;
pub mod settings;
pub mod tokens;
pub mod variables;

pub use arguments::ServeArguments;
pub use load::{SettingsError, load};
pub use settings::{
    DefaultProfiler, EngineKind, EngineSettings, LogFormat, LogSettings, NvmlSettings, Retention, Settings,
};
