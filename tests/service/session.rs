//! The whole service on a session that no engine is attached to.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use stepscope::capture::request::{StartError, StartRequest};
use stepscope::config::{DefaultProfiler, Retention, Settings};
use stepscope::service::Server;
use stepscope::service::compose::options;
use stepscope::service::document::document;
use stepscope::telemetry::nvml::Gpus;
use tokio::sync::oneshot;

use super::support::{ask, get, request, session, state};

fn settings() -> Settings {
    Settings { start_rate_per_second: 0.0, ..Settings::default() }
}

#[tokio::test]
async fn a_start_without_an_engine_says_where_it_looked() {
    let state = state(settings(), None);
    for path in ["/start_profile", "/engine/start_profile", "/engine/control/start_profile"] {
        for method in ["POST", "GET"] {
            let reply = ask(&state, request(method, path, &[], b"")).await;
            assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (503, "no_engine"), "{method} {path}");
            let folder = state.folder.path().join("segments");
            assert!(reply.body.contains(folder.to_str().unwrap()), "{}", reply.body);
        }
    }
}

#[tokio::test]
async fn a_stop_with_nothing_to_stop_is_200_whatever_it_carries() {
    let state = state(settings(), None);
    let long = vec![b'x'; 2 << 20];
    let bodies: [&[u8]; 5] = [b"", b"{}", br#"{"model":"m","prompt":"p"}"#, b"\xff{", &long];
    for path in ["/stop_profile", "/stop_profile?wait=5", "/engine/stop_profile", "/engine/control/stop_profile"] {
        for body in bodies {
            let reply = ask(&state, request("POST", path, &[("content-type", "application/json")], body)).await;
            assert_eq!((reply.status.as_u16(), reply.json()["state"].as_str()), (200, Some("idle")), "{path}");
        }
        assert_eq!(get(&state, path, &[]).await.json()["state"], "idle");
    }
}

#[tokio::test]
async fn what_is_documented_of_an_idle_service_is_what_it_sends() {
    let state = state(settings(), None);
    let document = document(false);
    for (path, schema) in [
        ("/stepscope/v1/status", "Status"),
        ("/stepscope/v1/ranks", "Ranks"),
        ("/stepscope/v1/captures", "CaptureList"),
        ("/stepscope/v1/capabilities", "Capabilities"),
        ("/server_info", "ServerInfo"),
        ("/get_server_info", "ServerInfo"),
    ] {
        let reply = get(&state, path, &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        let json = reply.json();
        let sent: BTreeSet<&String> = json.as_object().unwrap().keys().collect();
        let properties = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        assert_eq!(sent, properties.keys().collect(), "{path}");
    }
    let metrics = get(&state, "/metrics", &[]).await;
    assert!(metrics.body.contains("stepscope_capture_running 0\n"), "{}", metrics.body);
    let counted = "stepscope_http_requests_total{route=\"/stepscope/v1/status\",status=\"200\"} 1\n";
    assert!(metrics.body.contains(counted), "{}", metrics.body);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let state = state(settings(), None);
    let id = "0199c0de-0000-7000-8000-000000000001";
    for name in ["latest", id] {
        for rest in
            ["", "?wait=5", "/trace", "/trace?format=json.gz&rank=1", "/iterations", "/report", "/report?format=html"]
        {
            let reply = get(&state, &format!("/stepscope/v1/captures/{name}{rest}"), &[]).await;
            assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (404, "unknown_capture"), "{name}{rest}");
        }
        let path = format!("/stepscope/v1/captures/{name}");
        let reply = ask(&state, request("DELETE", &path, &[], b"")).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (404, "unknown_capture"), "{name}");
    }
    let reply = get(&state, &format!("/stop_profile?capture_id={id}"), &[]).await;
    assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (404, "unknown_capture"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_stops_the_session_and_lets_go_of_the_port() {
    let (captures, _folder) = session();
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), ..settings() };
    let server = Server::bind(settings, captures.clone(), Gpus::none("not asked")).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 200 OK"));
    stop.send(()).unwrap();
    task.await.unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(matches!(captures.start(StartRequest::default()).await, Err(StartError::ShuttingDown)));
}

#[test]
fn zero_is_without_bound_where_the_settings_say_so() {
    let none = options(&Settings::default()).retention;
    assert_eq!((none.max_age, none.max_captures, none.max_bytes), (None, None, None));
    let settings = Settings {
        retention: Retention { max_age_hours: 2, max_captures: 3, max_bytes: 4 },
        default_profiler: DefaultProfiler::Cuda,
        lease_ms: 1500,
        ..Settings::default()
    };
    let set = options(&settings);
    assert_eq!(set.retention.max_age, Some(Duration::from_secs(7200)));
    assert_eq!((set.retention.max_captures, set.retention.max_bytes), (Some(3), Some(4)));
    assert_eq!(set.lease, Duration::from_millis(1500));
}
