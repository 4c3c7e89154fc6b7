//! `stepscope start`.

use std::time::Duration;

use super::arguments::StartArguments;
use super::connect::print_json;
use super::exit::Exit;
use super::{table, wait};
use crate::client::StartBody;

pub(super) async fn run(arguments: StartArguments) -> anyhow::Result<Exit> {
    let client = arguments.connect.client()?;
    let body = StartBody {
        delay_iterations: arguments.delay_iterations,
        max_iterations: arguments.max_iterations,
        start_iteration: arguments.start_iteration,
        profiler: arguments.profiler,
        synchronize: arguments.synchronize,
        lead_iterations: arguments.lead_iterations,
        cuda_ranks: arguments.cuda_ranks,
        level: arguments.level,
        job: arguments.job,
        ranks: arguments.ranks,
        max_duration_ms: arguments.max_duration_ms,
        max_events: arguments.max_events,
        max_bytes: arguments.max_bytes,
        profile_prefix: arguments.profile_prefix,
    };
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
