//! Log lines on their way to stderr: a bounded queue, and a thread of its own behind it.
//!
//! Stderr may be a file on a disk that stalls, or a pipe that nobody reads. Who logs never waits for it: a line that finds
//! the queue full is dropped, and how many were is said in front of the next one that is not.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const QUEUE: usize = 1024;
/// How long the end waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    dropped: u64,
    /// A line is being written.
    writing: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// Where lines go. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Queue>);

/// Waits a moment, as it is dropped, for what is not written yet.
pub(super) struct Last(Lines);

impl Lines {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<(Self, Last)> {
        let lines = Self::default();
        let queue = lines.0.clone();
        std::thread::Builder::new().name("stepscope-log".into()).spawn(move || queue.write_to(sink))?;
        Ok((lines.clone(), Last(lines)))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut sink: impl Write) {
        let mut waiting = self.lock();
        loop {
            let Some(line) = waiting.lines.pop_front() else {
                self.changed.notify_all();
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let dropped = std::mem::take(&mut waiting.dropped);
            waiting.writing = true;
            drop(waiting);
            if dropped > 0 {
                let _ = writeln!(sink, "{dropped} log lines were dropped: nothing took them off in time");
            }
            let _ = sink.write_all(&line);
            waiting = self.lock();
            waiting.writing = false;
        }
    }
}

impl Write for Lines {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.lines.len() < QUEUE {
            waiting.lines.push_back(line.to_vec());
            self.0.changed.notify_all();
        } else {
            waiting.dropped += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        let queue = &self.0.0;
        let unwritten = |w: &mut Waiting| w.writing || !w.lines.is_empty();
        let _ = queue.changed.wait_timeout_while(queue.lock(), PATIENCE, unwritten);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    /// Takes nothing until it is let go on.
    struct Stalled(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stalled {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_stalls_keeps_nobody_waiting_and_what_it_missed_is_counted() {
        let (go_on, stall) = sync_channel::<()>(0);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut lines, last) = Lines::start(Stalled(stall, written.clone())).unwrap();
        for n in 0..2 * QUEUE {
            lines.write_all(format!("line {n}\n").as_bytes()).unwrap();
            // The first one is on its way, and waits nowhere, before the others fill the queue.
            while n == 0 && !lines.0.lock().writing {
                std::thread::yield_now();
            }
        }
        drop(go_on);
        drop(last);
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let dropped = QUEUE - 1;
        assert!(written.contains("line 0\n") && written.contains(&format!("line {QUEUE}\n")), "{written}");
        assert!(written.contains(&format!("{dropped} log lines were dropped")), "{written}");
        assert!(!written.contains(&format!("line {}\n", 2 * QUEUE - 1)), "{written}");
    }
}
