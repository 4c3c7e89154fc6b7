//! The benchmark says where its phases begin and end, and is told when a window is armed.
//!
//! It writes lines and reads one line for each: `start`, or `start NAME`, and `stop`. The answer begins with `ok` or with
//! `error`; an `ok` to `start` comes when every target that will be there is armed. There are two ways in, both in the
//! command's environment: a descriptor that is open ([`FD_VARIABLE`]), for the command itself, and a socket
//! ([`SOCKET_VARIABLE`]), for whatever it runs; [`COMMAND_VARIABLE`] is a line for shells that does it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// An open descriptor.
pub(super) const FD_VARIABLE: &str = "STEPSCOPE_PHASE_FD";
/// A socket's path.
pub const SOCKET_VARIABLE: &str = "STEPSCOPE_PHASE_SOCKET";
/// What a shell runs, with `start` or `stop` behind it.
pub(super) const COMMAND_VARIABLE: &str = "STEPSCOPE_PHASE_COMMAND";
/// The longest line that is read.
const LONGEST_LINE: u64 = 4096;
/// The longest name of a phase.
const LONGEST_NAME: usize = 128;

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A phase begins, with a name or without.
    Start(Option<String>),
    /// It ends.
    Stop,
}

impl Word {
    /// Reads a line.
    fn of_line(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name: String = rest.trim().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        match (word, name.is_empty()) {
            ("start", empty) => Ok(Self::Start((!empty).then_some(name))),
            ("stop", true) => Ok(Self::Stop),
            _ => Err("expected start, start NAME, or stop".into()),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Start(None) => "start\n".into(),
            Self::Start(Some(name)) => format!("start {}\n", name.replace('\n', " ")),
            Self::Stop => "stop\n".into(),
        }
    }
}

/// Says it to the `stepscope run` that this socket belongs to, and waits for the answer: `Ok` and what is armed or stopped,
/// or why not.
///
/// # Errors
/// What the system says.
pub fn tell(socket: &Path, word: &Word) -> io::Result<Result<String, String>> {
    let mut stream = BlockingStream::connect(socket)?;
    stream.write_all(word.line().as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut answer)?;
    let answer = answer.trim();
    Ok(match answer.split_once(' ') {
        Some(("ok", rest)) => Ok(rest.to_owned()),
        Some(("error", rest)) => Err(rest.to_owned()),
        _ => Err("the run is over".to_owned()),
    })
}

/// A word, and where its answer goes.
pub(super) type Said = (Word, oneshot::Sender<Result<String, String>>);

/// Both ways in. Gone with its socket when dropped.
pub(super) struct Control {
    folder: PathBuf,
    /// The command's end; open until it is started.
    theirs: Option<BlockingStream>,
    said: mpsc::Receiver<Said>,
}

impl Control {
    /// # Errors
    /// What the system says.
    pub(super) fn open() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("stepscope-run-{}", uuid::Uuid::now_v7()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let listener = UnixListener::bind(folder.join("phase"))?;
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        fcntl_setfd(&theirs, FdFlags::empty())?;
        let (sender, said) = mpsc::channel(16);
        tokio::spawn(converse(ours, sender.clone()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, sender.clone()));
            }
        });
        Ok(Self { folder, theirs: Some(theirs), said })
    }

    /// What the command's environment gets.
    pub(super) fn variables(&self) -> Vec<(String, OsString)> {
        let us = std::env::current_exe().unwrap_or_else(|_| "stepscope".into());
        let mut line = us.into_os_string();
        line.push(" phase");
        let mut variables =
            vec![(SOCKET_VARIABLE.into(), self.folder.join("phase").into_os_string()), (COMMAND_VARIABLE.into(), line)];
        if let Some(theirs) = &self.theirs {
            variables.push((FD_VARIABLE.into(), theirs.as_raw_fd().to_string().into()));
        }
        variables
    }

    /// The command has its end: ours of it is closed.
    pub(super) fn handed_over(&mut self) {
        self.theirs = None;
    }

    /// The next word. Never returns without one.
    pub(super) async fn next(&mut self) -> Said {
        match self.said.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One who speaks: line by line, each answered before the next is read.
async fn converse(stream: UnixStream, said: mpsc::Sender<Said>) {
    let (from, mut to) = stream.into_split();
    let mut from = tokio::io::BufReader::new(from);
    loop {
        let mut line = Vec::new();
        match (&mut from).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
        let answer = match Word::of_line(&String::from_utf8_lossy(&line)) {
            Err(reason) => Err(reason),
            Ok(word) => {
                let (reply, answer) = oneshot::channel();
                let over = || Err("the run is over".to_owned());
                match said.send((word, reply)).await {
                    Ok(()) => answer.await.unwrap_or_else(|_| over()),
                    Err(_) => over(),
                }
            }
        };
        let line = match answer {
            Ok(words) => format!("ok {words}\n"),
            Err(words) => format!("error {}\n", words.replace('\n', "; ")),
        };
        if to.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Word;

    #[test]
    fn a_line_is_a_word_and_perhaps_a_name() {
        assert_eq!(Word::of_line("start\n"), Ok(Word::Start(None)));
        assert_eq!(Word::of_line(" start  run 1 \r\n"), Ok(Word::Start(Some("run 1".into()))));
        assert_eq!(Word::of_line("stop"), Ok(Word::Stop));
        for wrong in ["", "stop now", "begin", "start\u{0}"] {
            assert!(Word::of_line(wrong).is_err(), "{wrong:?}");
        }
        let named = Word::Start(Some("run 1".into()));
        assert_eq!(Word::of_line(&named.line()), Ok(named));
    }
}
