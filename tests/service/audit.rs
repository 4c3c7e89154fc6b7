//! Who started, stopped and removed what, in a file that never holds anybody up.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use stepscope::config::Settings;
use stepscope::service::audit::{Action, Audit, Pending};
use stepscope::service::caller::Peer;
use stepscope::service::door::Door;
use stepscope::service::reload::reload;
use stepscope::service::router::router;
use stepscope::service::state::{AppState, Shared};
use stepscope::telemetry::nvml::Gpus;
use tempfile::TempDir;
use tower::ServiceExt;

use super::support::{ask, get, request, session};

fn audited(file: &Path, token: Option<&str>) -> (AppState, TempDir) {
    let (captures, folder) = session();
    let settings = Settings {
        audit_log: Some(file.to_path_buf()),
        token: token.map(Into::into),
        start_rate_per_second: 0.0,
        ..Settings::default()
    };
    let door = Door::open(&settings).unwrap();
    (Shared::new(captures, Gpus::none("not asked"), settings, door, None), folder)
}

fn lines(file: &Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_start_stop_and_removal_has_a_line_that_says_who_what_and_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let (state, _session) = audited(&file, Some("secret"));
    let bearer = ("authorization", "Bearer secret");
    let long = format!(r#"{{"max_iterations":"4","job":"{}","model":"m","messages":[]}}"#, "j".repeat(300));
    let calls = [
        ("POST", "/start_profile?ranks=0,1", long.as_str(), Some(bearer)),
        ("GET", "/start_profile", "{", Some(bearer)),
        ("POST", "/stop_profile?wait=1", "", Some(bearer)),
        ("DELETE", "/stepscope/v1/captures/latest", "", Some(bearer)),
        ("POST", "/engine/start_profile", "", None),
        ("GET", "/stepscope/v1/status", "", Some(bearer)),
        ("PUT", "/start_profile", "", Some(bearer)),
        ("HEAD", "/start_profile", "", Some(bearer)),
    ];
    for (method, path, body, bearer) in calls {
        let mut request = request(method, path, bearer.as_slice(), body.as_bytes());
        request.extensions_mut().insert(Peer("10.0.0.9:1234".parse().unwrap()));
        ask(&state, request).await;
    }
    state.audit.close();
    let lines = lines(&file);
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["action"].as_str().unwrap(), line["who"].as_str().unwrap(), line["status"].as_u64().unwrap()))
        .collect();
    let who = "token token";
    assert_eq!(
        told,
        [
            ("start", who, 400),
            ("start", who, 400),
            ("stop", who, 200),
            ("delete", who, 404),
            ("start", "nobody known", 401)
        ]
    );
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap_or("none")).collect();
    assert_eq!(reasons, ["wrong_value", "body_not_json", "none", "unknown_capture", "unauthorized"]);
    assert!(lines.iter().all(|line| line["peer"] == "10.0.0.9:1234" && line["at"].as_str().unwrap().ends_with('Z')));
    let asked = lines[0]["asked"].as_object().unwrap();
    assert_eq!(
        asked.keys().collect::<Vec<_>>(),
        ["job", "max_iterations", "ranks"],
        "what means something, and no more"
    );
    assert!(asked["job"].as_str().unwrap().len() < 100, "cut");
    assert_eq!(lines[2]["asked"]["wait"], "1");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let counts = state.audit.counts();
    assert_eq!((counts.written_total, counts.lost_total, counts.left_out_total), (5, 0, 0));
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_has_a_line_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let (state, _session) = audited(&file, None);
    let body = axum::body::Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = axum::http::Request::post("/start_profile").body(body).unwrap();
    let answer = tokio::spawn(router(state.clone()).oneshot(request));
    tokio::task::yield_now().await;
    answer.abort();
    drop(answer.await);
    state.audit.close();
    let lines = lines(&file);
    assert_eq!((lines.len(), &lines[0]["reason"], &lines[0]["status"]), (1, &"caller_left".into(), &Value::Null));
    assert_eq!(lines[0]["who"], "no token, loopback");
}

#[tokio::test]
async fn after_a_rotation_the_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
    let (state, _session) = audited(&file, None);
    ask(&state, request("POST", "/stop_profile", &[], b"")).await;
    std::fs::rename(&file, &old).unwrap();
    reload(&state);
    ask(&state, request("POST", "/stop_profile", &[], b"")).await;
    state.audit.close();
    // The first line may have been on its way when the file was moved: it is in one of both.
    let (first, second) = (lines(&old).len(), lines(&file).len());
    assert!(first + second == 2 && second >= 1, "{first} {second}");
}

#[tokio::test]
async fn a_full_disk_is_counted_and_stops_nobody() {
    let (state, _session) = audited(Path::new("/dev/full"), None);
    for _ in 0..10 {
        assert_eq!(ask(&state, request("POST", "/stop_profile", &[], b"")).await.status, 200);
    }
    state.audit.close();
    let counts = state.audit.counts();
    assert_eq!((counts.written_total, counts.lost_total), (0, 10));
    let status = get(&state, "/stepscope/v1/status", &[]).await.json();
    assert_eq!(status["audit"]["lost_total"], 10);
    let metrics = get(&state, "/metrics", &[]).await.body;
    assert!(metrics.contains("stepscope_audit_lines_total{outcome=\"lost\"} 10\n"), "{metrics}");
}

#[tokio::test]
async fn a_disk_that_stalls_is_counted_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open at both ends, and nobody reads: it takes 64 KiB and then nothing.
    let held = OpenOptions::new().read(true).write(true).mode(0o600).open(&pipe).unwrap();
    let audit = Arc::new(Audit::open(Some(&pipe), Instant::now()).unwrap());
    for _ in 0..5000 {
        let pending = Pending::new(audit.clone(), Action::Stop, "somebody".repeat(4), None);
        pending.answered(&axum::response::Response::new(axum::body::Body::empty()));
    }
    let counts = audit.counts();
    assert!(counts.lost_total > 1000 && counts.written_total < 4000, "{counts:?}");
    drop(held);
}

#[tokio::test]
async fn refusals_without_end_do_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let (state, _session) = audited(&file, Some("secret"));
    for _ in 0..500 {
        assert_eq!(ask(&state, request("POST", "/start_profile", &[], b"")).await.status, 401);
    }
    let bearer = [("authorization", "Bearer secret")];
    assert_eq!(ask(&state, request("POST", "/stop_profile", &bearer, b"")).await.status, 200);
    state.audit.close();
    let (counts, lines) = (state.audit.counts(), lines(&file));
    assert!(counts.left_out_total > 300, "{counts:?}");
    let said: u64 = lines.iter().map(|line| line["left_out"].as_u64().unwrap()).sum();
    assert_eq!((said, lines.len() as u64), (counts.left_out_total, 501 - counts.left_out_total));
    assert_eq!(lines.last().unwrap()["status"], 200, "what was done is always told");
}

#[test]
fn a_file_that_cannot_be_written_is_told_at_the_start() {
    assert!(Audit::open(Some(Path::new("/nowhere/at/all.jsonl")), Instant::now()).is_err());
}
