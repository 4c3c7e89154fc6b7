//! Routes and what stands before them.

use std::collections::BTreeSet;

use stepscope::config::Settings;
use stepscope::service::caller::Needs;
use stepscope::service::router::ROUTES;

use super::support::{ask, get, request, state};

fn settings() -> Settings {
    Settings { start_rate_per_second: 0.0, ..Settings::default() }
}

#[tokio::test]
async fn every_route_of_the_table_is_served_and_documented_and_no_other_method_is() {
    let state = state(settings(), Some("secret"));
    let document = get(&state, "/openapi.json", &[("authorization", "Bearer secret")]).await.json();
    let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(documented, ROUTES.iter().map(|route| route.path).collect::<BTreeSet<_>>());
    for route in ROUTES {
        let path = route.path.replace("{id}", "latest");
        for method in ["get", "post", "put", "delete", "patch", "options"] {
            let listed = route.operations.iter().any(|(operation, _)| *operation == method);
            assert_eq!(document["paths"][route.path].get(method).is_some(), listed, "{method} {path}");
            if listed {
                continue; // that they are served, tests with an engine show
            }
            let headers = [("authorization", "Bearer secret")];
            let reply = ask(&state, request(&method.to_uppercase(), &path, &headers, b"")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.reason().as_str()),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_head_request_never_starts_or_stops_anything() {
    let state = state(settings(), None);
    for path in ["/start_profile", "/stop_profile", "/engine/control/start_profile"] {
        assert_eq!(ask(&state, request("HEAD", path, &[], b"")).await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_in_the_shape_of_all_errors() {
    let state = state(settings(), None);
    for path in ["/", "/v1/completions", "/stepscope/v1/nothing", "/start_profile/", "/stepscope/v1/captures/a/b"] {
        let reply = get(&state, path, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (404, "no_such_path"), "{path}");
    }
}

#[tokio::test]
async fn an_id_that_cannot_be_one_never_reaches_the_store() {
    let state = state(settings(), None);
    let long = format!("/stepscope/v1/captures/{}", "a".repeat(65));
    let paths = [
        "/stepscope/v1/captures/..%2F..%2Fetc",
        "/stepscope/v1/captures/%ff/trace",
        "/stepscope/v1/captures/a.b/iterations",
        &long,
    ];
    for path in paths {
        let reply = get(&state, path, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (404, "unknown_capture"), "{path}");
    }
}

#[tokio::test]
async fn with_a_token_set_only_health_is_open() {
    let state = state(settings(), Some("secret"));
    for route in ROUTES {
        let path = route.path.replace("{id}", "latest");
        let reply = ask(&state, request(&route.operations[0].0.to_uppercase(), &path, &[], b"")).await;
        if route.needs == Needs::Nothing {
            assert_eq!(reply.status, 200, "{path}");
        } else {
            assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (401, "unauthorized"), "{path}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer", "{path}");
        }
    }
    assert_eq!(get(&state, "/nothing", &[]).await.status, 401, "paths are not to be guessed at");
}

#[tokio::test]
async fn only_the_right_token_passes() {
    let state = state(settings(), Some("secret"));
    let path = "/openapi.json";
    for wrong in ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Bearer SECRET", "Basic secret", "secret"]
    {
        assert_eq!(get(&state, path, &[("authorization", wrong)]).await.status, 401, "{wrong:?}");
    }
    for right in ["Bearer secret", "bearer secret", "BEARER  secret "] {
        assert_eq!(get(&state, path, &[("authorization", right)]).await.status, 200, "{right:?}");
    }
}

#[tokio::test]
async fn a_web_page_from_elsewhere_is_refused() {
    let state_open = state(settings(), None);
    let refused: [&[(&str, &str)]; 5] = [
        &[("host", "127.0.0.1:8001"), ("origin", "https://evil.example")],
        &[("host", "127.0.0.1:8001"), ("origin", "http://127.0.0.1:3000")],
        &[("host", "127.0.0.1:8001"), ("origin", "null")],
        &[("host", "127.0.0.1:8001"), ("sec-fetch-site", "cross-site")], // an image
        &[("origin", "http://127.0.0.1")],
    ];
    for headers in refused {
        let reply = get(&state_open, "/healthz", headers).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (403, "foreign_origin"), "{headers:?}");
    }
    let allowed: [&[(&str, &str)]; 4] = [
        &[("host", "127.0.0.1:8001")],
        &[("host", "127.0.0.1:8001"), ("origin", "http://127.0.0.1:8001")],
        &[("host", "localhost:8001"), ("origin", "http://localhost:8001"), ("sec-fetch-site", "same-origin")],
        &[("host", "[::1]:8001"), ("origin", "http://[::1]:8001")],
    ];
    for headers in allowed {
        assert_eq!(get(&state_open, "/healthz", headers).await.status, 200, "{headers:?}");
    }
    let state_named = state(settings(), Some("secret"));
    let named = [("host", "box.example"), ("origin", "http://box.example")];
    assert_eq!(get(&state_named, "/healthz", &named).await.status, 200, "with a token a name does no harm");
}

#[tokio::test]
async fn switched_off_start_and_stop_are_404() {
    let state = state(Settings { profiling: false, ..settings() }, None);
    for route in ROUTES.iter().filter(|route| route.path.ends_with("_profile")) {
        for (method, _) in route.operations {
            let reply = ask(&state, request(&method.to_uppercase(), route.path, &[], b"")).await;
            assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (404, "profiling_off"), "{}", route.path);
        }
    }
}

#[tokio::test]
async fn a_wrong_body_is_a_clear_4xx() {
    let state = state(settings(), None);
    let long = vec![b' '; (1 << 20) + 1];
    let cases: [(&str, &[u8], u16, &str); 5] = [
        ("application/json", b"{", 400, "body_not_json"),
        ("application/x-www-form-urlencoded", b"a=b", 400, "body_not_json"),
        ("application/octet-stream", b"\xff", 400, "body_not_utf8"),
        ("application/json", br#"{"num_steps":-1}"#, 400, "wrong_value"),
        ("application/json", &long, 413, "body_too_long"),
    ];
    for (kind, body, status, reason) in cases {
        let reply = ask(&state, request("POST", "/start_profile", &[("content-type", kind)], body)).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (status, reason));
    }
    let reply = get(&state, "/start_profile?num_steps=x", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["param"].as_str()), (400, Some("num_steps")));
}

#[tokio::test]
async fn wrong_parameters_are_named_before_anything_is_asked() {
    let state = state(settings(), None);
    let cases = [
        ("/stop_profile?wait=soon", "wait"),
        ("/stop_profile?wait=-1", "wait"),
        ("/stop_profile?wait=nan", "wait"),
        ("/stepscope/v1/captures?limit=0", "limit"),
        ("/stepscope/v1/captures?limit=1001", "limit"),
        ("/stepscope/v1/captures/latest?wait=x", "wait"),
        ("/stepscope/v1/captures/latest/trace?format=pftrace", "format"),
        ("/stepscope/v1/captures/latest/iterations?format=xlsx", "format"),
        ("/stepscope/v1/captures/latest/iterations?rank=one", "rank"),
        ("/stepscope/v1/captures/latest/trace?format=xml", "format"),
        ("/stepscope/v1/captures/latest/trace?rank=-1", "rank"),
    ];
    for (path, param) in cases {
        let reply = get(&state, path, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["param"].as_str()), (400, Some(param)), "{path}");
    }
}

#[tokio::test]
async fn too_many_starts_are_told_when_to_come_again() {
    let state = state(Settings { start_rate_per_second: 0.001, ..Settings::default() }, None);
    let start = || request("POST", "/start_profile", &[], b"wrong");
    assert_eq!(ask(&state, start()).await.status, 400);
    let reply = ask(&state, start()).await;
    assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (429, "too_many_starts"));
    assert!(reply.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 900);
}

#[tokio::test]
async fn a_full_service_says_so_and_still_lives() {
    let state = state(settings(), None);
    let taken = state.requests.clone().acquire_many_owned(state.requests.available_permits() as u32).await.unwrap();
    let reply = get(&state, "/openapi.json", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (503, "busy"));
    assert_eq!(get(&state, "/healthz", &[]).await.status, 200);
    drop(taken);
    assert_eq!(get(&state, "/openapi.json", &[]).await.status, 200);
}

#[tokio::test]
async fn readiness_ends_when_a_shutdown_begins() {
    let state = state(settings(), None);
    assert_eq!(get(&state, "/readyz", &[]).await.status, 200);
    state.begin_shutdown();
    let reply = get(&state, "/readyz", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (503, "shutting_down"));
    assert_eq!(get(&state, "/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_in_the_shape_of_all_errors() {
    let layer = tower_http::catch_panic::CatchPanicLayer::custom(stepscope::service::guard::panicked);
    async fn broken() -> &'static str {
        panic!("a defect, on purpose")
    }
    let broken = axum::routing::get(broken);
    let router = axum::Router::<()>::new().route("/", broken).layer(layer);
    let response = tower::ServiceExt::oneshot(router, request("GET", "/", &[], b"")).await.unwrap();
    assert_eq!(response.status(), 500);
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["reason"], "internal");
    assert!(!body.to_string().contains("on purpose"), "what went wrong inside is for the log");
}
