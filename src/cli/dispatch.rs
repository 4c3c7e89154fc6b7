//! From arguments to an exit code.

use clap::Parser;

use super::arguments::{Cli, Command};
use super::exit::Exit;

/// Reads the arguments of this process and does what they say.
pub fn main() -> Exit {
    let cli = Cli::parse();
    if cli.exit_with_parent {
        super::children::exit_with_parent();
    }
    match dispatch(cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            Exit::of_error(&error)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        // These two bring threads and runtimes of their own.
        Command::Serve(arguments) => super::serve::run(&arguments),
        Command::Engine(arguments) => super::engine::run(&arguments),
        Command::CudaDriver => super::cuda::run(),
        Command::Completions(arguments) => super::completions::run(&arguments),
        Command::Demo(arguments) => block_on(super::demo::run(arguments)),
        Command::Start(arguments) => block_on(super::start::run(arguments)),
        Command::Stop(arguments) => block_on(super::stop::run(arguments)),
        Command::Status(arguments) => block_on(super::status::run(arguments)),
        Command::Captures(arguments) => block_on(super::captures::run(arguments)),
        Command::Get(arguments) => block_on(super::get::run(arguments)),
        Command::Report(arguments) => block_on(super::report::run(arguments)),
        Command::Exec(arguments) => super::exec::run(*arguments),
        Command::Nsys(arguments) => block_on(super::nsys::run(arguments)),
        Command::Reports(arguments) => block_on(super::reports::run(arguments)),
        Command::Run(arguments) => block_on(super::run::run(*arguments)),
        Command::Phase(arguments) => super::phase::run(&arguments),
        Command::Merge(arguments) => super::merge::run(arguments),
        Command::Doctor(arguments) => block_on(super::doctor::run(arguments)),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A client's error says everything itself; others are said with their causes.
fn sentence(error: &anyhow::Error) -> String {
    if error.is::<crate::client::ClientError>() { error.to_string() } else { format!("{error:#}") }
}
