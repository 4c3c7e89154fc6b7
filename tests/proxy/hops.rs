//! Headers: what is one hop's own stays there, what a proxy adds is added, all else passes.

use super::support::{Engine, Front};

fn passed(headers: &str) -> String {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let answer = front.exchange(format!("GET /x HTTP/1.1\r\n{headers}\r\n"));
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn what_connection_names_stays_behind_and_the_framing_does_not() {
    let seen = passed(
        "Host: h\r\nConnection: close, X-Mine, te\r\nConnection: X-Other, Host, Content-Length\r\nX-Mine: 1\r\nX-Other: 2\r\n\
         X-Kept: 3\r\nKeep-Alive: timeout=9\r\nProxy-Connection: close\r\nTE: gzip\r\nHTTP2-Settings: AAA\r\n\
         Upgrade: h2c\r\nAccept: text/event-stream\r\nContent-Length: 0\r\n",
    );
    for gone in
        ["x-mine", "x-other", "keep-alive", "proxy-connection", "te:", "http2-settings", "upgrade", "connection"]
    {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
    for kept in ["host: h\r\n", "x-kept: 3\r\n", "accept: text/event-stream\r\n"] {
        assert!(seen.contains(kept), "{kept}: {seen}");
    }
}

#[test]
fn forwarded_headers_grow_and_the_host_is_the_clients() {
    let seen = passed("Host: public.example:8443\r\nConnection: close\r\n");
    for added in [
        "host: public.example:8443\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-host: public.example:8443\r\n",
        "via: 1.1 stepscope\r\n",
    ] {
        assert!(seen.contains(added), "{added}: {seen}");
    }
    let seen = passed(
        "Host: h\r\nConnection: close\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: outer\r\nVia: 1.1 outer\r\n",
    );
    for kept in [
        "x-forwarded-for: 10.0.0.1, 127.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
        "x-forwarded-host: outer\r\n",
        "via: 1.1 outer\r\nvia: 1.1 stepscope\r\n",
    ] {
        assert!(seen.contains(kept), "{kept}: {seen}");
    }
}

#[test]
fn a_request_of_http_1_0_without_a_host_gets_the_engines() {
    let engine = Engine::echo();
    let front = Front::of(engine.address);
    let answer = front.exchange("GET /x HTTP/1.0\r\n\r\n");
    assert!(answer.contains(&format!("GET /x HTTP/1.1\r\nhost: {}\r\n", engine.address)), "{answer}");
}

#[test]
fn an_answer_passes_with_its_reason_its_repeats_and_its_length_and_without_its_hop() {
    let engine = Engine::start(|connection| {
        while connection.head().is_some() {
            connection.write(
                "HTTP/1.1 299 Quite Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\
                 Keep-Alive: timeout=5\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let front = Front::of(engine.address);
    let answer = front.get("/x");
    assert!(answer.starts_with("HTTP/1.1 299 Quite Fine\r\n"), "{answer}");
    for kept in [
        "set-cookie: a=1\r\nset-cookie: b=2\r\n",
        "access-control-allow-origin: *\r\n",
        "content-length: 2\r\n",
        "\r\n\r\nok",
    ] {
        assert!(answer.contains(kept), "{kept}: {answer}");
    }
    for gone in ["x-mine", "keep-alive", "transfer-encoding", "via"] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
}

#[test]
fn an_answer_to_head_keeps_its_length_and_one_without_a_body_has_none() {
    let engine = Engine::start(|connection| {
        while let Some(head) = connection.head() {
            let status = if head.starts_with("HEAD") { "200 OK" } else { "304 Not Modified" };
            connection.write(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nETag: \"e\"\r\n\r\n"));
        }
    });
    let front = Front::of(engine.address);
    for (method, status) in [("HEAD", "200 OK"), ("GET", "304 Not Modified")] {
        let answer = front.exchange(format!("{method} /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains("etag: \"e\"\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(answer.contains("content-length: 5\r\n"), method == "HEAD", "{answer}");
    }
}

#[test]
fn the_engines_errors_pass_unchanged() {
    let body = r#"{"object":"error","message":"mine"}"#;
    let engine = Engine::start(move |connection| {
        while connection.head().is_some() {
            connection.write(format!(
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let front = Front::of(engine.address);
    let answer = front.get("/v1/completions");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\n"), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
}
