//! The sidecar's side, as a process of its own (record locks belong to processes): arms, drains, withdraws on demand.
//!
//! One order per line on standard input, one `ok` per order on standard output.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use stepscope::collector::Collector;
use stepscope::collector::source::Arming;
use stepscope::wire::clock::monotonic_ns;
use stepscope::wire::control::profiler;
use stepscope::wire::gate::State;
use stepscope::wire::layout::NONE;
use stepscope::wire::segment::Trust;
use stepscope::wire::wanted::level;

const ARGUMENT: &str = "--consume";
/// Records that a recording batch leaves at least.
pub const RECORDED: u64 = 20_000;

/// The process.
pub struct Consumer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Consumer {
    /// Starts it and waits until it has taken the one segment in `folder`.
    pub fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("our own path"))
            .arg(ARGUMENT)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut consumer = Self { child, orders, answers };
        consumer.tell("attach");
        consumer
    }

    /// Gives an order and waits until it is done.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the consumer lives");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the consumer lives");
        assert_eq!(answer, "ok\n", "{order}");
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is this process the consumer? Then it was one until its orders ended, and there is nothing left to do.
pub fn was_asked_to_be_one() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    let is_one = arguments.next().is_some_and(|a| a == ARGUMENT);
    if is_one {
        serve(Path::new(&arguments.next().expect("a folder")));
    }
    is_one
}

fn serve(folder: &Path) {
    let (send, receive) = sync_channel(1);
    let listen = move || std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| send.send(line));
    std::thread::Builder::new().name("orders".into()).spawn(listen).expect("a thread starts");
    let mut collector = Collector::new(folder.to_owned(), Trust::Owner);
    let (mut is_live, mut seen) = (false, 0);
    loop {
        let order = match receive.recv_timeout(Duration::from_millis(if is_live { 1 } else { 60_000 })) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => {
                drain(&collector);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match order.as_str() {
            "attach" => {
                while collector.sources().is_empty() {
                    collector.scan(Instant::now());
                    std::thread::yield_now();
                }
            }
            // From the next iteration until it is withdrawn, as the sidecar asks a rank that shares no tool with others.
            "arm" => arm(&mut collector, NONE, profiler::STEPS | profiler::LEADER),
            // The next iteration alone.
            "arm once" => arm(&mut collector, 1, profiler::STEPS | profiler::LEADER),
            "arm once cuda" => arm(&mut collector, 1, LEAD),
            "arm once cuda, waiting" => {
                arm(&mut collector, 1, LEAD | profiler::SYNCHRONIZE_OPEN | profiler::SYNCHRONIZE_CLOSE)
            }
            // Loads the driver, on the helper's thread.
            "probe" => {
                let source = &collector.sources()[0];
                source.probe();
                while !source.has_answered() {
                    std::thread::yield_now();
                }
            }
            "was it closed" => {
                let source = &collector.sources()[0];
                let window = source.observe();
                let facts = window.facts;
                assert_eq!(window.gate.1, State::Closed);
                assert_eq!((facts.first_iteration, facts.last_iteration), (window.begun - 1, window.begun - 1));
            }
            "was it profiled" => {
                let calls = collector.sources()[0].observe().calls;
                assert_eq!((calls.start_code, calls.stop_code), (Some(0), Some(0)), "the profiler was not called");
            }
            // Events, and no window.
            "want events" => {
                let source = &mut collector.sources_mut()[0];
                source.renew_lease(monotonic_ns() + 3_600_000_000_000);
                let generation = source.begin_generation();
                source.want_events(generation, level::VERBOSE, 0);
            }
            "withdraw" => collector.sources_mut()[0].withdraw(),
            "drain" => drain(&collector),
            "live" => is_live = true,
            "still" => is_live = false,
            "was it recorded" => {
                let source = &collector.sources()[0];
                assert_eq!(source.dropped_total(), 0, "records were dropped");
                assert!(source.records_total() - seen >= RECORDED, "the window was not open");
                seen = source.records_total();
            }
            other => panic!("unknown order {other}"),
        }
        println!("ok");
    }
}

/// The profiler `cuda`, its calls made by this rank.
const LEAD: u64 = profiler::STEPS | profiler::CUDA | profiler::LEADER;

fn arm(collector: &mut Collector, iterations: u64, profiler: u64) {
    let source = &mut collector.sources_mut()[0];
    source.renew_lease(monotonic_ns() + 3_600_000_000_000);
    let first_iteration = source.begun() + 1;
    let last_iteration = first_iteration.saturating_add(iterations.saturating_sub(1));
    source.arm(&Arming { first_iteration, last_iteration, profiler, profiler_iteration: first_iteration });
    source.wake();
}

fn drain(collector: &Collector) {
    for source in collector.sources() {
        source.rings().lock().expect("nobody panics with it").discard();
    }
}
