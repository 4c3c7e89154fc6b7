//! What the plugin `stepscope.vllm` does at each iteration of a vLLM, in one call per place: an iteration touches much memory,
//! and what costs here is what is no longer in a cache, so little must be looked at.
//!
//! | file | place |
//! | --- | --- |
//! | `steps` | the worker: an iteration, its batch, its requests |
//! | `scheduling` | the engine core: spans and counters of the scheduler |
//! | `section` | the API server: a span whose one argument is a number |
//! | `own_span` | the span that both of these are made of |
//!
//! Nothing here raises into vLLM.

mod own_span;
pub(crate) mod scheduling;
pub(crate) mod section;
pub(crate) mod steps;
