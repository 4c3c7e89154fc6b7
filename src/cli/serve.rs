//! `stepscope serve`.

use anyhow::Context;

use super::exit::Exit;
use crate::config::{self, ServeArguments, Settings};
use crate::service;

pub(super) fn run(arguments: &ServeArguments) -> anyhow::Result<Exit> {
    let settings = config::load(std::env::vars_os(), arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("stepscope-http")
        .worker_threads(threads(&settings))
        .enable_all()
        .build()
        .context("can't start threads")?;
    runtime.block_on(service::run(settings))?;
    Ok(Exit::Ok)
}

/// Two for what is ours; in front of an engine a quarter of the machine's cores too, of which the engine has the rest.
fn threads(settings: &Settings) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if settings.upstream.is_some() { (cores / 4).clamp(2, 8) } else { 2 }
}
