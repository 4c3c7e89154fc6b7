//! `stepscope captures`.

use super::arguments::{CapturesArguments, CapturesCommand, RemoveArguments};
use super::connect::print_json;
use super::exit::Exit;
use super::table;

pub(super) async fn run(arguments: CapturesArguments) -> anyhow::Result<Exit> {
    if let Some(CapturesCommand::Rm(arguments)) = arguments.command {
        return remove(arguments).await;
    }
    let list = arguments.connect.client()?.captures().await?;
    if arguments.output.json {
        print_json(&list.json);
    } else {
        print!("{}", table::captures(list.value.captures()));
    }
    Ok(Exit::Ok)
}

async fn remove(arguments: RemoveArguments) -> anyhow::Result<Exit> {
    let client = arguments.connect.client()?;
    for id in &arguments.ids {
        let answer = client.delete(id).await?;
        if !arguments.output.json {
            println!("removed {id}");
        } else if !answer.trim().is_empty() {
            print_json(&answer);
        }
    }
    Ok(Exit::Ok)
}
