//! The command: started as if we were not there, and what became of it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Code(u8),
    /// By a signal.
    Signal(i32),
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Code(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        }
    }

    /// As a shell says it.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128u8.wrapping_add(u8::try_from(signal).unwrap_or(0)),
        }
    }

    /// Whether the command says that it worked.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Ends this process in the same way. Returns where that can't be: then [`Self::code`] is what is left.
    pub fn mirror(self) {
        if let Self::Signal(signal) = self {
            // The command has left its core already, if it was to.
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    }
}

/// The running command.
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Starts it: same process group, same standard input and output.
    pub(super) fn start(command: &[OsString], variables: Vec<(String, OsString)>) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { child: Command::new(program).args(arguments).envs(variables).spawn()? })
    }

    pub(super) async fn ended(&mut self) -> io::Result<Ended> {
        self.child.wait().await.map(Ended::of)
    }

    /// Passes a signal on, if the command is still there.
    pub(super) fn pass_on(&self, signal: i32) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}
