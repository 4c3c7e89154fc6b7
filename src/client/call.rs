//! A call whose answer is told as it came, whatever it is: for those who have to record it, and for engines, which answer
//! in words of their own.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::error::innermost;
use super::http::Client;

/// Of an answer this much is kept: whoever listens at an address that was given to us may say more than anybody reads.
const LONGEST_ANSWER: usize = 4 << 20;

/// Of one that is no JSON, as much is looked at for words.
const LONGEST_WORDS: usize = 4096;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; the beginning of one that does not end.
    pub body: String,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens there: nothing was sent.
    #[error("can't reach it: {0}")]
    Unreachable(String),
    /// It was sent, and the connection ended.
    #[error("the connection ended before it answered: {0}")]
    Broken(String),
    /// It was sent, and nothing came back in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
}

impl Answer {
    /// Whether it is what benchmark clients take for one: 200, and nothing else.
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// The body, where it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// What a sidecar sees, if one has answered `stepscope/v1/status`.
    pub fn sidecar_status(&self) -> Option<Value> {
        self.json().filter(|json| self.is_ok() && json["stepscope_version"].is_string())
    }

    /// Whether a sidecar has answered that asks for a token: it has our shape of an error.
    pub fn is_closed_sidecar(&self) -> bool {
        matches!(self.status, 401 | 403) && self.reason().is_some()
    }

    /// What an answer other than 200 says, in one line.
    pub fn refusal(&self) -> String {
        let json = self.json().unwrap_or_default();
        let said = [&json["error"]["message"], &json["error"], &json["detail"], &json["message"]];
        let said = said.into_iter().find_map(Value::as_str).map(str::to_owned);
        let said = said.unwrap_or_else(|| self.body.chars().take(LONGEST_WORDS).collect());
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
        match (self.status, said.is_empty()) {
            (404, _) => format!("HTTP 404: profiling is not enabled on this server{}", of(&said)),
            (status, true) => format!("HTTP {status}"),
            (status, false) => format!("HTTP {status}: {said}"),
        }
    }

    /// The stable word of an error of ours.
    pub fn reason(&self) -> Option<String> {
        Some(self.json()?["error"]["reason"].as_str()?.to_owned())
    }
}

fn of(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

impl Client {
    /// Sends it, and gives what came back within `patience`. No redirect is followed.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Answer, NoAnswer> {
        let failed = |error: reqwest::Error| {
            if error.is_connect() {
                NoAnswer::Unreachable(innermost(&error))
            } else if error.is_timeout() {
                NoAnswer::Late(patience)
            } else {
                NoAnswer::Broken(innermost(&error))
            }
        };
        let request = self.request(method, path).map_err(|e| NoAnswer::Unreachable(e.to_string()))?;
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let mut response = request.timeout(patience).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while bytes.len() < LONGEST_ANSWER
            && let Some(chunk) = response.chunk().await.map_err(failed)?
        {
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(LONGEST_ANSWER);
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// A POST.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn post(&self, path: &str, body: Option<&Value>, patience: Duration) -> Result<Answer, NoAnswer> {
        self.call(Method::POST, path, body, patience).await
    }

    /// A GET.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn get(&self, path: &str, patience: Duration) -> Result<Answer, NoAnswer> {
        self.call(Method::GET, path, None, patience).await
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn a_refusal_is_told_in_one_line_whoever_words_it() {
        let said = |status, body: &str| Answer { status, body: body.into() }.refusal();
        assert_eq!(said(409, r#"{"error":{"message":"one runs"}}"#), "HTTP 409: one runs");
        assert_eq!(said(500, r#"{"detail":"no"}"#), "HTTP 500: no");
        assert_eq!(said(500, "\n Internal Server Error\nmore"), "HTTP 500: Internal Server Error more");
        assert_eq!(said(502, ""), "HTTP 502");
        assert!(said(404, "").contains("not enabled"));
    }
}
