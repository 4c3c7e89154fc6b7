//! Which requests are ours and which are the engine's: byte for byte.

use stepscope::service::front::is_ours;
use stepscope::service::router::{PROFILE_PATHS, ROUTES};

use super::support::{Engine, Front};

#[test]
fn the_profile_calls_and_what_is_below_stepscope_are_ours_and_nothing_else() {
    let profile: Vec<_> = ROUTES.iter().map(|route| route.path).filter(|path| path.ends_with("_profile")).collect();
    assert_eq!(profile, PROFILE_PATHS);
    for route in ROUTES {
        let root = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/server_info", "/get_server_info"]
            .contains(&route.path);
        assert_eq!(is_ours(route.path), !root, "{}", route.path);
    }
}

#[test]
fn a_path_that_is_written_in_another_way_is_the_engines() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    for target in [
        "//start_profile",
        "/%73tart_profile",
        "/v1/../start_profile",
        "/./start_profile",
        "/start_profile/",
        "/Start_profile",
        "/start_profile;x",
        "/start_profile%2f",
        "/start_profile%00",
        "/engine//start_profile",
        "/stepscope",
        "/%73tepscope/v1/status",
        "//stepscope/v1/status",
        "/Stepscope/v1/status",
        "/x/../stepscope/v1/status",
        "/stepscope%2fv1/status",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/server_info",
        "/get_server_info?x=1",
        "/v1/models?a=%2F..%2f&b=+%20&c={}|^",
        "/%e4%bd%a0/a%00b/%25%2e%2e/;p=1,2",
        "/?",
        "/",
    ] {
        let answer = front.get(target);
        assert!(answer.contains(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {answer}");
    }
    // And nothing that is ours reaches the engine, whatever it goes on with.
    let before = engine.heads().len();
    for (target, word) in [
        ("/start_profile", "no_engine"),
        ("/start_profile?x", "no_engine"),
        ("/engine/start_profile", "no_engine"),
        ("/engine/control/start_profile", "no_engine"),
        ("/stop_profile", "idle"),
        ("/stepscope/v1/healthz", "ok"),
        ("/stepscope/v1/readyz", "ready"),
        ("/stepscope/v1/metrics", "stepscope_proxy_requests"),
        ("/stepscope/v1/openapi.json", "3.1.0"),
        ("/stepscope/../v1/models", "no_such_path"),
        ("/stepscope/%2e%2e/v1/models", "no_such_path"),
        ("/stepscope/", "no_such_path"),
        ("http://localhost/start_profile", "no_engine"),
        // A name that anybody could point here.
        ("http://other/start_profile", "foreign_host"),
    ] {
        assert!(front.get(target).contains(word), "{target}");
    }
    assert_eq!(engine.heads().len(), before);
}

#[test]
fn absolute_targets_go_on_as_paths_with_their_own_host_and_an_asterisk_stays_one() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let answer = front.get("http://named:81/a%20b?c");
    assert!(answer.contains("GET /a%20b?c HTTP/1.1\r\nhost: named:81\r\n"), "{answer}");
    let answer = front.exchange("OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("OPTIONS * HTTP/1.1\r\nhost: h\r\n"), "{answer}");
    let answer = front.exchange("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[test]
fn our_token_and_our_check_of_origins_are_for_our_routes_alone() {
    let engine = Engine::echo();
    let place = tempfile::tempdir().unwrap();
    let token = place.path().join("token");
    std::fs::write(&token, "ours").unwrap();
    let front = Front::with(engine.address, &["--token-file", token.to_str().unwrap()]);
    let ask = |target: &str, more: &str| {
        front.exchange(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n"))
    };
    let theirs = ask("/v1/models", "Authorization: Bearer theirs\r\nOrigin: http://elsewhere\r\n");
    assert!(
        theirs.contains("authorization: Bearer theirs\r\n") && theirs.contains("origin: http://elsewhere\r\n"),
        "{theirs}"
    );
    assert!(ask("/stop_profile", "Authorization: Bearer theirs\r\n").starts_with("HTTP/1.1 401 "));
    assert!(ask("/stop_profile", "Authorization: Bearer ours\r\n").starts_with("HTTP/1.1 200 "));
    assert!(ask("/stop_profile", "Origin: http://elsewhere\r\n").starts_with("HTTP/1.1 403 "));
}
