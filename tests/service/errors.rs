//! What every error looks like to a caller.

use std::fmt::Write;

use axum::response::IntoResponse;
use stepscope::service::error::ApiError;
use stepscope::service::samples::samples;

#[tokio::test]
async fn every_error_has_vllms_shape_and_says_what_to_do() {
    let mut shown = String::new();
    for error in samples() {
        let response = error.into_response();
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let challenge = response.headers().get("www-authenticate").is_some();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        writeln!(shown, "{body}").unwrap();
        if let Some(retry) = retry {
            writeln!(shown, "  retry-after: {retry}").unwrap();
        }
        if challenge {
            writeln!(shown, "  www-authenticate: Bearer").unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_start_meets_404_for_one_reason_alone() {
    let on_start =
        |error: &ApiError| matches!(error, ApiError::Start(_) | ApiError::Body(_) | ApiError::TooManyStarts(_));
    for error in samples().iter().filter(|error| on_start(error)) {
        assert_ne!(error.answer().status, 404, "{error}");
    }
    assert_eq!(ApiError::ProfilingOff.answer().status, 404);
}
