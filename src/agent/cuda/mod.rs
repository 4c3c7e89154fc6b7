//! The CUDA driver, as the agent uses it: the profiler's calls, contexts, events for device times.
//!
//! Loaded only when a sidecar asks what this process can do, on the helper thread; an engine that nobody profiles never
//! meets it. Every code that comes back is kept; none is acted on but by not going on.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`driver`] | the library and its symbols |
//! | [`events`] | how long an iteration took on the device |
//!
//! Called by the window and the profiler of this room.

pub(super) mod driver;
pub(super) mod events;
