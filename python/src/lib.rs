//! `stepscope._stepscope`: the agent's function table, as Python sees it.
//!
//! This module links nothing of Stepscope. It finds the agent library that the process already has, or loads one
//! ([`library`]), and calls its table ([`table`]). Until then, and where there is no library, every call is a no-op.

mod event;
mod functions;
mod library;
mod names;
mod quick;
mod recorder;
mod said;
mod served;
mod span;
mod table;
mod texts;
mod tracks;
mod values;
mod vllm;

use pyo3::prelude::*;

/// The native half of the package `stepscope`.
#[pymodule(gil_used = false)]
mod _stepscope {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn begin(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::quick::install(module)
    }

    #[pymodule_export]
    use super::functions::{
        available, claim_steps, describe, iterate, join, leave, library_path, load, reason, step_batch, step_begin,
        step_end, step_stream, until_window,
    };
    #[pymodule_export]
    use super::recorder::{Counter, Instant, counter, duration, instant, moments, recording, request};
    #[pymodule_export]
    use super::served::served;
    #[pymodule_export]
    use super::span::{Span, span};
    #[pymodule_export]
    use super::tracks::Track;
    #[pymodule_export]
    use super::vllm::scheduling::Scheduling;
    #[pymodule_export]
    use super::vllm::section::Section;
    #[pymodule_export]
    use super::vllm::steps::Steps;
}
