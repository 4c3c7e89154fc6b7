//! `/openapi.json`.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::service::document::document;
use crate::service::state::AppState;

static DOCUMENTS: LazyLock<[Value; 2]> = LazyLock::new(|| [false, true].map(document));

/// The document, as it holds for this service.
pub async fn openapi(State(state): State<AppState>) -> Json<&'static Value> {
    let [without, with] = &*DOCUMENTS;
    Json(if state.tokens().are_asked_for() { with } else { without })
}
