//! Who may do what: rights, networks that are open, names pointed here, tokens in the URL.

use axum::body::Body;
use axum::http::Request;
use stepscope::config::Settings;
use stepscope::config::tokens::parse;
use stepscope::service::caller::{Needs, Peer};
use stepscope::service::router::ROUTES;
use stepscope::service::state::AppState;
use stepscope::service::tokens::Tokens;

use super::support::{Reply, Service, ask, get, request, state};

const FILE: &str = r#"
    [[token]]
    name = "looker"
    token = "l"
    rights = ["look"]
    [[token]]
    name = "bench"
    token = "c"
    rights = ["capture"]
    [[token]]
    name = "sweeper"
    token = "d"
    rights = ["delete"]
"#;

fn guarded(settings: Settings) -> Service {
    let state = state(Settings { start_rate_per_second: 0.0, ..settings }, None);
    state.set_tokens(Tokens::new(None, parse(FILE).unwrap()).unwrap());
    state
}

fn from(peer: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Peer(peer.parse().unwrap()));
    request
}

async fn bring(state: &AppState, token: &str, method: &str, path: &str) -> Reply {
    ask(state, request(method, path, &[("authorization", &format!("Bearer {token}"))], b"")).await
}

#[tokio::test]
async fn each_token_is_good_for_its_rights_and_told_what_it_lacks() {
    let state = guarded(Settings::default());
    for route in ROUTES {
        let path = route.path.replace("{id}", "latest");
        for (method, _) in route.operations {
            let method = method.to_uppercase();
            let needs = route.needs(&method.parse().unwrap());
            for (token, name, right) in [("l", "looker", "look"), ("c", "bench", "capture"), ("d", "sweeper", "delete")]
            {
                let reply = bring(&state, token, &method, &path).await;
                let is_allowed = match needs {
                    Needs::Right(needed) => needed.name() == right,
                    Needs::AnyToken | Needs::Nothing => true,
                };
                if is_allowed {
                    assert!(!matches!(reply.status.as_u16(), 401 | 403), "{name} {method} {path}: {}", reply.body);
                    continue;
                }
                assert_eq!(
                    (reply.status.as_u16(), reply.reason().as_str()),
                    (403, "no_right"),
                    "{name} {method} {path}"
                );
                let Needs::Right(needed) = needs else { unreachable!() };
                let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
                assert!(message.contains(name) && message.contains(needed.name()), "{message}");
            }
        }
    }
    assert_eq!(bring(&state, "unknown", "GET", "/stepscope/v1/status").await.status, 401);
}

#[tokio::test]
async fn an_open_network_opens_start_and_stop_and_nothing_else() {
    let open = ["10.1.0.0/16", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
    let state = guarded(Settings { open_profile_routes: open, ..Settings::default() });
    for peer in ["10.1.2.3:4000", "[fd00::1]:4000", "[::ffff:10.1.2.3]:4000"] {
        for route in ROUTES.iter().filter(|route| !route.path.contains("{id}")) {
            for (method, _) in route.operations {
                let reply = ask(&state, from(peer, request(&method.to_uppercase(), route.path, &[], b""))).await;
                let is_open = route.path.ends_with("_profile") || route.needs == Needs::Nothing;
                assert_eq!(reply.status == 401, !is_open, "{peer} {method} {}: {}", route.path, reply.status);
            }
        }
        let reply = ask(&state, from(peer, request("DELETE", "/stepscope/v1/captures/latest", &[], b""))).await;
        assert_eq!(reply.status, 401);
        // A token that is unknown or not good for it takes nothing from those who need none.
        for token in ["unknown", "l"] {
            let headers = [("authorization", &*format!("Bearer {token}"))];
            let reply = ask(&state, from(peer, request("POST", "/stop_profile", &headers, b""))).await;
            assert_eq!(reply.status, 200, "{peer} {token}");
        }
    }
    let start = ask(&state, from("10.1.2.3:1", request("POST", "/start_profile", &[], b""))).await;
    let folder = state.folder.path().to_str().unwrap();
    assert!(start.reason() == "no_engine" && !start.body.contains(folder), "no path for strangers: {}", start.body);
    // What a header claims is not where somebody is.
    let claims = [("x-forwarded-for", "10.1.2.3"), ("forwarded", "for=10.1.2.3"), ("x-real-ip", "10.1.2.3")];
    for peer in ["10.2.0.1:4000", "127.0.0.1:4000", "[fe80::1]:4000"] {
        let reply = ask(&state, from(peer, request("POST", "/stop_profile", &claims, b""))).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (401, "unauthorized"), "{peer}");
    }
}

#[tokio::test]
async fn a_web_page_gets_nothing_from_an_open_network() {
    let open = vec!["10.0.0.0/8".parse().unwrap()];
    let state =
        guarded(Settings { open_profile_routes: open, allowed_host: vec!["node7".into()], ..Settings::default() });
    type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);
    let cases: [Case<'_>; 4] = [
        (&[("host", "10.0.0.1:8001"), ("origin", "https://evil.example")], 403, "foreign_origin"),
        (&[("host", "10.0.0.1:8001"), ("sec-fetch-site", "cross-site")], 403, "foreign_origin"),
        (&[("host", "evil.example"), ("origin", "http://evil.example")], 421, "foreign_host"),
        (&[("host", "evil.example")], 421, "foreign_host"),
    ];
    for (headers, status, reason) in cases {
        for method in ["GET", "POST"] {
            let reply = ask(&state, from("10.0.0.9:1", request(method, "/stop_profile", headers, b""))).await;
            assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (status, reason), "{method} {headers:?}");
        }
    }
    for host in ["10.0.0.1:8001", "node7:8001", "NODE7"] {
        let reply = ask(&state, from("10.0.0.9:1", request("POST", "/stop_profile", &[("host", host)], b""))).await;
        assert_eq!(reply.status, 200, "{host}");
    }
}

#[tokio::test]
async fn without_a_token_only_names_that_nobody_can_point_here_are_answered() {
    let state = state(Settings { allowed_host: vec!["box.example".into()], ..Settings::default() }, None);
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    for host in ["127.0.0.1", "127.0.0.1:8001", "localhost:8001", "[::1]:8001", "Box.Example:8001", "box.example", &own]
    {
        assert_eq!(get(&state, "/stepscope/v1/status", &[("host", host)]).await.status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8001", "box.example.evil", "1.2.3"] {
        for route in ROUTES {
            let path = route.path.replace("{id}", "latest");
            let method = route.operations[0].0.to_uppercase();
            let reply = ask(&state, request(&method, &path, &[("host", host)], b"")).await;
            assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (421, "foreign_host"), "{host} {path}");
            assert!(reply.body.contains("--allowed-host"), "{}", reply.body);
        }
    }
    for host in ["", "a b", "user@127.0.0.1", "127.0.0.1:8001:1"] {
        let reply = get(&state, "/stepscope/v1/status", &[("host", host)]).await;
        assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (400, "broken_host"), "{host:?}");
    }
    let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
    assert_eq!(get(&state, "/stepscope/v1/status", &two).await.reason(), "broken_host");
    // Where the target has a name of its own, that is the one.
    for (target, host, reason) in [
        ("http://evil.example/stepscope/v1/status", "127.0.0.1", Some("foreign_host")),
        ("http://127.0.0.1/stepscope/v1/status", "evil.example", None),
    ] {
        let reply = get(&state, target, &[("host", host)]).await;
        assert_eq!((reply.status != 200).then(|| reply.reason()).as_deref(), reason, "{target}");
    }
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_even_if_it_is_the_right_one() {
    let names = ["token", "access_token", "api_key", "API-Key", "%74oken", "Authorization"];
    for state in [state(Settings::default(), Some("secret")), state(Settings::default(), None)] {
        for name in names {
            for path in ["/start_profile", "/stepscope/v1/status", "/healthz", "/nothing"] {
                let path = format!("{path}?a=b&{name}=secret");
                let reply = get(&state, &path, &[("authorization", "Bearer secret")]).await;
                assert_eq!((reply.status.as_u16(), reply.reason().as_str()), (400, "token_in_url"), "{path}");
                assert!(!reply.body.contains("secret"), "{}", reply.body);
            }
        }
        let fine = get(&state, "/healthz?tokens=3&job=token", &[]).await;
        assert_eq!(fine.status, 200);
    }
}
