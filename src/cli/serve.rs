//! `stepscope serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::exit::Exit;

/// Stands in for `config::arguments::ServeArguments`.
#[derive(Debug, clap::Args)]
pub struct ServeArguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    pub listen: SocketAddr,
    /// Folder for captures
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder in which engines and sidecar meet
    #[arg(long, value_name = "DIR", env = "STEPSCOPE_DIR", hide_env_values = true)]
    pub dir: Option<PathBuf>,
}

pub(super) fn run(_arguments: ServeArguments) -> anyhow::Result<Exit> {
    super::children::exit_with_parent();
    anyhow::bail!("not wired yet")
}
