//! Kinds of engines: how each is told from the others, how it counts, and what mends one that can't profile.
//!
//! | | counts from | first profiled after `start` | closes |
//! | --- | --- | --- | --- |
//! | vLLM | its own worker's steps since the start landed | `delay_iterations` = N ≥ 1: the N-th; 0 is like 1, but starts at once | at the beginning of iteration M + 1, so by a stop where none comes |
//! | SGLang | `forward_ct` since the process began, which nobody tells | the one after it landed | by a stop; `num_steps` would stop one early |
//! | TensorRT-LLM | the next iteration | `start_step` = N: the one after N more | after `num_steps`, or by a stop |

use serde_json::{Value, json};

use crate::capture::native::Wanted;

/// An engine that has a profiler of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's `trtllm-serve`.
    TensorRtLlm,
}

impl Kind {
    /// The word that settings and manifests use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TensorRtLlm => "tensorrt-llm",
        }
    }

    /// The body of a start whose first profiled iteration is to be the window's first one.
    pub(super) fn start_body(self, wanted: &Wanted, begun: u64) -> Value {
        // 1: the very next one.
        let ahead = wanted.first_iteration.saturating_sub(begun).max(1);
        // Late: what is left of the window.
        let late = (begun + 1).saturating_sub(wanted.first_iteration);
        let count = wanted.max_iterations.saturating_sub(late);
        let mut body = match self {
            Self::Vllm => json!({"profile_prefix": wanted.prefix, "delay_iterations": ahead}),
            // Its own count of steps is not known here, and without it `num_steps` = N records N − 1.
            Self::Sglang => json!({"profile_prefix": wanted.prefix}),
            Self::TensorRtLlm => json!({"start_step": ahead - 1}),
        };
        if count > 0 {
            match self {
                Self::Vllm => body["max_iterations"] = count.into(),
                Self::Sglang => {}
                Self::TensorRtLlm => body["num_steps"] = count.into(),
            }
        }
        body
    }

    /// It is told how far off the window is. One that is not starts when the call reaches it.
    pub(super) fn takes_a_delay(self) -> bool {
        self != Self::Sglang
    }

    /// The words that mend an engine which has no such route.
    pub(super) fn not_enabled(self) -> &'static str {
        match self {
            Self::Vllm => {
                "its profiler is not enabled (HTTP 404): start it with vllm serve --profiler-config \
                 '{\"profiler\":\"torch\",\"torch_profiler_dir\":\"/a/folder\",\"torch_profiler_with_stack\":false}'"
            }
            Self::Sglang => {
                "it has no /start_profile (HTTP 404): this version can't profile, or a router stands in front of it"
            }
            Self::TensorRtLlm => {
                "it has no /start_profile (HTTP 404): trtllm-serve has one since May 2026, with the PyTorch backend"
            }
        }
    }

    /// Whether a plain GET of its start route starts nothing and shows that it is there (405).
    pub(super) fn start_is_post_only(self) -> bool {
        self != Self::Sglang
    }
}

/// The rank in the name of an engine's file.
pub(super) fn rank_of(name: &str) -> Option<u32> {
    ["_rank", "-rank-", "-TP-"].iter().find_map(|mark| {
        let (_, rest) = name.rsplit_once(mark)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(first_iteration: u64, max_iterations: u64) -> Wanted {
        Wanted {
            first_iteration,
            max_iterations,
            begun: 0,
            call_iterations: 2,
            prefix: "p".into(),
            accepted_at_ns: 0,
            taken_up: false,
        }
    }

    #[test]
    fn each_engine_is_told_our_window_in_its_own_numbers() {
        let body = |kind: Kind, begun| kind.start_body(&wanted(104, 5), begun);
        assert_eq!(
            body(Kind::Vllm, 100),
            json!({"profile_prefix": "p", "delay_iterations": 4, "max_iterations": 5}),
            "vLLM's N-th step after the start is its first: 101, 102, 103, 104"
        );
        assert_eq!(body(Kind::Vllm, 103)["delay_iterations"], 1);
        assert_eq!(body(Kind::TensorRtLlm, 100), json!({"start_step": 3, "num_steps": 5}));
        assert_eq!(body(Kind::Sglang, 100), json!({"profile_prefix": "p"}));
        assert_eq!(Kind::Vllm.start_body(&wanted(104, 0), 100).get("max_iterations"), None);
    }

    #[test]
    fn a_start_that_is_late_asks_for_what_is_left() {
        let body = Kind::Vllm.start_body(&wanted(104, 5), 105);
        assert_eq!((&body["delay_iterations"], &body["max_iterations"]), (&json!(1), &json!(3)));
    }

    #[test]
    fn ranks_are_read_from_the_names_that_engines_give() {
        for (name, rank) in [
            ("id_dp0_pp0_tp1_dcp0_ep1_rank1.1795780000000000000.pt.trace.json.gz", Some(1)),
            ("id-1795780000.1-TP-3-DP-0.trace.json.gz", Some(3)),
            ("trtllm-trace-1795780000-0123abcd-rank-12.json", Some(12)),
            ("id_host_17.async_llm.1795780000.pt.trace.json.gz", None),
        ] {
            assert_eq!(rank_of(name), rank, "{name}");
        }
    }
}
