//! Downloads: whole, or visibly broken off.

use std::io;

use stepscope::capture::export::Export;
use stepscope::config::Settings;
use stepscope::service::error::ApiError;
use stepscope::service::stream::stream;

use super::support::state;

async fn collect(export: Export) -> Result<Result<Vec<u8>, axum::Error>, ApiError> {
    let state = state(Settings::default(), None);
    let body = stream(&state, export).await?;
    Ok(axum::body::to_bytes(body, 64 << 20).await.map(|bytes| bytes.to_vec()))
}

fn broken() -> io::Error {
    io::Error::other("disk on fire")
}

#[tokio::test]
async fn a_long_download_arrives_whole_and_in_order() {
    let export: Export = Box::new(|out| {
        for line in 0..200_000 {
            writeln!(out, "{line}")?;
        }
        out.write_all(&[b'x'; 300_000])
    });
    let bytes = collect(export).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.lines().take(200_000).enumerate().all(|(n, line)| line == n.to_string()));
    assert_eq!(text.lines().last().unwrap(), "x".repeat(300_000));
}

#[tokio::test]
async fn nothing_written_is_an_empty_download() {
    assert!(collect(Box::new(|_| Ok(()))).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_failure_before_the_first_byte_is_an_error_answer() {
    let error = collect(Box::new(|_| Err(broken()))).await.unwrap_err();
    assert_eq!(error.answer().status, 500);
    assert!(error.to_string().contains("disk on fire"), "{error}");
}

#[tokio::test]
async fn a_failure_or_a_panic_halfway_breaks_the_download_off() {
    let chunk = vec![b'x'; 1 << 20];
    let failing = {
        let chunk = chunk.clone();
        collect(Box::new(move |out| out.write_all(&chunk).and(Err(broken())))).await.unwrap()
    };
    assert!(failing.is_err());
    let panicking = collect(Box::new(move |out| {
        out.write_all(&chunk)?;
        out.flush()?;
        panic!("a defect, on purpose")
    }));
    assert!(panicking.await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_writer() {
    let state = state(Settings::default(), None);
    let (told, ended) = tokio::sync::oneshot::channel();
    let export: Export = Box::new(move |out| {
        let result = loop {
            if let Err(error) = out.write_all(&[0; 4096]) {
                break error;
            }
        };
        told.send(result.kind()).unwrap();
        Err(result)
    });
    drop(stream(&state, export).await.unwrap());
    assert_eq!(ended.await.unwrap(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn more_downloads_than_there_is_room_for_are_told_to_come_again() {
    let state = state(Settings::default(), None);
    let _taken = state.downloads.clone().acquire_many_owned(state.downloads.available_permits() as u32).await.unwrap();
    let error = stream(&state, Box::new(|_| Ok(()))).await.unwrap_err();
    assert_eq!((error.answer().status.as_u16(), error.answer().reason), (503, "busy"));
}
