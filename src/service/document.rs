//! The OpenAPI document: paths from the route table, parameters and schemas from `parameters.json` and `schemas.json`, errors
//! from [`samples`].
//!
//! Schemas are kept by hand; tests hold them to what is really sent, field by field, and `tests/service/schemathesis.sh`
//! holds the service to all of it. Called by [`super::routes::openapi`].

use serde_json::{Map, Value, json};

use super::body::BodyError;
use super::caller::Needs;
use super::error::ApiError;
use super::router::{Answer, ROUTES, Route};
use super::samples::samples;
use crate::capture::request::{CaptureError, StartError};
use crate::config::tokens::Right;

const SCHEMAS: &str = include_str!("schemas.json");
const PARAMETERS: &str = include_str!("parameters.json");
const ABOUT: &str = "Slices an exact window of engine iterations out of a running LLM inference server.";
const ABOUT_TOKENS: &str = "A token of the tokens file, or the one that may do all. Each operation names the right it takes: look, \
capture or delete; without one, any token does. Start and stop may be open to some networks without a token. Where no token is \
set, nobody is asked.";

/// Builds the document, for a service that asks for tokens or one that does not.
pub fn document(asks_for_tokens: bool) -> Value {
    let constant = |text| serde_json::from_str::<Value>(text).expect("a constant, read by a test");
    let writer = Writer { schemas: constant(SCHEMAS), parameters: constant(PARAMETERS), asks_for_tokens };
    let paths: Map<String, Value> = ROUTES.iter().map(|route| (route.path.to_owned(), writer.path(route))).collect();
    let Writer { schemas, .. } = writer;
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stepscope",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "examples": examples(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": ABOUT_TOKENS}},
            "headers": {
                "RetryAfter": {"description": "Seconds until it is worth trying again",
                    "schema": {"type": "integer", "minimum": 1}},
                "Challenge": {"description": "What is asked for", "schema": {"type": "string", "const": "Bearer"}},
                "Disposition": {"description": "The name to keep it under",
                    "schema": {"type": "string", "pattern": "^attachment; filename=\"[A-Za-z0-9._-]+\"$"}},
            },
        },
    })
}

struct Writer {
    schemas: Value,
    parameters: Value,
    asks_for_tokens: bool,
}

impl Writer {
    fn path(&self, route: &Route) -> Value {
        let operations = route.operations.iter().map(|(method, about)| (*method, self.operation(route, method, about)));
        let mut path: Map<String, Value> = operations.map(|(method, value)| (method.to_owned(), value)).collect();
        if route.path.contains("{id}") {
            let mut id = self.parameter(route, "id", "a capture's id, or `latest`");
            (id["in"], id["required"]) = (json!("path"), json!(true));
            let mut parameters = vec![id];
            if route.path.contains("{name}") {
                let mut name = self.parameter(route, "name", "an artefact's name, as the manifest has it");
                (name["in"], name["required"]) = (json!("path"), json!(true));
                parameters.push(name);
            }
            path.insert("parameters".to_owned(), parameters.into());
        }
        path.into()
    }

    fn operation(&self, route: &Route, method: &str, about: &str) -> Value {
        let needs = if method == "delete" { Needs::Right(Right::Delete) } else { route.needs };
        let mut responses = Map::from_iter([("200".to_owned(), self.success(route, method))]);
        let always: &[u16] =
            if needs == Needs::Nothing { &[400, 403, 421, 500] } else { &[400, 401, 403, 421, 500, 503] };
        for status in always.iter().chain(route.errors) {
            responses.insert(status.to_string(), self.error(route, method, *status));
        }
        responses.insert("431".to_owned(), json!({"description": "Too many headers, or too long ones; no body"}));
        let mut operation = json!({
            "operationId": operation_id(route.path, method),
            "summary": about,
            "tags": [tag(route)],
            "responses": responses,
            "security": self.security(needs),
        });
        if method != "delete" && !route.query.is_empty() {
            let parameters = route.query.iter().map(|(name, about)| self.parameter(route, name, about));
            operation["parameters"] = parameters.collect();
        }
        if route.takes_body && method == "post" {
            let content = json!({"application/json": {"schema": reference("StartBody"),
                "example": {"delay_iterations": 10, "max_iterations": 4}}});
            let about = "Read as JSON whatever its content type says; it may be left out, and so may each field";
            operation["requestBody"] = json!({"required": false, "description": about, "content": content});
        }
        operation
    }

    fn success(&self, route: &Route, method: &str) -> Value {
        let of_json = |schema: &str| ("application/json".to_owned(), json!({"schema": reference(schema)}));
        let answer = if method == "delete" { Answer::Json("Deleted") } else { route.answer };
        let content: Map<String, Value> = match answer {
            Answer::Json(schema) => Map::from_iter([of_json(schema)]),
            Answer::Media(kinds) => kinds.iter().map(media).collect(),
            Answer::JsonOr(schema, kinds) => [of_json(schema)].into_iter().chain(kinds.iter().map(media)).collect(),
        };
        let mut success = json!({"description": "It is so", "content": content});
        if route.query.iter().any(|(name, _)| *name == "rank") || route.path.contains("{name}") {
            let disposition = json!({"$ref": "#/components/headers/Disposition", "required": true});
            success["headers"] = json!({"Content-Disposition": disposition});
        }
        if route.path.ends_with("/start_profile") {
            success["links"] = links(route.path);
        }
        success
    }

    fn error(&self, route: &Route, method: &str, status: u16) -> Value {
        let fitting = samples().into_iter().filter(|error| fits(error, route, method));
        let answers = fitting.map(|error| error.answer()).filter(|answer| answer.status.as_u16() == status);
        let example = |reason: &str| json!({"$ref": format!("#/components/examples/{reason}")});
        let examples: Map<String, Value> =
            answers.map(|answer| (answer.reason.into(), example(answer.reason))).collect();
        let content = json!({"application/json": {"schema": reference("Error"), "examples": examples}});
        let mut error = json!({"description": about_status(status), "content": content});
        match status {
            401 => error["headers"] = json!({"WWW-Authenticate": {"$ref": "#/components/headers/Challenge"}}),
            429 | 503 => error["headers"] = json!({"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}),
            _ => {}
        }
        error
    }

    /// From `parameters.json`, of this path or any; a start's is a field of its body.
    fn parameter(&self, route: &Route, name: &str, about: &str) -> Value {
        let known = [format!("{name} {}", route.path), name.to_owned()];
        let found = known.iter().find_map(|known| self.parameters.get(known)).cloned();
        let mut parameter = found.unwrap_or_else(|| {
            let field = &self.schemas["StartBody"]["properties"][name];
            json!({ "schema": in_a_query(field) })
        });
        for (key, value) in [("name", json!(name)), ("in", json!("query")), ("description", json!(about))] {
            parameter[key] = value;
        }
        parameter["required"] = json!(false);
        parameter
    }

    fn security(&self, needs: Needs) -> Value {
        let token = match needs {
            Needs::Nothing => return json!([]),
            _ if !self.asks_for_tokens => return json!([{}]),
            Needs::AnyToken => json!([]),
            Needs::Right(right) => json!([right.name()]),
        };
        json!([{ "token": token }])
    }
}

/// One answer for each reason.
fn examples() -> Map<String, Value> {
    let is_answered = |error: &&ApiError| {
        ROUTES.iter().any(|route| route.operations.iter().any(|(method, _)| fits(error, route, method)))
    };
    let mut examples = Map::new();
    for answer in samples().iter().filter(is_answered).map(ApiError::answer) {
        examples.entry(answer.reason).or_insert_with(|| json!({"value": answer.body()}));
    }
    examples
}

/// A field of a body as a query parameter: all values are texts there, and there is no null.
fn in_a_query(field: &Value) -> Value {
    let mut schema = field.clone();
    let kinds: Vec<&str> = match &field["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let kind = if kinds.contains(&"array") || !kinds.contains(&"integer") { "string" } else { "integer" };
    schema["type"] = json!(kind);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("description");
        let of_others: &[&str] =
            if kind == "integer" { &["pattern"] } else { &["items", "minItems", "minimum", "maximum"] };
        of_others.iter().for_each(|key| drop(schema.remove(*key)));
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.retain(|value| !value.is_null());
        }
    }
    schema
}

/// Whether a route can answer this.
fn fits(error: &ApiError, route: &Route, method: &str) -> bool {
    let (is_start, is_open) = (route.takes_body, route.needs == Needs::Nothing);
    let is_profile = route.needs == Needs::Right(Right::Capture);
    let opens = route.path.ends_with("/open");
    let has_query = !route.query.is_empty() && method != "delete";
    match error {
        ApiError::Start(StartError::NotHeld(..)) => opens,
        ApiError::Start(StartError::Running(_)) | ApiError::TooManyStarts(_) => is_start,
        ApiError::Start(_) => is_start || opens,
        ApiError::Body(BodyError::Query(_) | BodyError::Field(_)) => has_query,
        ApiError::Body(_) => is_start,
        ApiError::Capture(CaptureError::ShuttingDown) => true,
        ApiError::Capture(CaptureError::UnknownRank { .. }) => route.query.iter().any(|(name, _)| *name == "rank"),
        ApiError::Capture(CaptureError::UnknownArtifact { .. }) => route.path.contains("{name}"),
        ApiError::Capture(CaptureError::Unknown(_)) => !is_start,
        ApiError::Capture(_) => route.path.contains("{id}"),
        ApiError::ProfilingOff => is_profile,
        ApiError::Unauthorized | ApiError::NoRight { .. } | ApiError::Busy(_) => !is_open,
        // Nothing that is documented here.
        ApiError::NoSuchPath(_) | ApiError::MethodNotAllowed { .. } | ApiError::SpeaksHttps | ApiError::Forward(_) => {
            false
        }
        ApiError::TokenInUrl(_)
        | ApiError::BrokenHost
        | ApiError::ForeignOrigin
        | ApiError::ForeignHost(_)
        | ApiError::Internal(_) => true,
    }
}

/// `get_captures_id_trace` of `GET /stepscope/v1/captures/{id}/trace`.
fn operation_id(path: &str, method: &str) -> String {
    // What is at both places is told apart by its whole path.
    let short = path.strip_prefix("/stepscope/v1").filter(|short| ROUTES.iter().all(|route| route.path != *short));
    let words = short.unwrap_or(path).split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    std::iter::once(method).chain(words.filter(|word| !word.is_empty())).collect::<Vec<_>>().join("_")
}

fn tag(route: &Route) -> &'static str {
    match route.needs {
        Needs::Right(Right::Capture) => "profiling",
        _ if route.path.contains("/captures") => "captures",
        _ if route.path.starts_with("/stepscope/v1") || route.path == "/get_server_info" => "status",
        _ => "operations",
    }
}

/// Where an answered start leads.
fn links(path: &str) -> Value {
    let capture =
        |operation: &str| json!({"operationId": operation, "parameters": {"id": "$response.body#/capture_id"}});
    let stop = operation_id(&path.replace("/start_profile", "/stop_profile"), "post");
    json!({
        "self": capture("get_captures_id"),
        "trace": capture("get_captures_id_trace"),
        "iterations": capture("get_captures_id_iterations"),
        "report": capture("get_captures_id_report"),
        "stop": {"operationId": stop, "parameters": {"capture_id": "$response.body#/capture_id"}},
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn media(kind: &&str) -> (String, Value) {
    let schema = match *kind {
        "application/json" => json!({"type": "object"}),
        text if text.starts_with("text/") || text.contains("ndjson") || text.contains("metrics") => {
            json!({"type": "string"})
        }
        _ => return ((*kind).to_owned(), json!({})), // no texts
    };
    ((*kind).to_owned(), json!({ "schema": schema }))
}

fn about_status(status: u16) -> &'static str {
    match status {
        400 => "A value that can't be meant; `param` names it",
        401 => "No token, or one that nobody knows",
        403 => "The token lacks the right, or a web page from elsewhere is behind the request",
        404 => "No such thing; for start and stop: profiling is switched off",
        408 => "The body did not arrive in time",
        409 => "A capture is in the way; the message names it",
        413 => "The body is too long",
        421 => "A name that anybody could have pointed here, of a caller without a token",
        422 => "The profiler can't work on any rank",
        429 => "Too many starts of this caller, or of all",
        503 => "No engine is attached, or no room, or shutting down",
        507 => "The capture's folder could not be made",
        _ => "An error of this server's",
    }
}
