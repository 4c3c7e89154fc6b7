//! `/openapi.json`: paths come from the route table, schemas from `schemas.json`.
//!
//! The schemas are kept by hand; tests hold them to what is really sent, field by field.

use std::sync::LazyLock;

use axum::Json;
use serde_json::{Map, Value, json};

use crate::service::caller::Needs;
use crate::service::router::{Answer, ROUTES, Route};

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
const SCHEMAS: &str = include_str!("../schemas.json");

/// The document.
pub async fn openapi() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// Builds the document.
pub fn document() -> Value {
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("a constant, read by a test");
    let paths: Map<String, Value> = ROUTES.iter().map(|route| (route.path.to_owned(), path(route))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stepscope",
            "description": "Slices an exact window of engine iterations out of a running LLM inference server.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn path(route: &Route) -> Value {
    let operations = route.operations.iter().map(|(method, about)| (*method, operation(route, method, about)));
    let mut path: Map<String, Value> = operations.map(|(method, value)| (method.to_owned(), value)).collect();
    if route.path.contains("{id}") {
        let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"},
            "description": "a capture's id, or `latest`"});
        path.insert("parameters".to_owned(), json!([id]));
    }
    path.into()
}

fn operation(route: &Route, method: &str, about: &str) -> Value {
    let mut responses = Map::new();
    let answer = if method == "delete" { Answer::Json("Deleted") } else { route.answer };
    let content: Map<String, Value> = match answer {
        Answer::Json(schema) => Map::from_iter([json_of(schema)]),
        Answer::Media(kinds) => kinds.iter().map(media).collect(),
        Answer::JsonOr(schema, kinds) => [json_of(schema)].into_iter().chain(kinds.iter().map(media)).collect(),
    };
    responses.insert("200".to_owned(), json!({"description": "It is so", "content": content}));
    let always: &[u16] = if route.needs == Needs::Nothing { &[403, 503] } else { &[401, 403, 503] };
    for status in always.iter().chain(route.errors) {
        let content = Map::from_iter([json_of("Error")]);
        responses.insert(status.to_string(), json!({"description": about_status(*status), "content": content}));
    }
    let mut operation = json!({"summary": about, "responses": responses});
    let parameters: Vec<Value> = match method {
        "delete" => Vec::new(),
        _ => route.query.iter().map(|(name, about)| parameter(name, about)).collect(),
    };
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if route.needs == Needs::Nothing {
        operation["security"] = json!([]);
    }
    if route.takes_body && method == "post" {
        let content = Map::from_iter([json_of("StartBody")]);
        operation["requestBody"] = json!({"required": false, "content": content});
    }
    operation
}

fn json_of(schema: &str) -> (String, Value) {
    let reference = format!("#/components/schemas/{schema}");
    ("application/json".to_owned(), json!({"schema": {"$ref": reference}}))
}

fn media(kind: &&str) -> (String, Value) {
    ((*kind).to_owned(), json!({}))
}

fn parameter(name: &str, about: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "schema": {"type": "string"}, "description": about})
}

fn about_status(status: u16) -> &'static str {
    match status {
        400 => "A value that can't be meant; `param` names it",
        401 => "No token, or a wrong one",
        403 => "A web page from elsewhere",
        404 => "No such thing; for start and stop: profiling is switched off",
        408 => "The body did not arrive in time",
        409 => "A capture is in the way; the message names it",
        413 => "The body is too long",
        422 => "The profiler can't work on any rank",
        429 => "Too many starts",
        503 => "No engine is attached, or no room, or shutting down",
        507 => "The capture's folder could not be made",
        _ => "An error of this server's",
    }
}
