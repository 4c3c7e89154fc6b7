//! The one route table. What is in it is served, documented in `/openapi.json`, and nothing else is.
//!
//! Called by [`mod@super::serve`] and by tests.

use axum::http::{Method, Uri};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::audit::Action;
use super::caller::Needs;
use super::error::ApiError;
use super::guard;
use super::routes::{captures, health, metrics, openapi, profile, status};
use super::state::AppState;
use crate::config::tokens::Right;
use crate::trace::output::{Format, LedgerFormat};

/// One path.
#[derive(Debug)]
pub struct Route {
    /// As axum writes it; `{id}` is a parameter.
    pub path: &'static str,
    /// Its methods, in lower case as OpenAPI writes them, each with one line of what it does.
    pub operations: &'static [(&'static str, &'static str)],
    /// Names of query parameters and what they mean.
    pub query: &'static [(&'static str, &'static str)],
    /// What a 200 carries: a schema's name, or a media type.
    pub answer: Answer,
    /// Status codes of errors beside those that every route has.
    pub errors: &'static [u16],
    /// What its callers have to have; removal has a right of its own.
    pub needs: Needs,
    /// Whether it takes a body.
    pub takes_body: bool,
    /// Who answers.
    pub handlers: fn() -> MethodRouter<AppState>,
}

impl Route {
    /// What a caller has to have for this.
    pub fn needs(&self, method: &Method) -> Needs {
        if method == Method::DELETE { Needs::Right(Right::Delete) } else { self.needs }
    }

    /// What is written down of a request to it.
    pub fn action(&self, method: &Method) -> Option<Action> {
        let is_here = self.operations.iter().any(|(name, _)| method.as_str().eq_ignore_ascii_case(name));
        match self.needs(method) {
            _ if !is_here => None,
            Needs::Right(Right::Delete) => Some(Action::Delete),
            Needs::Right(Right::Capture) if self.path.ends_with("/start_profile") => Some(Action::Start),
            Needs::Right(Right::Capture) if self.path.ends_with("/open") => Some(Action::Open),
            Needs::Right(Right::Capture) => Some(Action::Stop),
            _ => None,
        }
    }
}

/// What a 200 carries.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, or something else, by media types.
    JsonOr(&'static str, &'static [&'static str]),
    /// Something else, by media types.
    Media(&'static [&'static str]),
}

const BOTH: MethodFilter = MethodFilter::GET.or(MethodFilter::POST);

/// Every field of the body is taken from the query too; the body wins.
const START_QUERY: &[(&str, &str)] = &[
    ("delay_iterations", "iterations to skip"),
    ("max_iterations", "iterations to capture; 0 is until stop"),
    ("start_iteration", "the first iteration"),
    ("start_step", "the first iteration, or the next one if it is past"),
    ("profile_prefix", "put in front of file names"),
    ("profiler", "steps, cuda or engine"),
    ("activities", "SGLang's names, with commas"),
    ("job", "one job only"),
    ("ranks", "these ranks only, with commas"),
    ("max_duration_ms", "longest window, milliseconds"),
    ("max_events", "most records"),
    ("max_bytes", "most bytes"),
    ("delay_steps", "the same as delay_iterations"),
    ("num_steps", "the same as max_iterations"),
    ("synchronize", "where the engine waits for the device: both, end or none"),
    ("lead_iterations", "iterations before the window at which the profiler starts"),
    ("cuda_ranks", "which ranks call the profiler: leader or all"),
    ("level", "how much the engine tells of itself: off, basic, detail or verbose"),
    ("hold_ms", "accept it now, open it when told to, within so many milliseconds"),
];

const START: Route = Route {
    path: "/start_profile",
    operations: &[
        ("post", "Start a capture; answers at once, while the window opens by itself"),
        ("get", "The same, for clients that can only get"),
    ],
    query: START_QUERY,
    answer: Answer::Json("Started"),
    errors: &[404, 408, 409, 413, 422, 429, 507],
    needs: Needs::Right(Right::Capture),
    takes_body: true,
    handlers: || on(BOTH, profile::start).head(not_allowed),
};

const STOP: Route = Route {
    path: "/stop_profile",
    operations: &[
        ("post", "Stop the running capture; answers at once, while the trace is written. Nothing running is fine"),
        ("get", "The same, for clients that can only get"),
    ],
    query: &[
        ("wait", "seconds to wait for the trace, at most 600"),
        ("capture_id", "stop this capture, and no other that may run by now"),
    ],
    answer: Answer::Json("Stopped"),
    errors: &[404],
    needs: Needs::Right(Right::Capture),
    takes_body: false,
    handlers: || on(BOTH, profile::stop).head(not_allowed),
};

const fn get(
    path: &'static str,
    about: &'static [(&'static str, &'static str)],
    answer: Answer,
    handlers: fn() -> MethodRouter<AppState>,
) -> Route {
    let needs = Needs::Right(Right::Look);
    Route { path, operations: about, query: &[], answer, errors: &[], needs, takes_body: false, handlers }
}

/// SGLang's profiler asks for it first; earlier ones by the name `get_server_info`.
const SERVER_INFO: Route = Route {
    needs: Needs::AnyToken,
    ..get("/server_info", &[("get", "What SGLang's profiler asks first")], Answer::Json("ServerInfo"), || {
        axum::routing::get(status::server_info)
    })
};

/// Where clients expect the engine's own profile calls.
pub const PROFILE_PATHS: [&str; 6] = [
    "/start_profile",
    "/stop_profile",
    "/engine/start_profile",
    "/engine/stop_profile",
    "/engine/control/start_profile",
    "/engine/control/stop_profile",
];

const HEALTHZ: Route = Route {
    needs: Needs::Nothing,
    ..get("/healthz", &[("get", "Whether the service lives; open to all")], Answer::Json("Health"), || {
        axum::routing::get(health::healthz)
    })
};

const READYZ: Route = Route {
    errors: &[503],
    needs: Needs::Nothing,
    ..get("/readyz", &[("get", "Whether it takes starts; open to all")], Answer::Json("Health"), || {
        axum::routing::get(health::readyz)
    })
};

const METRICS: Route =
    get("/metrics", &[("get", "Metrics for Prometheus")], Answer::Media(&["application/openmetrics-text"]), || {
        axum::routing::get(metrics::metrics)
    });

const OPENAPI: Route = Route {
    needs: Needs::AnyToken,
    ..get("/openapi.json", &[("get", "This document")], Answer::Media(&["application/json"]), || {
        axum::routing::get(openapi::openapi)
    })
};

/// All routes. Those at the root that are no profile calls are the engine's where one is behind us: see [`super::front`].
pub const ROUTES: &[Route] = &[
    START,
    STOP,
    Route { path: "/engine/start_profile", ..START },
    Route { path: "/engine/stop_profile", ..STOP },
    Route { path: "/engine/control/start_profile", ..START },
    Route { path: "/engine/control/stop_profile", ..STOP },
    SERVER_INFO,
    Route { path: "/get_server_info", ..SERVER_INFO },
    get("/stepscope/v1/status", &[("get", "Everything at a glance")], Answer::Json("Status"), || {
        axum::routing::get(status::status)
    }),
    get("/stepscope/v1/ranks", &[("get", "Attached ranks, and segments refused")], Answer::Json("Ranks"), || {
        axum::routing::get(status::ranks)
    }),
    Route {
        needs: Needs::AnyToken,
        ..get(
            "/stepscope/v1/capabilities",
            &[("get", "What this version can do")],
            Answer::Json("Capabilities"),
            || axum::routing::get(status::capabilities),
        )
    },
    Route {
        query: &[("limit", "how many, newest first; 100 unless told, at most 1000")],
        errors: &[],
        ..get("/stepscope/v1/captures", &[("get", "Captures, newest first")], Answer::Json("CaptureList"), || {
            axum::routing::get(captures::list)
        })
    },
    Route {
        query: &[("wait", "seconds to wait until it is final, at most 600")],
        errors: &[404, 409],
        ..get(
            "/stepscope/v1/captures/{id}",
            &[("get", "One capture's manifest; `latest` is the newest"), ("delete", "Remove a capture and its files")],
            Answer::Json("Manifest"),
            || axum::routing::get(captures::show).delete(captures::delete),
        )
    },
    Route {
        path: "/stepscope/v1/captures/{id}/open",
        operations: &[("post", "Open a capture that was started with hold_ms: only now its ranks agree on a window")],
        query: &[("start_iteration", "begin at exactly this iteration, whatever the start asked for")],
        answer: Answer::Json("Started"),
        errors: &[404, 409, 422, 507],
        needs: Needs::Right(Right::Capture),
        takes_body: false,
        handlers: || axum::routing::post(captures::open),
    },
    Route {
        query: &[
            ("format", "json, json.gz, json.zst (Chrome JSON) or perfetto; json unless told"),
            ("rank", "this rank only"),
        ],
        errors: &[404, 409],
        ..get(
            "/stepscope/v1/captures/{id}/trace",
            &[("get", "The trace, as Chrome JSON or Perfetto's protobuf")],
            Answer::Media(&[
                Format::Json.media_type(),
                Format::JsonGz.media_type(),
                Format::JsonZst.media_type(),
                Format::Perfetto.media_type(),
            ]),
            || axum::routing::get(captures::trace).head(not_allowed),
        )
    },
    Route {
        query: &[
            ("format", "jsonl or csv; jsonl unless told"),
            ("rank", "this rank only"),
            ("requests", "true: the requests of each iteration too, with their tokens"),
        ],
        errors: &[404, 409],
        ..get(
            "/stepscope/v1/captures/{id}/iterations",
            &[("get", "The ledger: one row per iteration, as JSON lines or CSV")],
            Answer::Media(&[LedgerFormat::JsonLines.media_type(), LedgerFormat::Csv.media_type()]),
            || axum::routing::get(captures::iterations).head(not_allowed),
        )
    },
    Route {
        errors: &[404],
        ..get(
            "/stepscope/v1/captures/{id}/artifacts/{name}",
            &[("get", "One of the capture's files as it lies there; its manifest names them in `artifacts`")],
            Answer::Media(&["application/octet-stream"]),
            || axum::routing::get(captures::artifact).head(not_allowed),
        )
    },
    Route {
        query: &[("format", "json or html; json unless told")],
        errors: &[404, 409],
        ..get(
            "/stepscope/v1/captures/{id}/report",
            &[("get", "What happened in the window, in words and numbers; as html one self-contained page")],
            Answer::JsonOr("Report", &["text/html"]),
            || axum::routing::get(captures::report).head(not_allowed),
        )
    },
    HEALTHZ,
    READYZ,
    METRICS,
    OPENAPI,
    Route { path: "/stepscope/v1/healthz", ..HEALTHZ },
    Route { path: "/stepscope/v1/readyz", ..READYZ },
    Route { path: "/stepscope/v1/metrics", ..METRICS },
    Route { path: "/stepscope/v1/openapi.json", ..OPENAPI },
];

/// All routes, with what stands before and behind them.
pub fn router(state: AppState) -> Router {
    ROUTES
        .iter()
        .fold(Router::new(), |router, route| router.route(route.path, (route.handlers)()))
        .fallback(no_such_path)
        .method_not_allowed_fallback(not_allowed)
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}

async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NoSuchPath(uri.path().to_owned())
}

async fn not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::MethodNotAllowed { method: method.to_string(), path: uri.path().to_owned() }
}
