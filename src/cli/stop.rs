//! `stepscope stop`.

use std::time::Duration;

use super::arguments::StopArguments;
use super::connect::print_json;
use super::exit::Exit;
use super::{table, wait};
use crate::client::Reply;
use crate::client::types::Capture;

/// Longest wait that is left to the sidecar in one call; beyond it we ask again.
const ONE_CALL: Duration = Duration::from_secs(20);

pub(super) async fn run(arguments: StopArguments) -> anyhow::Result<Exit> {
    let client = arguments.connect.client()?;
    let patience = arguments.wait.wait.map(Duration::from_secs);
    let stopped = client.stop(patience.map(|p| p.min(ONE_CALL))).await?;
    let capture = &stopped.value;
    if capture.state == "idle" || capture.capture_id.is_empty() {
        if arguments.output.json {
            print_json(&stopped.json);
        } else {
            println!("nothing was running");
        }
        return Ok(Exit::Ok);
    }
    let Some(patience) = patience else {
        if arguments.output.json {
            print_json(&stopped.json);
        } else {
            print!("{}", table::capture(capture));
            println!("\nfetch its trace with: stepscope get {}", capture.capture_id);
        }
        return Ok(Exit::of_capture(capture));
    };
    let ended = wait::until_final(&client, &capture.capture_id, patience.saturating_sub(ONE_CALL), |_| ()).await?;
    show_ended(&ended, arguments.output.json, patience)
}

/// Shows a capture that was waited for.
pub(super) fn show_ended(ended: &Reply<Capture>, json: bool, patience: Duration) -> anyhow::Result<Exit> {
    let capture = &ended.value;
    if json {
        print_json(&ended.json);
    } else {
        print!("{}", table::capture(capture));
        if capture.state == "done" {
            println!("\nfetch its trace with: stepscope get {}", capture.capture_id);
        }
    }
    if !capture.is_final() {
        return Err(wait::not_over(capture, patience));
    }
    Ok(Exit::of_capture(capture))
}
