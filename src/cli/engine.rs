//! `stepscope engine`: the simulated engine, as `demo` runs it.

use std::process::Command;

use super::arguments::EngineArguments;
use super::exit::Exit;
use crate::simulator::{arguments::Arguments, driver};

pub(super) fn run(arguments: &EngineArguments) -> anyhow::Result<Exit> {
    let arguments = Arguments::parse(arguments.arguments.iter().cloned()).map_err(anyhow::Error::msg)?;
    driver::run(&arguments, || {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("engine");
        Ok(command)
    })?;
    Ok(Exit::Ok)
}
