//! `stepscope engine`: the simulated engine, as `demo` runs it.

use super::arguments::EngineArguments;
use super::exit::Exit;

pub(super) fn run(_arguments: &EngineArguments) -> anyhow::Result<Exit> {
    super::children::exit_with_parent();
    anyhow::bail!("not wired yet")
}
