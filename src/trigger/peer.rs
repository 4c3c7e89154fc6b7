//! One target while it is called: told apart, brought to the edge, opened, stopped. What it answers is told as it came.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::clock::Moment;
use super::targets::{Target, TargetError};
use crate::client::protocol::Protocol;
use crate::client::types::{Capture, Status};
use crate::client::{Answer, Client, NoAnswer, StartBody};

/// How often a target is asked again that still drains the phase before.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a stop that failed is sent.
const STOPS: u32 = 3;
const STOP_AGAIN: Duration = Duration::from_millis(250);

/// A target.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its place among the targets.
    pub index: usize,
    pub base: String,
    pub client: Client,
    protocol: OnceLock<Protocol>,
    told: bool,
}

/// At the edge: one call away from its window.
#[derive(Debug, Clone)]
pub(super) enum Ready {
    /// A sidecar has accepted a capture. `held`: it waits to be opened; an older one has begun.
    Sidecar { id: String, held: bool, status: Box<Status>, sent: Moment, capture: Box<Capture> },
    /// An engine of its own, which can't be held.
    Engine(Protocol),
}

/// A target that started.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub protocol: Protocol,
    pub capture_id: Option<String>,
    pub agreed_at_ns: Option<u64>,
    pub stop_path: String,
    /// Words about how the window was put.
    pub words: Vec<String>,
}

/// Why it did not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failed {
    pub status: Option<u16>,
    pub error: String,
    /// It ran past the iteration that its group agreed on.
    pub missed: bool,
}

/// A call, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Called<T> {
    pub url: String,
    pub sent: Moment,
    pub answered: Option<Moment>,
    pub body: Option<Value>,
    pub outcome: Result<T, Failed>,
}

impl Failed {
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self { status: None, error: error.into(), missed: false }
    }

    fn of_answer(answer: &Answer) -> Self {
        let missed = answer.reason().as_deref() == Some("iteration_is_past");
        Self { status: Some(answer.status), error: answer.refusal(), missed }
    }
}

impl From<NoAnswer> for Failed {
    fn from(error: NoAnswer) -> Self {
        Self::new(error.to_string())
    }
}

fn accepted(answer: Result<Answer, NoAnswer>) -> Result<Answer, Failed> {
    let answer = answer?;
    if answer.is_ok() { Ok(answer) } else { Err(Failed::of_answer(&answer)) }
}

impl Peer {
    /// Nothing is sent yet.
    pub(super) fn new(index: usize, target: &Target, trusted: Option<&Path>) -> Result<Self, TargetError> {
        let client = Client::unhurried(&target.base, target.token.clone(), trusted).map_err(|error| {
            TargetError::Address(crate::client::endpoint::BadEndpoint {
                given: target.base.clone(),
                reason: error.to_string(),
            })
        })?;
        let protocol = target.protocol.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { index, base: target.base.clone(), client, protocol, told: target.protocol.is_some() })
    }

    /// Who answers there, as far as it is known.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.protocol.get().copied()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// Asks who it is, and has a sidecar accept a capture. `until`: nothing is begun after that. `patience`: how long an
    /// answer is listened for.
    pub(super) async fn prepare(
        &self,
        wanted: &StartBody,
        again: bool,
        until: Instant,
        patience: Duration,
    ) -> Result<Ready, Failed> {
        let protocol = self.protocol();
        if let Some(protocol) = protocol.filter(|p| *p != Protocol::Stepscope) {
            return Ok(Ready::Engine(protocol));
        }
        let answer = self.client.get("stepscope/v1/status", patience).await?;
        let said = answer.sidecar_status();
        // One that is closed may take a start without a token all the same.
        if said.is_none() && !answer.is_closed_sidecar() {
            if protocol.is_some() || answer.reason().is_some() {
                return Err(Failed::of_answer(&answer));
            }
            let _ = self.protocol.set(Protocol::Vllm);
            return Ok(Ready::Engine(Protocol::Vllm));
        }
        let _ = self.protocol.set(Protocol::Stepscope);
        let status: Status = said.and_then(|said| serde_json::from_value(said).ok()).unwrap_or_default();
        let body = serde_json::to_value(wanted).unwrap_or_default();
        loop {
            if Instant::now() >= until {
                return Err(Failed::new("it answered too late"));
            }
            let sent = Moment::now();
            match accepted(self.client.post("start_profile", Some(&body), patience).await) {
                Ok(answer) => {
                    let capture: Capture = serde_json::from_str(&answer.body).unwrap_or_default();
                    let (id, held) = (capture.capture_id.clone(), capture.held);
                    let (status, capture) = (Box::new(status), Box::new(capture));
                    return Ok(Ready::Sidecar { id, held, status, sent, capture });
                }
                // The phase before still drains.
                Err(failed) if failed.status == Some(409) && again && Instant::now() + AGAIN * 2 < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    /// What a sidecar sees by now.
    pub(super) async fn status(&self, patience: Duration) -> Option<Status> {
        let answer = self.client.get("stepscope/v1/status", patience).await.ok()?;
        serde_json::from_value(answer.json()?).ok()
    }

    /// The one call that opens its window, at iteration `first` if one was agreed on.
    pub(super) async fn open(
        &self,
        ready: &Ready,
        wanted: &StartBody,
        first: Option<u64>,
        patience: Duration,
    ) -> Called<Started> {
        match ready {
            Ready::Sidecar { id, held, sent, capture, .. } => {
                let path = format!("stepscope/v1/captures/{id}/open");
                let started = |capture: &Capture| Started {
                    protocol: Protocol::Stepscope,
                    capture_id: Some(id.clone()),
                    agreed_at_ns: capture.agreed_at_ns,
                    stop_path: format!("stop_profile?capture_id={id}"),
                    words: capture.warnings.clone(),
                };
                let url = self.url("start_profile");
                if !held {
                    let (sent, outcome) = (*sent, Ok(started(capture)));
                    return Called { url, sent, answered: None, body: None, outcome };
                }
                let query = first.map_or_else(String::new, |first| format!("?start_iteration={first}"));
                let sent = Moment::now();
                let answer = accepted(self.client.post(&format!("{path}{query}"), None, patience).await);
                let answered = Some(Moment::now());
                let read = |answer: Answer| started(&serde_json::from_str(&answer.body).unwrap_or_default());
                let body = first.map(|first| json!({"start_iteration": first}));
                Called { url, sent, answered, body, outcome: answer.map(read) }
            }
            Ready::Engine(protocol) => self.open_engine(*protocol, wanted, patience).await,
        }
    }

    async fn open_engine(&self, protocol: Protocol, wanted: &StartBody, patience: Duration) -> Called<Started> {
        let mut foreign = protocol.foreign_start(wanted);
        if !self.told {
            foreign.words.insert(0, "it is no sidecar and was taken for vllm; --engine says otherwise".into());
        }
        let paths = protocol.start_paths();
        let mut called = None;
        for (at, path) in paths.iter().enumerate() {
            let sent = Moment::now();
            let answer = accepted(self.client.post(path, foreign.body.as_ref(), patience).await);
            let absent = answer.as_ref().is_err_and(|failed| failed.status == Some(404));
            let started = |answer: Answer| {
                let mut words = foreign.words.clone();
                let id = answer.json().and_then(|json| Some(json["capture_id"].as_str()?.to_owned()));
                if let Some(id) = id {
                    words.push(format!(
                        "a sidecar answered behind it (capture {id}), and took the numbers as they are: name the sidecar itself"
                    ));
                }
                let stop_path = Protocol::stop_path(path);
                Started { protocol, capture_id: None, agreed_at_ns: None, stop_path, words }
            };
            let (answered, body) = (Some(Moment::now()), foreign.body.clone());
            let outcome = answer.map(started);
            called = Some(Called { url: self.url(path), sent, answered, body, outcome });
            if !absent || at + 1 == paths.len() {
                break;
            }
        }
        called.unwrap_or_else(|| Called {
            url: self.base.clone(),
            sent: Moment::now(),
            answered: None,
            body: None,
            outcome: Err(Failed::new("there is no way to start it")),
        })
    }

    /// Stops what was started. A sidecar is told again where the first word may not have reached it; an engine takes as long
    /// as it takes.
    pub(super) async fn stop(&self, started: &Started, patience: Duration) -> Called<()> {
        let url = self.url(started.stop_path.split('?').next().unwrap_or_default());
        let sent = Moment::now();
        let mut tries = if started.protocol == Protocol::Stepscope { STOPS } else { 1 };
        loop {
            tries -= 1;
            let answer = accepted(self.client.post(&started.stop_path, None, patience).await);
            let lost = answer.as_ref().is_err_and(|failed| failed.status.is_none_or(|status| status >= 500));
            if tries == 0 || !lost {
                let answered = Some(Moment::now());
                return Called { url, sent, answered, body: None, outcome: answer.map(drop) };
            }
            tokio::time::sleep(STOP_AGAIN).await;
        }
    }

    /// Calls off a capture that is held, or stops it if it runs: it is known by its id alone.
    pub(super) async fn call_off(&self, id: &str, patience: Duration) -> Result<(), Failed> {
        accepted(self.client.post(&format!("stop_profile?capture_id={id}"), None, patience).await).map(drop)
    }
}
