//! Merging the traces of four ranks, beside copying them and beside how it is done in Python: `cargo bench --bench merge`.
//!
//! Files as PyTorch's profiler writes them, a million events in all. Each case is a process of its own, the rounds are
//! interleaved, and a ratio is formed inside a round. `STEPSCOPE_BENCH_DIR` is where the files go, `STEPSCOPE_BENCH_EVENTS`
//! how many events there are (beyond two million Python, which takes ten times the files in memory, is left out), and
//! `STEPSCOPE_BENCH_PYTHON` which python3 merges. Python's way is SGLang's: load every rank's file whole, put the rank in
//! front of each pid, join the lists, dump.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark's table")]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flate2::{Compression, write::GzEncoder};
use stepscope::merge::{Wanted, merge};

const RANKS: u64 = 4;
const ROUNDS: usize = 3;
const MOST_FOR_PYTHON: u64 = 2_000_000;
const PYTHON: &str = r#"
import resource, sys, time
name, out, files = sys.argv[1], sys.argv[2], sys.argv[3:]
json = __import__(name)
wall, start = time.monotonic(), time.process_time()
merged = []
for rank, file in enumerate(files):
    with open(file, "rb") as source:
        trace = json.loads(source.read())
    for event in trace["traceEvents"]:
        if "pid" in event:
            event["pid"] = f"[TP{rank:02d}] {event['pid']}"
    merged += trace["traceEvents"]
trace["traceEvents"] = merged
if name == "orjson":
    with open(out, "wb") as sink:
        sink.write(json.dumps(trace))
else:
    with open(out, "w") as sink:
        json.dump(trace, sink)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(time.monotonic() - wall, time.process_time() - start, usage.ru_maxrss, 0, len(merged))
"#;
const CASES: [&str; 6] = ["merge", "copy", "merge.gz", "deflate", "orjson", "json"];

/// What a case's process says of itself.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
    resident_kib: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [case, dir] = &arguments[..] {
        return run_case(case, Path::new(dir));
    }
    let root = std::env::var_os("STEPSCOPE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(root).unwrap();
    let events = events_wanted();
    for rank in 0..RANKS {
        prepare(dir.path(), rank, events / RANKS);
    }
    let bytes: u64 = inputs(dir.path(), "json").iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    println!("{RANKS} files of {events} events and {:.0} MB in all, {ROUNDS} rounds", bytes as f64 / 1e6);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let costs = CASES.map(|case| child(case, dir.path()));
        let cells = costs.map(|cost| cost.map_or("-".into(), |cost| format!("{:.2}/{:.2}", cost.cpu_s, cost.wall_s)));
        println!("round {round}, CPU/wall seconds of {}: {}", CASES.join(", "), cells.join("  "));
        rounds.push(costs);
    }
    println!("\n| case | wall s | CPU s | MB in/s | peak MiB | beside merging, wall |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (at, case) in CASES.into_iter().enumerate() {
        let of = |f: fn(&Cost) -> f64| median(rounds.iter().filter_map(|round| round[at].as_ref().map(f)).collect());
        let Some(wall_s) = of(|cost| cost.wall_s) else {
            println!("| {case} | skipped: it is not there, or there are too many events | | | | |");
            continue;
        };
        let beside = if case.ends_with("gz") || case == "deflate" { 2 } else { 0 };
        let ratios = rounds.iter().filter_map(|round| Some(round[at]?.wall_s / round[beside]?.wall_s)).collect();
        println!(
            "| {case} | {wall_s:.2} | {:.2} | {:.0} | {:.1} | {:.2} × |",
            of(|cost| cost.cpu_s).unwrap(),
            bytes as f64 / wall_s / 1e6,
            of(|cost| cost.resident_kib).unwrap() / 1024.0,
            median(ratios).unwrap()
        );
    }
}

fn inputs(dir: &Path, ending: &str) -> Vec<PathBuf> {
    (0..RANKS).map(|rank| dir.join(format!("rank{rank}.{ending}"))).collect()
}

fn child(case: &str, dir: &Path) -> Option<Cost> {
    let is_python = case.ends_with("json");
    if is_python && events_wanted() > MOST_FOR_PYTHON {
        return None;
    }
    let mut command = if is_python {
        let mut command = Command::new(std::env::var("STEPSCOPE_BENCH_PYTHON").unwrap_or_else(|_| "python3".into()));
        command.args(["-c", PYTHON, case]).arg(dir.join("python.json")).args(inputs(dir, "json"));
        command
    } else {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(case).arg(dir);
        command
    };
    let output = command.output().ok()?;
    if !output.status.success() {
        assert!(is_python, "{case}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [wall_s, cpu_s, resident_kib, _, events] = numbers[..] else { panic!("{case}: {text}") };
    assert!(events == 0.0 || events >= events_wanted() as f64, "{case}: {events} events");
    Some(Cost { wall_s, cpu_s, resident_kib })
}

fn run_case(case: &str, dir: &Path) {
    let start = Instant::now();
    let mut events = 0;
    let out = match case {
        "merge" | "merge.gz" => {
            let ending = if case == "merge" { "json" } else { "json.gz" };
            let wanted =
                Wanted { inputs: inputs(dir, ending), output: dir.join(format!("out.{ending}")), ..Wanted::default() };
            events = merge(&wanted).unwrap().events;
            wanted.output
        }
        "copy" => {
            let out = dir.join("copy.json");
            let mut sink = File::create(&out).unwrap();
            inputs(dir, "json").iter().for_each(|input| pump(&mut File::open(input).unwrap(), &mut sink));
            out
        }
        // What the packing alone costs: unpacked once, packed once.
        "deflate" => {
            let out = dir.join("bare.json.gz");
            let mut sink = GzEncoder::new(File::create(&out).unwrap(), Compression::new(1));
            for input in inputs(dir, "json.gz") {
                pump(&mut flate2::read::MultiGzDecoder::new(File::open(input).unwrap()), &mut sink);
            }
            sink.finish().unwrap();
            out
        }
        other => panic!("no case {other}"),
    };
    let wall_s = start.elapsed().as_secs_f64();
    // All threads, in ticks of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: f64 =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().unwrap()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").to_owned();
    println!("{wall_s} {} {peak} {} {events}", ticks / 100.0, std::fs::metadata(out).unwrap().len());
}

fn pump(from: &mut dyn Read, to: &mut dyn Write) {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return,
            bytes => to.write_all(&buffer[..bytes]).unwrap(),
        }
    }
}

/// One rank as PyTorch writes it: operators, launches, kernels, and flows between these; thread by thread.
fn prepare(dir: &Path, rank: u64, events: u64) {
    let path = dir.join(format!("rank{rank}.json"));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    write!(
        out,
        "{{\n  \"schemaVersion\": 1,\n  \"deviceProperties\": [\n  ],\n  \"distributedInfo\": {{\"backend\": \"nccl\", \"rank\": \
         {rank}, \"world_size\": {RANKS}}},\n  \"host_name\": \"h\",\n  \"displayTimeUnit\": \"ms\",\n  \
         \"baseTimeNanoseconds\": 1790857026000000000,\n  \"traceEvents\": [\n"
    )
    .unwrap();
    let pid = 4000 + rank;
    write!(out, "  {{\n    \"name\": \"process_name\", \"ph\": \"M\", \"ts\": 0.000, \"pid\": {pid}, \"tid\": 0,\n    \"args\": {{\n      \"name\": \"python3\"\n    }}\n  }}").unwrap();
    let count = events / 5;
    for n in 0..count {
        let us = 4_909_247_078_079 + n * 11;
        write!(
            out,
            ",\n  {{\n    \"ph\": \"X\", \"cat\": \"cpu_op\", \"name\": \"aten::linear\", \"pid\": {pid}, \"tid\": {pid},\n    \
             \"ts\": {us}.699, \"dur\": 9.214,\n    \"args\": {{\n      \"External id\": {n},\"Record function id\": 0, \
             \"Ev Idx\": {n}\n    }}\n  }},\n  {{\n    \"ph\": \"X\", \"cat\": \"cuda_runtime\", \"name\": \
             \"cudaLaunchKernel\", \"pid\": {pid}, \"tid\": {pid},\n    \"ts\": {us}.912, \"dur\": 4.001,\n    \"args\": {{\n      \
             \"External id\": {n}, \"cbid\": 211, \"correlation\": {n}\n    }}\n  }},\n  {{\n    \"ph\": \"s\", \"id\": {n}, \
             \"pid\": {pid}, \"tid\": {pid}, \"ts\": {us}.912,\n    \"cat\": \"ac2g\", \"name\": \"ac2g\"\n  }}"
        )
        .unwrap();
    }
    for n in 0..count {
        let us = 4_909_247_078_085 + n * 11;
        write!(
            out,
            ",\n  {{\n    \"ph\": \"X\", \"cat\": \"kernel\", \"name\": \"void at::native::vectorized_elementwise_kernel<4, \
             at::native::CUDAFunctor_add<c10::BFloat16>, std::array<char*, 3ul> >(int, at::native::CUDAFunctor_add\
             <c10::BFloat16>, std::array<char*, 3ul>)\", \"pid\": 0, \"tid\": 7,\n    \"ts\": {us}.100, \"dur\": 3.552,\n    \
             \"args\": {{\n      \"External id\": {n}, \"queued\": 0, \"device\": 0, \"context\": 1, \"stream\": 7, \
             \"correlation\": {n}, \"registers per thread\": 32, \"shared memory\": 0, \"blocks per SM\": 3.878788, \"warps per \
             SM\": 15.515152, \"grid\": [512, 1, 1], \"block\": [128, 1, 1], \"est. achieved occupancy %\": 24\n    }}\n  \
             }},\n  {{\n    \"ph\": \"f\", \"id\": {n}, \"pid\": 0, \"tid\": 7, \"ts\": {us}.100,\n    \"cat\": \"ac2g\", \"name\": \
             \"ac2g\", \"bp\": \"e\"\n  }}"
        )
        .unwrap();
    }
    out.write_all(b"\n  ],\n  \"traceName\": \"/tmp/x.json\"\n}\n").unwrap();
    out.flush().unwrap();
    let mut packed =
        GzEncoder::new(File::create(dir.join(format!("rank{rank}.json.gz"))).unwrap(), Compression::new(1));
    pump(&mut File::open(&path).unwrap(), &mut packed);
    packed.finish().unwrap();
}

fn events_wanted() -> u64 {
    std::env::var("STEPSCOPE_BENCH_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
