//! `stepscope get`: a trace or a ledger into a file, or to standard output.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::GetArguments;
use super::connect::print_json;
use super::exit::{Exit, UsageError};
use super::wanted::Wanted;
use super::{engine_files, table, wait};
use crate::client::types::Capture;
use crate::client::{Client, ClientError, Delivered};
use crate::trace::output::Format;

pub(super) async fn run(arguments: GetArguments) -> anyhow::Result<Exit> {
    if let Some(merged) = &arguments.merged {
        super::merge::check_name("--merged", merged)?;
    }
    let wanted = Wanted::of(arguments.format, arguments.iterations, arguments.output.as_deref())?;
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
    let delivered = if to_stdout {
        client
            .download_to(id, &wanted.download(arguments.rank), &mut tokio::io::stdout(), &mut |_, _| ())
            .await
            .map(|_| None)
    } else {
        let into = arguments.output.clone().unwrap_or_else(|| PathBuf::from("."));
        download_visibly(&client, id, wanted, arguments.rank, &into).await.map(Some)
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
            match wanted {
                Wanted::Trace(format) => print!("\n{}", how_to_open(&delivered, format)),
                Wanted::Ledger(_) => println!("\nledger: {}", place(&delivered)),
            }
        }
        Some(delivered) => eprintln!("{}", delivered.path.display()),
        None => eprint!("{}", table::capture(capture)),
    }
    let said =
        engine_files::fetch(&client, capture, arguments.artifacts.as_deref(), arguments.merged.as_deref()).await?;
    if to_stdout || arguments.json {
        eprint!("{said}")
    } else {
        print!("{said}")
    }
    Ok(Exit::of_capture(capture))
}

/// Says where the trace lies and what opens it.
pub(super) fn how_to_open(delivered: &Delivered, format: Format) -> String {
    let place = place(delivered);
    let opens = match format {
        Format::Json | Format::JsonGz => {
            "open it at https://ui.perfetto.dev (Open trace file) or in chrome://tracing (Load)".to_owned()
        }
        Format::Perfetto => "open it at https://ui.perfetto.dev (Open trace file)".to_owned(),
        Format::JsonZst => format!("unpack it with zstd -d {}, then open it as any JSON", delivered.path.display()),
    };
    format!("trace: {place}\n{opens}\n")
}

fn place(delivered: &Delivered) -> String {
    format!("{} ({})", delivered.path.display(), indicatif::BinaryBytes(delivered.bytes))
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
    wanted: Wanted,
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
    let delivered = client.download(id, &wanted.download(rank), into, &mut progress).await;
    bar.finish_and_clear();
    delivered
}
