//! `stepscope cuda-driver`: asks the CUDA driver, in the process that `doctor` starts for it.

use std::process::Stdio;
use std::time::Duration;

use super::exit::Exit;
use crate::doctor::driver::{self, Answer, Asked};

/// Initialising takes a second or two for each device that sleeps.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run() -> anyhow::Result<Exit> {
    println!("{}", serde_json::to_string(&driver::ask())?);
    Ok(Exit::Ok)
}

/// Asks in a process of its own, which is given up when it takes too long.
pub(super) async fn ask() -> Asked {
    match tokio::time::timeout(PATIENCE, answer()).await {
        Ok(Ok(answer)) => Asked::Answered(answer),
        Ok(Err(error)) => Asked::Died(format!("{error:#}")),
        Err(_) => Asked::Silent(PATIENCE.as_secs()),
    }
}

async fn answer() -> anyhow::Result<Answer> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exit-with-parent", "cuda-driver"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // Stays open until it is done: it ends when we do.
    let _stays_open = child.stdin.take();
    let done = child.wait_with_output().await?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        // Of a panic, what it says and not where.
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("thread '"));
        anyhow::bail!("{}: {}", done.status, lines.next().unwrap_or("it said nothing"));
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}
