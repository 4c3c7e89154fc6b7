//! `stepscope get`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{Format, GetArguments};
use super::connect::print_json;
use super::exit::{Exit, UsageError};
use super::{table, wait};
use crate::client::types::Capture;
use crate::client::{Client, ClientError, Delivered};

pub(super) async fn run(arguments: GetArguments) -> anyhow::Result<Exit> {
    let client = arguments.connect.client()?;
    let to_stdout = arguments.output.as_deref() == Some(Path::new("-"));
    if to_stdout && arguments.json {
        return Err(UsageError("-o - and --json both want standard output: choose one".into()).into());
    }
    let patience = Duration::from_secs(arguments.wait);
    let ended = wait_visibly(&client, &arguments.id, patience).await?;
    let capture = &ended.value;
    if !capture.is_final() {
        return Err(wait::not_over(capture, patience));
    }
    let id = &capture.capture_id;
    if capture.state == "cancelled" {
        anyhow::bail!("capture {id} was cancelled before its window opened: there is no trace");
    }
    let format = arguments.format.unwrap_or_else(|| format_of(arguments.output.as_deref()));
    let delivered = if to_stdout {
        client
            .download_to(id, format.as_str(), arguments.rank, &mut tokio::io::stdout(), &mut |_, _| ())
            .await
            .map(|_| None)
    } else {
        let into = arguments.output.clone().unwrap_or_else(|| PathBuf::from("."));
        download_visibly(&client, id, format, arguments.rank, &into).await.map(Some)
    };
    let delivered = match delivered {
        Ok(delivered) => delivered,
        // A failed capture may have no trace; what it says of itself is worth more than that.
        Err(ClientError::Refused { .. }) if capture.state == "failed" => {
            eprint!("{}", table::capture(capture));
            return Ok(Exit::Failed);
        }
        Err(error) => return Err(error.into()),
    };
    if arguments.json {
        print_json(&ended.json);
    }
    match delivered {
        Some(delivered) if !arguments.json => {
            print!("{}", table::capture(capture));
            print!("\n{}", how_to_open(&delivered));
        }
        Some(delivered) => eprintln!("{}", delivered.path.display()),
        None => eprint!("{}", table::capture(capture)),
    }
    Ok(Exit::of_capture(capture))
}

/// Says where the trace lies and what opens it.
pub(super) fn how_to_open(delivered: &Delivered) -> String {
    format!(
        "trace: {} ({})\nopen it at https://ui.perfetto.dev (Open trace file) or in chrome://tracing (Load)\n",
        delivered.path.display(),
        indicatif::BinaryBytes(delivered.bytes),
    )
}

/// Waits for the end with a spinner that says what it waits for; nothing is shown where there is no terminal.
pub(super) async fn wait_visibly(
    client: &Client,
    id: &str,
    patience: Duration,
) -> Result<crate::client::Reply<Capture>, ClientError> {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    let ended = wait::until_final(client, id, patience, |capture| {
        spinner.set_message(format!("capture {} is {}", capture.capture_id, capture.state));
    })
    .await;
    spinner.finish_and_clear();
    ended
}

/// Downloads with a bar.
pub(super) async fn download_visibly(
    client: &Client,
    id: &str,
    format: Format,
    rank: Option<u32>,
    into: &Path,
) -> Result<Delivered, ClientError> {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {binary_bytes} {wide_bar} {binary_bytes_per_sec}") {
        bar.set_style(style);
    }
    let mut progress = |bytes, total: Option<u64>| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    };
    let delivered = client.download(id, format.as_str(), rank, into, &mut progress).await;
    bar.finish_and_clear();
    delivered
}

/// A name that ends in `.json` wants JSON.
fn format_of(output: Option<&Path>) -> Format {
    match output.and_then(Path::extension) {
        Some(extension) if extension == "json" => Format::Json,
        _ => Format::JsonGz,
    }
}
