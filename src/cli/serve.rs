//! `stepscope serve`.

use anyhow::Context;

use super::exit::Exit;
use crate::config::{self, ServeArguments};
use crate::service;

pub(super) fn run(arguments: &ServeArguments) -> anyhow::Result<Exit> {
    let settings = config::load(std::env::vars_os(), arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("stepscope-http")
        .worker_threads(2)
        .enable_all()
        .build()
        .context("can't start threads")?;
    runtime.block_on(service::run(settings))?;
    Ok(Exit::Ok)
}
