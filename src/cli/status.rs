//! `stepscope status`.

use super::arguments::StatusArguments;
use super::connect::print_json;
use super::exit::Exit;
use super::table;

pub(super) async fn run(arguments: StatusArguments) -> anyhow::Result<Exit> {
    let client = arguments.connect.client()?;
    let status = client.status().await?;
    if arguments.output.json {
        print_json(&status.json);
    } else {
        print!("{}", table::status(&status.value, client.url()));
    }
    Ok(Exit::Ok)
}
