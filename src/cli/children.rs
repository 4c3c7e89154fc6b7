//! Child processes that never outlive `demo`, however it ends.
//!
//! Each child gets a pipe as standard input that `demo` never writes to, and the hidden flag [`FLAG`]. A child with that
//! flag exits when the pipe closes, which the kernel does even for a `demo` that was killed. A normal end does not wait
//! for that: [`Child`] kills when dropped.

use std::process::Stdio;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

/// Given to children of `demo`.
const FLAG: &str = "--exit-with-parent";
/// How many lines of a child's standard error are kept for the error message.
const KEPT_LINES: usize = 100;

/// Ends this process when its standard input is at its end, that is, when `demo` is gone.
pub(super) fn exit_with_parent() {
    let watch = || {
        // Nothing is ever written, so this returns at the end of the pipe.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(0);
    };
    let _ = std::thread::Builder::new().name("stepscope-parent".into()).spawn(watch);
}

/// A running copy of this executable; killed when dropped.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Child {
    /// Runs this executable with the given arguments, in a process group of its own (so that Ctrl-C reaches `demo` alone).
    pub(super) fn spawn(name: &'static str, prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("can't find this executable")?;
        let mut command = Command::new(executable);
        command
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        prepare(&mut command);
        let mut process = command.spawn().with_context(|| format!("can't run the {name}"))?;
        let (sender, lines) = watch::channel(Vec::new());
        let stderr = process.stderr.take().context("the child has no standard error")?;
        // Read to the end, so that a talkative child never blocks on a full pipe.
        tokio::spawn(async move {
            let mut reader = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = reader.next_line().await {
                sender.send_modify(|lines: &mut Vec<String>| {
                    if lines.len() >= KEPT_LINES {
                        lines.remove(0);
                    }
                    lines.push(line);
                });
            }
        });
        Ok(Self { name, process, lines })
    }

    /// The first thing that `find` finds in a line of the child's standard error; an error when the child ends first.
    pub(super) async fn find<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        loop {
            if let Some(found) = self.lines.borrow_and_update().iter().find_map(|line| find(line)) {
                return Ok(found);
            }
            // Closed: the child's standard error is at its end, so the child is, or is about to be.
            if self.lines.changed().await.is_err() {
                return Err(self.ended().await);
            }
        }
    }

    /// An error if the child is gone.
    pub(super) async fn check(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.ended().await),
        }
    }

    /// Its last words, for an error message.
    pub(super) fn last_words(&self) -> String {
        self.lines.borrow().iter().map(|line| format!("\n  {line}")).collect()
    }

    async fn ended(&mut self) -> anyhow::Error {
        let status = self.process.wait().await.map(|s| s.to_string()).unwrap_or_else(|e| e.to_string());
        anyhow::anyhow!("the {} ended early ({status}):{}", self.name, self.last_words())
    }

    /// Ends it: its standard input is closed, and if that does not help within a moment it is killed.
    pub(super) async fn end(mut self) {
        drop(self.process.stdin.take());
        if tokio::time::timeout(std::time::Duration::from_secs(3), self.process.wait()).await.is_err() {
            let _ = self.process.kill().await;
        }
    }
}
