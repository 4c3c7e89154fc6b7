//! `stepscope completions`.

use clap::CommandFactory;

use super::arguments::{Cli, CompletionsArguments};
use super::exit::Exit;

pub(super) fn run(arguments: &CompletionsArguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "stepscope", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(Exit::Ok)
}
