//! A blocking writer as a response body: written on a thread of its own, sent in chunks, never held whole.
//!
//! The channel between them is bounded; a client that reads nothing for [`STALL`] loses the download and frees the
//! thread. A writer that fails before its first chunk is an error answer; one that fails later breaks the connection
//! off, so that nobody takes half a trace for a whole one. Called by [`super::routes::captures`].

use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::error::ApiError;
use super::state::AppState;
use crate::capture::export::Export;

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: usize = 8;
/// How long a client may read nothing.
pub const STALL: Duration = Duration::from_secs(60);

/// The body that `export` writes.
pub async fn stream(state: &AppState, export: Export) -> Result<Body, ApiError> {
    let room = state.downloads.clone().try_acquire_owned().map_err(|_| ApiError::Busy("16 downloads"))?;
    let (sender, mut receiver) = mpsc::channel(CHUNKS);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _room = room;
        let mut writer = Chunks { runtime, sender, chunk: Vec::with_capacity(CHUNK_BYTES) };
        match export(&mut writer).and_then(|()| writer.flush()) {
            Ok(()) => drop(writer.send(Part::End)), // a client that is gone needs no end
            Err(error) => {
                tracing::debug!("a download ended early: {error}");
                drop(writer.sender.try_send(Part::Failed(error))); // without room for it, the missing end says the same
            }
        }
    });
    let first = match receiver.recv().await {
        Some(Part::Chunk(first)) => first,
        Some(Part::End) => return Ok(Body::empty()),
        Some(Part::Failed(error)) => {
            return Err(ApiError::Internal(format!("the capture's files can't be read: {error}")));
        }
        None => return Err(ApiError::Internal("the export broke off".to_owned())),
    };
    let chunks = futures_util::stream::unfold((Some(first), Some(receiver)), |(first, receiver)| async move {
        let mut receiver = receiver?;
        if let Some(first) = first {
            return Some((Ok(first), (None, Some(receiver))));
        }
        match receiver.recv().await {
            Some(Part::Chunk(chunk)) => Some((Ok(chunk), (None, Some(receiver)))),
            Some(Part::End) => None,
            Some(Part::Failed(error)) => Some((Err(error), (None, None))),
            None => Some((Err(io::ErrorKind::BrokenPipe.into()), (None, None))),
        }
    });
    Ok(Body::from_stream(chunks))
}

/// What passes from the writer to the body. Only an `End` makes a whole one.
enum Part {
    Chunk(Bytes),
    End,
    Failed(io::Error),
}

struct Chunks {
    runtime: Handle,
    sender: mpsc::Sender<Part>,
    chunk: Vec<u8>,
}

impl Chunks {
    fn send(&self, part: Part) -> io::Result<()> {
        match self.runtime.block_on(self.sender.send_timeout(part, STALL)) {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES {
            self.flush()?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        self.send(Part::Chunk(chunk.into()))
    }
}
