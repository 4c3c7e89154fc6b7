//! Waiting for a capture to be over.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::types::Capture;
use crate::client::{Client, ClientError, Reply};

/// How often the sidecar is asked.
const INTERVAL: Duration = Duration::from_millis(200);

/// Asks until the capture is final or the time is up; gives what it then is. `seen` is called with each answer.
pub(super) async fn until_final(
    client: &Client,
    id: &str,
    patience: Duration,
    mut seen: impl FnMut(&Capture),
) -> Result<Reply<Capture>, ClientError> {
    let deadline = Instant::now() + patience;
    loop {
        let reply = client.capture(id).await?;
        seen(&reply.value);
        if reply.value.is_final() || Instant::now() >= deadline {
            return Ok(reply);
        }
        tokio::time::sleep(INTERVAL.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

/// What to say when it is not final by then.
pub(super) fn not_over(capture: &Capture, patience: Duration) -> anyhow::Error {
    anyhow::anyhow!(
        "capture {} is still {} after {} s; wait longer with --wait, or end it with `stepscope stop`",
        capture.capture_id,
        capture.state,
        patience.as_secs()
    )
}
