//! `stepscope exec`: sets the environment and becomes the command.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::arguments::ExecArguments;
use super::exit::{Exit, UsageError};
use crate::launch::environment::{self, Wanted};
use crate::launch::library;

pub(super) fn run(arguments: ExecArguments) -> anyhow::Result<Exit> {
    // An empty variable is an unset one.
    let named = arguments.library.filter(|path| !path.as_os_str().is_empty());
    let library = if arguments.nvtx || arguments.nvtx_step.is_some() || named.is_some() {
        Some(library::find(named.as_deref(), &std::env::current_exe()?)?)
    } else {
        None
    };
    let wanted = Wanted {
        nvtx_step: arguments.nvtx_step,
        nvtx: arguments.nvtx,
        step: arguments.step,
        job: arguments.job,
        dir: arguments.dir.map(std::path::absolute).transpose()?,
        group: arguments.group,
        rank: arguments.rank,
        world_size: arguments.world_size,
        library,
    };
    let variables = environment::variables(&wanted, |name| std::env::var_os(name)).map_err(UsageError)?;
    let [program, rest @ ..] = &arguments.command[..] else { return Ok(Exit::Usage) };
    // Returns only if it failed.
    let error = Command::new(program).args(rest).envs(variables).exec();
    eprintln!("error: can't run {program}: {error}");
    // As shells say it: found and not to be run, or not found.
    Ok(Exit::Passed(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}
