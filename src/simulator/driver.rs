//! The scheduler process: starts a process per rank, and drives each group's ranks in lockstep.

use std::io::{self, BufRead, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::batching::Batching;
use super::lives::{self, Lives};
use super::worker;

/// Orders of a paced engine that wait for a group.
const WAITING_PACES: usize = 1024;

struct Rank {
    process: Child,
    orders: Option<ChildStdin>,
    answers: ChildStdout,
}

struct Group {
    ranks: Vec<Rank>,
}

/// What an engine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Iterations of each group.
    pub iterations: u64,
    /// Time they took.
    pub elapsed: Duration,
}

/// Runs the engine, or one rank of it when the arguments say so.
///
/// `worker` is the command that starts this program again.
///
/// # Errors
/// What starting processes or the pipes said.
pub fn run(arguments: &Arguments, worker: impl Fn() -> io::Result<Command>) -> io::Result<Summary> {
    if let Some((group, rank)) = arguments.worker {
        worker::run(arguments, group, rank)?;
        return Ok(Summary::default());
    }
    let mut arguments = arguments.clone();
    if arguments.job.is_empty() {
        arguments.job = std::env::var("STEPSCOPE_JOB").unwrap_or_default();
    }
    if arguments.job.is_empty() {
        arguments.job = format!("simulated-{}", std::process::id());
    }
    if arguments.requests {
        lives::join(&arguments.job);
    }
    let mut groups = Vec::new();
    for group in 0..arguments.groups {
        groups.push(Group::start(&arguments, group, &worker)?);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "job {} with {} ranks in {} groups", arguments.job, arguments.ranks, arguments.groups)?;
    out.flush()?;
    let summaries: Vec<io::Result<Summary>> = std::thread::scope(|scope| {
        let mut pacers = Vec::new();
        let mut handles = Vec::new();
        for (index, group) in groups.iter_mut().enumerate() {
            let (pacer, paces) = mpsc::sync_channel(WAITING_PACES);
            pacers.push(pacer);
            let arguments = &arguments;
            handles.push(scope.spawn(move || group.drive(arguments, index as u64, &paces)));
        }
        if arguments.paced {
            pace(&pacers);
        }
        drop(pacers);
        handles.into_iter().map(|h| h.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect()
    });
    let mut whole = Summary::default();
    for summary in summaries {
        let summary = summary?;
        whole.iterations = whole.iterations.max(summary.iterations);
        whole.elapsed = whole.elapsed.max(summary.elapsed);
    }
    for group in &mut groups {
        group.end();
    }
    writeln!(out, "made {} iterations in {:.3} s", whole.iterations, whole.elapsed.as_secs_f64())?;
    Ok(whole)
}

/// Passes every number on standard input to all groups, until it ends; reads on when the groups have caught up.
fn pace(pacers: &[mpsc::SyncSender<u64>]) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let Ok(count) = line.trim().parse::<u64>() else { continue };
        for pacer in pacers {
            let _ = pacer.send(count);
        }
    }
}

impl Group {
    fn start(arguments: &Arguments, group: u32, worker: &impl Fn() -> io::Result<Command>) -> io::Result<Self> {
        let mut ranks = Vec::new();
        for rank in 0..arguments.ranks {
            let mut process = worker()?
                .args(arguments.for_worker(group, rank))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (Some(orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            ranks.push(Rank { process, orders: Some(orders), answers });
        }
        let mut group = Self { ranks };
        group.ranks.iter_mut().for_each(Rank::wait);
        Ok(group)
    }

    fn drive(&mut self, arguments: &Arguments, seed: u64, paces: &mpsc::Receiver<u64>) -> io::Result<Summary> {
        let mut batching = Batching::new(seed);
        let mut lives = Lives::new(seed);
        let began = Instant::now();
        let mut made = 0;
        let limit = if arguments.iterations == 0 { u64::MAX } else { arguments.iterations };
        while made < limit {
            let go_on = if arguments.paced { paces.recv().unwrap_or(0) } else { limit - made };
            if go_on == 0 {
                break;
            }
            for _ in 0..go_on.min(limit - made) {
                if arguments.idle_after != 0 && made == arguments.idle_after {
                    loop {
                        std::thread::park();
                    }
                }
                made += 1;
                let scheduled =
                    if arguments.requests { lives.schedule(made, &mut batching) } else { batching.schedule() };
                let served = if arguments.requests { &*scheduled.served } else { &[] };
                self.step(&worker::encode(made, scheduled.batch, &lives.numbered(served)))?;
                if arguments.requests {
                    lives.put_out(made, &scheduled);
                }
            }
        }
        Ok(Summary { iterations: made, elapsed: began.elapsed() })
    }

    /// All ranks make one iteration; one that died is left out.
    fn step(&mut self, order: &[u8]) -> io::Result<()> {
        for rank in &mut self.ranks {
            let sent = rank.orders.as_mut().map(|o| o.write_all(order));
            if matches!(sent, Some(Err(_))) {
                rank.orders = None;
            }
        }
        self.ranks.iter_mut().for_each(Rank::wait);
        if self.ranks.iter().all(|r| r.orders.is_none()) {
            return Err(io::Error::other("every rank died"));
        }
        Ok(())
    }

    fn end(&mut self) {
        for rank in &mut self.ranks {
            rank.orders = None;
            let _ = rank.process.wait();
        }
    }
}

impl Rank {
    /// Waits for its answer.
    fn wait(&mut self) {
        let mut answer = [0; 1];
        if self.orders.is_some() && self.answers.read_exact(&mut answer).is_err() {
            self.orders = None;
        }
    }
}
