//! `/healthz` and `/readyz`: open to everybody, and they ask nobody.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::capture::request::CaptureError;
use crate::service::error::ApiError;
use crate::service::state::AppState;

/// The service lives: it could answer this.
pub async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// It takes starts: no shutdown has begun. Whether an engine is attached is `status`'s to say.
pub async fn readyz(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    if state.is_stopping() {
        return Err(ApiError::Capture(CaptureError::ShuttingDown));
    }
    Ok(Json(json!({"status": "ready"})))
}
