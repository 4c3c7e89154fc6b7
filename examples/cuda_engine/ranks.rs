//! Several ranks: a process each, which make every iteration together, as tensor-parallel ones do.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use std::sync::atomic::Ordering;

use super::ENDED;

struct Rank {
    process: Child,
    answers: BufReader<ChildStdout>,
}

/// Starts them, and paces them until standard input is closed.
pub(crate) fn run(ranks: u32, ready: impl Fn()) -> ExitCode {
    match drive(ranks, ready) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cuda_engine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn drive(count: u32, ready: impl Fn()) -> io::Result<ExitCode> {
    let mut ranks = (0..count).map(|rank| Rank::start(rank, count)).collect::<io::Result<Vec<_>>>()?;
    let up = ranks.iter_mut().try_for_each(Rank::answered);
    if up.is_ok() {
        ready();
        std::thread::spawn(|| {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            ENDED.store(true, Ordering::Relaxed);
        });
        while !ENDED.load(Ordering::Relaxed) {
            ranks
                .iter_mut()
                .try_for_each(|rank| rank.process.stdin.as_mut().map_or(Ok(()), |o| o.write_all(b"1\n")))?;
            ranks.iter_mut().try_for_each(Rank::answered)?;
        }
    }
    // The worst of their ends is ours.
    let mut worst = 0;
    for rank in &mut ranks {
        drop(rank.process.stdin.take());
        let code = rank.process.wait()?.code().unwrap_or(1);
        worst = worst.max(u8::try_from(code).unwrap_or(1));
    }
    Ok(ExitCode::from(worst))
}

impl Rank {
    fn start(rank: u32, count: u32) -> io::Result<Self> {
        let (rank, count) = (rank.to_string(), count.to_string());
        let mut process = Command::new(std::env::current_exe()?)
            .args(std::env::args().skip(1))
            .args(["--ranks", "1", "--rank", &rank, "--world-size", &count, "--paced"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, answers: BufReader::new(answers) })
    }

    /// Waits for a line: `ready`, or that the iteration is made.
    fn answered(&mut self) -> io::Result<()> {
        match self.answers.read_line(&mut String::new())? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a rank died")),
            _ => Ok(()),
        }
    }
}
