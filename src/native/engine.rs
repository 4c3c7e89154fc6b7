//! The calls to an engine: who it is, whether it can profile, start, stop.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::capture::manifest::NativeCall;
use crate::client::{Answer, Client, NoAnswer};

use super::kind::Kind;

/// How long a question of who it is may take.
const QUESTION: Duration = Duration::from_secs(5);

/// Who an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: Kind,
    pub(super) version: Option<String>,
}

/// Asks who it is. `given`: which kind the settings say.
///
/// # Errors
/// What keeps it from being known, in words.
pub(super) async fn identify(http: &Client, given: Option<Kind>) -> Result<Identity, String> {
    let ask = async |path: &str| {
        let answer = http.get(path, QUESTION).await.map_err(|error| unreachable(http, &error))?;
        match answer.status {
            300..400 => Err(format!(
                "{} sends callers elsewhere (HTTP {}): name that with --engine-url",
                http.url(),
                answer.status
            )),
            _ => Ok(answer),
        }
    };
    let version_of = |answer: &Answer| answer.json().and_then(|j| j["version"].as_str().map(str::to_owned));
    // First of all: one that stands in front of an engine passes on everything else, but for what starts a capture.
    let sidecar = ask("stepscope/v1/status").await?;
    if sidecar.sidecar_status().is_some() || sidecar.is_closed_sidecar() {
        return Err(format!("{} is a stepscope sidecar: --engine-url is where the engine's own HTTP is", http.url()));
    }
    let info = ask("get_server_info").await?;
    let version = ask("version").await?;
    let kind = match given {
        Some(kind) => kind,
        None if info.is_ok() => Kind::Sglang,
        // A route of trtllm-serve alone, which is posted to.
        None if matches!(ask("kv_cache_events").await?.status, 200 | 405) => Kind::TensorRtLlm,
        None if version.is_ok() => Kind::Vllm,
        None => {
            return Err(format!(
                "{} does not say which engine it is (/version: HTTP {}): name it with --engine-kind vllm, sglang or tensorrt-llm",
                http.url(),
                version.status
            ));
        }
    };
    let version = if kind == Kind::Sglang { version_of(&info) } else { version_of(&version) };
    Ok(Identity { kind, version })
}

/// Whether it has a profiler; switches nothing on.
///
/// # Errors
/// The words that mend it.
pub(super) async fn check(http: &Client, kind: Kind) -> Result<(), String> {
    if !kind.start_is_post_only() {
        return Ok(()); // it is always there, and a GET would start it
    }
    let answer = http.get("start_profile", QUESTION).await.map_err(|error| unreachable(http, &error))?;
    match answer.status {
        404 => Err(format!("{} at {}: {}", kind.as_str(), http.url(), kind.not_enabled())),
        401 | 403 => Err(format!(
            "{} at {} wants a token: give it with STEPSCOPE_ENGINE_TOKEN or --engine-token-file",
            kind.as_str(),
            http.url()
        )),
        _ => Ok(()),
    }
}

fn unreachable(http: &Client, error: &NoAnswer) -> String {
    format!("the engine at {}: {error}: name its own HTTP with --engine-url", http.url())
}

/// One call to its profiler.
pub(super) async fn call(http: &Client, path: &str, body: Option<&Value>, patience: Duration) -> NativeCall {
    let began = Instant::now();
    let answer = http.post(path, body, patience).await;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, problem) = match answer {
        Ok(answer) if answer.is_ok() => (Some(answer.status), None),
        Ok(answer) => (Some(answer.status), Some(answer.refusal())),
        Err(error) => (None, Some(error.to_string())),
    };
    NativeCall { status, duration_ms, problem }
}
