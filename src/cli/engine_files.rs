//! What the engine's own profiler wrote, fetched with a capture: as files, and merged with our trace.

use std::fmt::Write;
use std::path::Path;

use super::exit::UsageError;
use crate::client::types::{Artifact, Capture};
use crate::client::{Client, Wanted as Download};
use crate::launch::report::Scratch;
use crate::merge::{Wanted, merge};

/// Fetches what is asked for; what came of it, as text.
pub(super) async fn fetch(
    client: &Client,
    capture: &Capture,
    folder: Option<&Path>,
    merged: Option<&Path>,
) -> anyhow::Result<String> {
    let mut said = String::new();
    let all: Vec<&Artifact> = capture.artifacts.iter().filter(|artifact| artifact.kind != "trace").collect();
    if (folder.is_some() || merged.is_some()) && all.is_empty() {
        let hint = "start a capture with profiler engine, and a sidecar with --engine-profile-dir";
        return Err(
            UsageError(format!("capture {} has no files of an engine's profiler: {hint}", capture.capture_id)).into()
        );
    }
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
        for artifact in &all {
            let delivered = client.download_artifact(&capture.capture_id, artifact, folder, &mut |_, _| ()).await?;
            let _ =
                writeln!(said, "engine: {} ({})", delivered.path.display(), indicatif::BinaryBytes(delivered.bytes));
        }
    }
    if let Some(output) = merged {
        let scratch = Scratch::new()?;
        let ours = scratch.path().join("stepscope.json.gz");
        let trace = Download { resource: "trace", format: "json.gz", extension: "json.gz", rank: None };
        client.download(&capture.capture_id, &trace, &ours, &mut |_, _| ()).await?;
        let mut inputs = vec![ours];
        for artifact in all.iter().filter(|artifact| artifact.kind == "engine_trace") {
            let there = folder.map(|folder| folder.join(&artifact.name));
            inputs.push(match there {
                Some(there) => there,
                None => {
                    client.download_artifact(&capture.capture_id, artifact, scratch.path(), &mut |_, _| ()).await?.path
                }
            });
        }
        let wanted = Wanted { inputs, output: output.to_owned(), ..Wanted::default() };
        let report = tokio::task::spawn_blocking(move || merge(&wanted)).await??;
        said.push('\n');
        said.push_str(&super::merge::shown(&report, output));
    }
    Ok(said)
}
