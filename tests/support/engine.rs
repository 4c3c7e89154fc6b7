//! The simulated engine as a process, with its ranks.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::stepscope;

/// A running engine; ended when dropped.
pub struct Engine {
    process: Child,
    orders: Option<ChildStdin>,
}

impl Engine {
    /// Starts it; it has joined with all its ranks when this returns.
    pub fn start(segments: &Path, arguments: &[&str]) -> Self {
        Self::start_with(segments, arguments, &[])
    }

    /// The same, with environment variables.
    pub fn start_with(segments: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(stepscope())
            .arg("engine")
            .args(arguments)
            .env("STEPSCOPE_DIR", segments)
            .env_remove("STEPSCOPE_JOB")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let mut first = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut first).unwrap();
        assert!(first.starts_with("job "), "engine said {first:?}");
        // Whatever else it says is not waited for, but read.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { process, orders }
    }

    /// A paced engine makes this many iterations.
    pub fn make(&mut self, iterations: u64) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{iterations}").unwrap();
        orders.flush().unwrap();
    }

    /// A paced engine's standard input closes: it ends in order.
    pub fn end(mut self) {
        drop(self.orders.take());
        self.process.wait().unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Its ranks end when their orders do, which the kernel closes with it; one that hangs is killed too.
        let ranks =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.process.id())).unwrap_or_default();
        let _ = self.process.kill();
        let _ = self.process.wait();
        for rank in ranks.split_whitespace() {
            signal(rank.parse().unwrap(), "KILL");
        }
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}
