//! Setting up logging, and the service's trace of itself.

use stepscope::config::{LogSettings, Settings};
use stepscope::telemetry::logs::{LogsError, init};

use super::support::{get, state};

#[tokio::test]
async fn the_self_trace_holds_requests_and_logging_is_set_up_once() {
    let wrong = LogSettings { level: "stepscope=loud".into(), ..LogSettings::default() };
    assert!(matches!(init(&wrong, None), Err(LogsError::Level { .. })));
    let nowhere = std::path::PathBuf::from("/nowhere/at/all.json");
    assert!(matches!(init(&LogSettings::default(), Some(&nowhere)), Err(LogsError::SelfTrace { .. })));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("self.json");
    let quiet = LogSettings { level: "off".into(), ..LogSettings::default() };
    let logs = init(&quiet, Some(&path)).unwrap();
    assert!(matches!(init(&quiet, None), Err(LogsError::Twice(_))));
    assert_eq!(get(&state(Settings::default(), None), "/healthz", &[]).await.status, 200);
    drop(logs);
    let events: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let healthz = events
        .iter()
        .any(|event| event["name"] == "request" && event["args"]["route"].to_string().contains("/healthz"));
    assert!(healthz, "{events:?}");
}
