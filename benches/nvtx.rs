//! What NVTX costs, in and out, and what the edges of a window do: `cargo bench --bench nvtx`.
//!
//! Whether a tool listens is settled when a process joins, so each setting is a process of its own; they take turns, round
//! by round, and ratios are formed within a round.
#![allow(unsafe_code, reason = "calls the agent through its C table, and C libraries")]
#![allow(clippy::print_stdout, unreachable_pub, missing_docs, reason = "a command line")]

#[allow(dead_code, reason = "shared with the other benchmarks")]
mod support;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use support::agent::Agent;
use support::consumer::{self, RECORDED};
use support::hook::Bench;
use support::rounds::{Budget, Contender, Results, once};

const ARGUMENT: &str = "--setting";
const EMITTER: &str = "STEPSCOPE_BENCH_EMITTER";
const TOOL: &str = "STEPSCOPE_BENCH_TOOL";

const SPAN: &str = "step_begin + step_end, recorded (our own span)";
const NOTHING: &str = "push + pop, nothing listens";
const QUIET: &str = "push + pop, no window open";
const QUIET_TOOL: &str = "push + pop, no window open, a tool behind";
const QUIET_STEPS: &str = "push + pop, no window open, iterations looked for";
const THROUGH: &str = "push + pop, to the tool without us";
const TEXT: &str = "push + pop, recorded";
const REGISTERED: &str = "push + pop, recorded: a registered name, a domain";
const LONG: &str = "push + pop, recorded: 54 bytes of name";
const NEW: &str = "push + pop, recorded: a new name of 42 bytes each";
const RANGES: &str = "start + end, recorded";
const TEXT_TOOL: &str = "push + pop, recorded, a tool behind";
const OUT: &str = "iteration with its batch, recorded, no tool";
const OUT_TOOL: &str = "iteration with its batch, recorded, a tool gets its range";
const MEASURING: &str = "nothing: what it costs to measure one call";
const OPEN: &str = "a window opens: steps";
const CLOSE: &str = "a window closes: steps";
const OPEN_CUDA: &str = "a window opens: cuda";
const CLOSE_CUDA: &str = "a window closes: cuda";
const OPEN_WAITING: &str = "a window opens: cuda, waiting for the device";
const CLOSE_WAITING: &str = "a window closes: cuda, waiting for the device";

/// While no window is open a callback has 10 ns, which no ratio tells.
const BUDGETS: &[Budget] = &[
    Budget { what: TEXT, beside: SPAN, most: 2.0 },
    Budget { what: REGISTERED, beside: SPAN, most: 2.0 },
    Budget { what: LONG, beside: SPAN, most: 2.0 },
    Budget { what: NEW, beside: SPAN, most: 2.0 },
    Budget { what: RANGES, beside: SPAN, most: 2.0 },
];

/// A setting, and what is measured in it.
const SETTINGS: &[(&str, &[&str])] = &[
    ("alone", &[SPAN, NOTHING, QUIET, TEXT, REGISTERED, LONG, NEW, RANGES, OUT]),
    ("steps", &[QUIET_STEPS]),
    ("tool", &[THROUGH, QUIET_TOOL, TEXT_TOOL, OUT_TOOL]),
    ("cuda", &[MEASURING, OPEN, CLOSE, OPEN_CUDA, CLOSE_CUDA, OPEN_WAITING, CLOSE_WAITING]),
];

fn main() {
    if consumer::was_asked_to_be_one() {
        return;
    }
    let mut arguments = std::env::args().skip(1);
    if arguments.next().is_some_and(|a| a == ARGUMENT) {
        return measure(&arguments.next().expect("a setting"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut engines: Vec<Engine> = SETTINGS.iter().map(|(name, _)| Engine::start(name, folder.path())).collect();
    let names = SETTINGS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let results = Results::of(names, 41, || engines.iter_mut().flat_map(Engine::round).collect());
    results.print(SPAN, BUDGETS);
}

/// A process that measures one setting when it is told to.
struct Engine {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Engine {
    fn start(setting: &str, folder: &Path) -> Self {
        let agent = Agent::build();
        let tool = compile("tests/fakes/nvtx_tool.c", &["-DCOUNTING"], &folder.join("libtool.so"));
        let driver = compile("tests/fakes/cuda.c", &["-DCOUNTING"], &folder.join("libcuda.so.1"));
        let emitter = compile("benches/support/emitter.c", &[], &folder.join("libemitter.so"));
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        command.args([ARGUMENT, setting]).env("NVTX_INJECTION64_PATH", agent).env(EMITTER, emitter);
        match setting {
            "steps" => _ = command.env("STEPSCOPE_NVTX_STEP", "execute_*"),
            "tool" => _ = command.env("STEPSCOPE_NVTX_NEXT", &tool).env(TOOL, &tool),
            "cuda" => {
                command.env("LD_LIBRARY_PATH", driver.parent().expect("a folder"));
                command.env("STEPSCOPE_TEST_CUDA_CONTEXT", "1");
            }
            _ => {}
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program starts");
        let orders = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, orders, answers }
    }

    fn round(&mut self) -> Vec<f64> {
        writeln!(self.orders).expect("the engine lives");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the engine lives");
        line.split_whitespace().map(|ns| ns.parse().expect("a number")).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn compile(source: &str, flags: &[&str], library: &Path) -> PathBuf {
    if !library.exists() {
        let made = Command::new("cc")
            .args(["-std=gnu11", "-O2", "-shared", "-fPIC"])
            .args(flags)
            .arg("-o")
            .arg(library)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
            .args(["-ldl", "-lpthread"])
            .status();
        assert!(made.is_ok_and(|s| s.success()), "cc is needed");
    }
    library.to_owned()
}

/// A loop of `benches/support/emitter.c`.
type Emit = unsafe extern "C" fn(i32, u64);

/// One setting, a round per line of standard input.
fn measure(setting: &str) {
    let bench = Bench::new();
    let emitter = std::env::var_os(EMITTER).expect("an emitter");
    // SAFETY: our own library, whose initialisers do nothing; never unloaded.
    let emitter = unsafe { Library::open(Some(&emitter), RTLD_NOW | RTLD_LOCAL) }.expect("the library loads");
    let tool = std::env::var(TOOL).map(|tool| std::ffi::CString::new(tool).expect("no NUL"));
    // SAFETY: the symbol has this type; null, or NUL-terminated.
    unsafe {
        let prepare = emitter.get::<unsafe extern "C" fn(*const std::ffi::c_char)>(b"prepare").expect("a symbol");
        prepare(tool.as_ref().map_or(std::ptr::null(), |tool| tool.as_ptr()));
    }
    if setting == "cuda" {
        bench.teller("probe")();
    }
    let (_, names) = SETTINGS.iter().find(|(name, _)| *name == setting).expect("a setting");
    let mut contenders: Vec<_> = names.iter().map(|name| contender(name, &bench, &emitter)).collect();
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        let measured: Vec<String> = contenders.iter_mut().map(|c| once(c).to_string()).collect();
        println!("{}", measured.join(" "));
    }
}

fn contender<'a>(name: &'static str, bench: &'a Bench, emitter: &Library) -> Contender<'a> {
    let api = bench.agent.api;
    let emit = |symbol: &str, instance: i32| {
        // SAFETY: the symbols have this type, and the library is never unloaded.
        let function = unsafe { *emitter.get::<Emit>(symbol.as_bytes()).expect("a symbol") };
        // SAFETY: an instance that is there.
        move |n: u64| unsafe { function(instance, n) }
    };
    let idle = |run: Box<dyn FnMut(u64)>| Contender::new(name, 50_000, run);
    let recorded =
        |run: Box<dyn FnMut(u64)>| Contender::new(name, RECORDED, run).before(bench.opener()).after(bench.closer());
    let step = bench.stepper();
    let iterations = move |n: u64| {
        for i in 0..n as u32 {
            black_box((api.step_begin)());
            (api.step_batch)(i, i, i, i, 0);
            (api.step_end)();
        }
    };
    let edge = |order: &'static str, is_opening: bool| {
        let (mut arm, mut drain) = (bench.teller(order), bench.teller("drain"));
        let (mut was_closed, mut was_profiled) = (bench.teller("was it closed"), bench.teller("was it profiled"));
        let before = move || {
            // One that is not measured: else whatever ran before has left nothing of ours in the caches.
            arm();
            step();
            step();
            arm();
            if !is_opening {
                black_box((api.step_begin)());
            }
        };
        let after = move || {
            if is_opening {
                (api.step_end)();
            }
            step();
            drain();
            was_closed();
            if order.contains("cuda") {
                was_profiled();
            }
        };
        let run = move |_| {
            if is_opening {
                black_box((api.step_begin)());
            } else {
                (api.step_end)();
            }
        };
        Contender::new(name, 1, run).before(before).after(after)
    };
    match name {
        SPAN => recorded(Box::new(move |n| (0..n).for_each(|_| step()))),
        NOTHING | THROUGH => idle(Box::new(emit("emit_text", 1))),
        QUIET | QUIET_TOOL | QUIET_STEPS => idle(Box::new(emit("emit_text", 0))),
        TEXT | TEXT_TOOL => recorded(Box::new(emit("emit_text", 0))),
        REGISTERED => recorded(Box::new(emit("emit_registered", 0))),
        LONG => recorded(Box::new(emit("emit_long", 0))),
        // Two records each.
        NEW => recorded(Box::new(emit("emit_new", 0))),
        RANGES => recorded(Box::new(emit("emit_ranges", 0))),
        OUT | OUT_TOOL => recorded(Box::new(iterations)),
        MEASURING => Contender::new(name, 1, |_| {}),
        OPEN => edge("arm once", true),
        CLOSE => edge("arm once", false),
        OPEN_CUDA => edge("arm once cuda", true),
        CLOSE_CUDA => edge("arm once cuda", false),
        OPEN_WAITING => edge("arm once cuda, waiting", true),
        CLOSE_WAITING => edge("arm once cuda, waiting", false),
        other => panic!("nothing is called {other}"),
    }
}
