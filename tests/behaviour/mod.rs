//! How it must behave, end to end: engine processes, a sidecar process, HTTP.

mod attach;
mod events;
mod formats;
mod groups;
mod held;
mod kills;
mod load;
mod native;
mod pace;
mod rings;
mod stop;
mod store;
mod stuck;
mod window;
