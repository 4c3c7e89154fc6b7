//! `stepscope start`.

use std::time::Duration;

use super::arguments::StartArguments;
use super::connect::print_json;
use super::exit::Exit;
use super::{table, wait};

pub(super) async fn run(arguments: StartArguments) -> anyhow::Result<Exit> {
    let client = arguments.connect.client()?;
    let body = arguments.window.body();
    let started = client.start(&body).await?;
    let Some(seconds) = arguments.wait.wait else {
        if arguments.output.json {
            print_json(&started.json);
        } else {
            print!("{}", table::capture(&started.value));
            println!("\nfetch its trace with: stepscope get {}", started.value.capture_id);
        }
        return Ok(Exit::Ok);
    };
    let patience = Duration::from_secs(seconds);
    let ended = wait::until_final(&client, &started.value.capture_id, patience, |_| ()).await?;
    super::stop::show_ended(&ended, arguments.output.json, patience)
}
