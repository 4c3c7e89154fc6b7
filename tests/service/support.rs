//! A service on the real session, in folders of its own and without an engine; and one request to it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use secrecy::SecretString;
use serde_json::Value;
use stepscope::capture::handle::Captures;
use stepscope::config::Settings;
use stepscope::service::compose::options;
use stepscope::service::door::Door;
use stepscope::service::router::router;
use stepscope::service::state::{AppState, Shared};
use stepscope::service::tokens::Tokens;
use stepscope::telemetry::nvml::Gpus;
use tempfile::TempDir;
use tower::ServiceExt;

/// A service, and the folders of its session for as long as it lives.
pub struct Service {
    state: AppState,
    pub folder: TempDir,
}

impl std::ops::Deref for Service {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.state
    }
}

/// A session on empty folders: no engine is attached.
pub fn session() -> (Captures, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        Settings { dir: folder.path().join("segments"), data: folder.path().join("data"), ..Settings::default() };
    (stepscope::capture::open(options(&settings)).unwrap(), folder)
}

pub fn state(settings: Settings, token: Option<&str>) -> Service {
    let (captures, folder) = session();
    let tokens = Tokens::new(token.map(SecretString::from), Vec::new()).unwrap();
    let door = Door { tokens, ..Door::open(&settings).unwrap() };
    Service { state: Shared::new(captures, Gpus::none("not asked"), settings, door, None), folder }
}

/// One that has no time for bodies that do not come.
pub fn impatient() -> Service {
    let (captures, folder) = session();
    let settings = Settings::default();
    let door = Door { body_patience: Duration::from_millis(10), ..Door::open(&settings).unwrap() };
    Service { state: Shared::new(captures, Gpus::none("not asked"), settings, door, None), folder }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The stable word of an error, whose shape is checked on the way.
    pub fn reason(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().expect("the error shape");
        let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "message", "param", "reason", "type"]);
        assert_eq!(error["code"], self.status.as_u16());
        error["reason"].as_str().unwrap().to_owned()
    }
}

pub async fn ask(state: &AppState, request: Request<Body>) -> Reply {
    let response: Response = router(state.clone()).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    Reply { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_vec())).unwrap()
}

pub async fn get(state: &AppState, path: &str, headers: &[(&str, &str)]) -> Reply {
    ask(state, request("GET", path, headers, b"")).await
}
