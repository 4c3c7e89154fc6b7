//! What each server's `/start_profile` is called and what it takes, and how a window of ours is said in its words.
//!
//! | server | path | window it can be told |
//! | --- | --- | --- |
//! | stepscope | `start_profile` | all of it |
//! | vLLM | `start_profile` | delay and length; 0.32 skips one iteration fewer than it is told, which is made up for |
//! | SGLang | `start_profile` | length, and a first step by number |
//! | vLLM-Omni | `start_profile` | none: it is set per stage when the server is started |
//! | TensorRT-LLM | `start_profile` | delay and length, exactly |
//! | Dynamo | `engine/control/start_profile`, before that `engine/start_profile` | none: it is the worker's own |
//!
//! What a server can't be told is left out, and said.

use serde_json::{Map, Value, json};

use super::http::StartBody;

/// Who answers at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Our sidecar.
    Stepscope,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// vLLM-Omni.
    VllmOmni,
    /// TensorRT-LLM.
    TensorrtLlm,
    /// A worker's control port of NVIDIA Dynamo.
    Dynamo,
}

/// A start in a server's own words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForeignStart {
    /// Body; `None` for none at all.
    pub body: Option<Value>,
    /// What is done differently from what was asked, in words.
    pub words: Vec<String>,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Stepscope, Self::Vllm, Self::Sglang, Self::VllmOmni, Self::TensorrtLlm, Self::Dynamo];

    /// Its name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stepscope => "stepscope",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::VllmOmni => "vllm-omni",
            Self::TensorrtLlm => "tensorrt-llm",
            Self::Dynamo => "dynamo",
        }
    }

    /// By its name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Where it is started, newest way first: another one is tried where the first is not there.
    pub fn start_paths(self) -> &'static [&'static str] {
        match self {
            Self::Dynamo => &["engine/control/start_profile", "engine/start_profile"],
            _ => &["start_profile"],
        }
    }

    /// Where it is stopped, by where it was started.
    pub fn stop_path(start_path: &str) -> String {
        start_path.replace("start_profile", "stop_profile")
    }

    /// A window in the words of a server that is not ours.
    pub fn foreign_start(self, wanted: &StartBody) -> ForeignStart {
        let mut words = Vec::new();
        let mut body = Map::new();
        let (delay, max) = (wanted.delay_iterations.unwrap_or(0), wanted.max_iterations.unwrap_or(0));
        match self {
            Self::Stepscope => {}
            Self::Vllm => {
                if delay > 0 {
                    body.insert("delay_iterations".into(), json!(delay + 1));
                    words.push(format!(
                        "vLLM (0.32) skips one iteration fewer than it is told: it is told {} so that {delay} are skipped",
                        delay + 1
                    ));
                }
                if max > 0 {
                    body.insert("max_iterations".into(), json!(max));
                    words.push(format!(
                        "vLLM closes a window when another iteration begins: after {max} iterations it stays open on an idle engine until the stop"
                    ));
                }
                if let Some(prefix) = &wanted.profile_prefix {
                    body.insert("profile_prefix".into(), json!(prefix));
                }
            }
            Self::Sglang => {
                if let Some(first) = wanted.start_iteration {
                    body.insert("start_step".into(), json!(first));
                } else if max > 0 {
                    body.insert("start_step".into(), json!(1));
                    words.push(format!(
                        "SGLang takes one step fewer where it is told no first one: it is told start_step 1, which is its next, so that {max} are taken"
                    ));
                }
                if max > 0 {
                    body.insert("num_steps".into(), json!(max));
                }
                if let Some(prefix) = &wanted.profile_prefix {
                    body.insert("profile_prefix".into(), json!(prefix));
                }
                if delay > 0 {
                    words.push(format!(
                        "SGLang counts from its own start and does not say where it is: {delay} iterations are not skipped"
                    ));
                }
            }
            Self::TensorrtLlm => {
                if delay > 0 {
                    body.insert("start_step".into(), json!(delay));
                }
                if max > 0 {
                    body.insert("num_steps".into(), json!(max));
                }
            }
            Self::VllmOmni | Self::Dynamo => {
                if delay > 0 || max > 0 || wanted.start_iteration.is_some() {
                    words.push(format!("{} takes no window: it is set where the server is started", self.name()));
                }
            }
        }
        self.left_out(wanted, &mut words);
        ForeignStart { body: (!body.is_empty()).then_some(body.into()), words }
    }

    fn left_out(self, wanted: &StartBody, words: &mut Vec<String>) {
        let numbered = wanted.start_iteration.is_some() && matches!(self, Self::Vllm | Self::TensorrtLlm);
        let prefixed = wanted.profile_prefix.is_some() && !matches!(self, Self::Vllm | Self::Sglang);
        let left_out: Vec<&str> = [
            ("start_iteration", numbered),
            ("profile_prefix", prefixed),
            ("profiler", wanted.profiler.is_some()),
            ("synchronize", wanted.synchronize.is_some()),
            ("lead_iterations", wanted.lead_iterations.is_some()),
            ("cuda_ranks", wanted.cuda_ranks.is_some()),
            ("level", wanted.level.is_some()),
            ("job", wanted.job.is_some()),
            ("ranks", wanted.ranks.is_some()),
            ("max_duration_ms", wanted.max_duration_ms.is_some()),
            ("max_events", wanted.max_events.is_some()),
            ("max_bytes", wanted.max_bytes.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        if !left_out.is_empty() {
            words.push(format!("{} can't be told: {}", self.name(), left_out.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(delay: u64, max: u64) -> StartBody {
        StartBody { delay_iterations: Some(delay), max_iterations: Some(max), ..StartBody::default() }
    }

    #[test]
    fn a_window_keeps_its_meaning_in_each_servers_own_numbers() {
        let body = |protocol: Protocol, delay, max| protocol.foreign_start(&window(delay, max)).body;
        assert_eq!(body(Protocol::Vllm, 10, 4), Some(json!({"delay_iterations": 11, "max_iterations": 4})));
        assert_eq!(body(Protocol::Vllm, 0, 0), None);
        assert_eq!(body(Protocol::TensorrtLlm, 10, 4), Some(json!({"start_step": 10, "num_steps": 4})));
        assert_eq!(body(Protocol::Sglang, 0, 4), Some(json!({"start_step": 1, "num_steps": 4})));
        assert_eq!(body(Protocol::VllmOmni, 10, 4), None);
        assert_eq!(body(Protocol::Dynamo, 10, 4), None);
    }

    #[test]
    fn whatever_cannot_be_told_is_said() {
        let words = |protocol: Protocol, wanted: &StartBody| protocol.foreign_start(wanted).words.join("\n");
        assert!(words(Protocol::Vllm, &window(10, 0)).contains("told 11 so that 10 are skipped"));
        assert!(words(Protocol::Sglang, &window(10, 0)).contains("10 iterations are not skipped"));
        assert!(words(Protocol::Dynamo, &window(10, 4)).contains("takes no window"));
        let numbered = StartBody { start_iteration: Some(5), level: Some("off".into()), ..StartBody::default() };
        assert!(words(Protocol::TensorrtLlm, &numbered).contains("can't be told: start_iteration, level"));
        assert_eq!(Protocol::Sglang.foreign_start(&numbered).body, Some(json!({"start_step": 5})));
    }
}
