//! What is sent to us while the command runs, and who sent it.
//!
//! The command is in our process group. What the terminal sends (Ctrl-C, Ctrl-\, a hang-up) reaches it without us, and
//! must not be passed on a second time; what somebody sends to us alone must be. The kernel tells which of both it was. A
//! signal that was ignored when we started (`nohup`) stays ignored, so that the command inherits it so.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::mpsc;

/// Signals that wait to be looked at.
const QUEUE: usize = 64;

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub signal: i32,
    /// A process sent it, to us.
    pub was_sent: bool,
}

/// Takes signals from now on, until dropped.
pub(super) struct Signals {
    arrived: mpsc::Receiver<Arrived>,
    handle: Handle,
}

impl Signals {
    /// # Errors
    /// What the system says.
    pub(super) fn take() -> io::Result<Self> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let wanted = [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|s| ignored & (1 << (s - 1)) == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted)?;
        let handle = signals.handle();
        let (sender, arrived) = mpsc::channel(QUEUE);
        let listen = move || {
            for origin in signals.forever() {
                let was_sent = matches!(origin.cause, Cause::Sent(_));
                if sender.blocking_send(Arrived { signal: origin.signal, was_sent }).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("stepscope-signals".into()).spawn(listen)?;
        Ok(Self { arrived, handle })
    }

    /// The next one. Never returns without one.
    pub(super) async fn next(&mut self) -> Arrived {
        match self.arrived.recv().await {
            Some(arrived) => arrived,
            None => std::future::pending().await,
        }
    }

    /// One that has arrived already.
    pub(super) fn arrived(&mut self) -> Option<Arrived> {
        self.arrived.try_recv().ok()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// The mask of ignored signals out of `/proc/PID/status`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Its name, for words.
pub(super) fn name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ignored_signals_are_read_from_the_kernels_mask() {
        assert_eq!(super::ignored("SigBlk:\t0\nSigIgn:\t0000000000000003\nSigCgt:\t0\n"), 3);
        assert_eq!(super::ignored(""), 0);
    }
}
