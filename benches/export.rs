//! Records → Chrome JSON, json.gz, json.zst and Perfetto, beside what bounds them: `cargo bench --bench export`.
//!
//! Five million iterations in four fragments. Each case is a process of its own (its peak resident memory is `VmHWM`),
//! the rounds are interleaved, and a ratio is formed inside a round: machines drift, ratios don't. `STEPSCOPE_BENCH_DIR`
//! is where the files go (twice the JSON: about 7 GB), `STEPSCOPE_BENCH_ITERATIONS` how many there are, and
//! `STEPSCOPE_BENCH_PYTHON` which python3 merges the comparison.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark's table")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flate2::{Compression, write::GzEncoder};
use stepscope::trace::event::{Anchor, Batch, Event, Flags, Iteration};
use stepscope::trace::fragment::{FragmentIdentity, FragmentWriter};
use stepscope::trace::meta::{ExportMeta, Selection};
use stepscope::trace::output::{Format, write_trace};

const RANKS: u32 = 4;
const ROUNDS: usize = 3;
/// Each with what the table calls it.
const CASES: [(&str, &str); 9] = [
    ("json", "records → JSON file"),
    ("copy", "copying that file"),
    ("json.gz", "records → json.gz"),
    ("deflate", "bare zlib-rs level 1"),
    ("json.zst", "records → json.zst"),
    ("zstd", "bare zstd level 1"),
    ("perfetto", "records → Perfetto file"),
    ("json nowhere", "records → JSON, sink that forgets"),
    ("perfetto nowhere", "records → Perfetto, sink that forgets"),
];
/// As many as make a file of the size that people merge: half a gigabyte.
const PYTHON_EVENTS: u64 = 4_000_000;
const PYTHON_MERGE: &str = r#"
import sys, time
name, out, files = sys.argv[1], sys.argv[2], sys.argv[3:]
json = __import__(name)
start = time.process_time()
events = []
for file in files:
    with open(file, "rb") as lines:
        events += [json.loads(line) for line in lines]
events.sort(key=lambda event: event.get("ts", 0))
if name == "orjson":
    with open(out, "wb") as sink:
        sink.write(json.dumps({"traceEvents": events}))
else:
    with open(out, "w") as sink:
        json.dump({"traceEvents": events}, sink)
print(time.process_time() - start)
"#;

/// What a case's process says of itself.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
    resident_kib: u64,
    bytes: u64,
    events: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [case, dir] = &arguments[..] {
        return run_case(case, Path::new(dir));
    }
    let root = std::env::var_os("STEPSCOPE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(root).unwrap();
    let iterations = iterations_wanted();
    println!("{iterations} iterations in {RANKS} fragments, {ROUNDS} rounds, files in {}", dir.path().display());
    child("prepare", dir.path());
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let costs = CASES.map(|(case, _)| child(case, dir.path()));
        let cells = costs.map(|c| format!("{:.2}/{:.2}", c.cpu_s, c.wall_s)).join("  ");
        println!("round {round}, CPU/wall seconds in the order of the table: {cells}");
        rounds.push(costs);
    }
    report(iterations, &rounds);
    compare_python(dir.path(), &rounds);
}

fn report(iterations: u64, rounds: &[[Cost; CASES.len()]]) {
    println!("\n| case | CPU s | wall s | M trace events/s | M iterations/s | MB out | peak MiB |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (i, (_, name)) in CASES.into_iter().enumerate() {
        let of = |f: fn(&Cost) -> f64| median(rounds.iter().map(|r| f(&r[i])).collect());
        let (cpu_s, wall_s) = (of(|c| c.cpu_s), of(|c| c.wall_s));
        let events = rounds[0][0].events as f64;
        println!(
            "| {name} | {cpu_s:.2} | {wall_s:.2} | {:.2} | {:.2} | {:.0} | {:.1} |",
            events / cpu_s / 1e6,
            iterations as f64 / cpu_s / 1e6,
            rounds[0][i].bytes as f64 / 1e6,
            of(|c| c.resident_kib as f64) / 1024.0,
        );
    }
    let ratio = |a: usize, b: usize, f: fn(&Cost) -> f64| median(rounds.iter().map(|r| f(&r[a]) / f(&r[b])).collect());
    let place = |case: &str| CASES.iter().position(|(name, _)| *name == case).unwrap();
    for (a, b, budget) in [
        ("json", "copy", Some(4.0)),
        ("json.gz", "deflate", Some(1.3)),
        ("json.zst", "zstd", None),
        ("perfetto", "json", Some(1.0)),
        ("perfetto nowhere", "json nowhere", Some(1.0)),
    ] {
        let (cpu, wall) = (ratio(place(a), place(b), |c| c.cpu_s), ratio(place(a), place(b), |c| c.wall_s));
        let budget = budget.map_or_else(String::new, |budget| format!(" (budget {budget} ×)"));
        println!("{a} / {b}: {cpu:.2} × by CPU, {wall:.2} × by wall{budget}");
    }
    let size = ratio(place("perfetto"), place("json"), |c| c.bytes as f64);
    println!("perfetto / json: {size:.2} × of the bytes (budget 0.5 ×)");
}

/// A merge as people write it in Python, over a part of the very events that the JSON above holds.
fn compare_python(dir: &Path, rounds: &[[Cost; CASES.len()]]) {
    let mut files: Vec<_> = (0..RANKS)
        .map(|rank| (dir.join(format!("{rank}.jsonl")), File::create(dir.join(format!("{rank}.jsonl"))).unwrap()))
        .collect();
    let lines = BufReader::new(File::open(dir.join("out.json")).unwrap()).lines().map(Result::unwrap);
    let mut taken = 0;
    let lines = lines.filter(|line| line.starts_with("{\"ph\":"));
    for line in lines.skip(200).take(PYTHON_EVENTS as usize) {
        let at = taken as usize % RANKS as usize;
        writeln!(files[at].1, "{}", line.trim_end_matches(',')).unwrap();
        taken += 1;
    }
    let python = std::env::var("STEPSCOPE_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let ours = median(rounds.iter().map(|r| r[0].events as f64 / r[0].cpu_s).collect());
    for module in ["json", "orjson"] {
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON_MERGE, module]).arg(dir.join("python.json")).args(files.iter().map(|f| &f.0));
        let output = command.output();
        match output.ok().and_then(|o| String::from_utf8(o.stdout).ok()?.trim().parse::<f64>().ok()) {
            Some(cpu_s) => {
                let theirs = taken as f64 / cpu_s;
                println!(
                    "python merge with {module}, {taken} of the events (not all of them): {cpu_s:.2} s CPU, \
                     {:.2} M trace events/s; records → JSON does {:.1} × as many",
                    theirs / 1e6,
                    ours / theirs
                );
            }
            None => println!("python merge with {module}: skipped, {python} can't import it"),
        }
    }
}

fn child(case: &str, dir: &Path) -> Cost {
    let output = Command::new(std::env::current_exe().unwrap()).arg(case).arg(dir).output().unwrap();
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let [wall_s, cpu_s, resident_kib, bytes, events] = numbers[..] else { panic!("{case}: {text}") };
    Cost { wall_s, cpu_s, resident_kib: resident_kib as u64, bytes: bytes as u64, events: events as u64 }
}

fn run_case(case: &str, dir: &Path) {
    let json = dir.join("out.json");
    let start = Instant::now();
    let mut events = 0;
    let out = match case {
        "prepare" => {
            (0..RANKS).for_each(|rank| prepare(dir, rank));
            dir.join("0.frag")
        }
        "copy" => {
            let out = dir.join("copy.json");
            pump(&json, &mut File::create(&out).unwrap(), 128 * 1024);
            out
        }
        "deflate" => {
            let out = dir.join("bare.json.gz");
            let mut encoder = GzEncoder::new(File::create(&out).unwrap(), Compression::new(1));
            pump(&json, &mut encoder, 64 * 1024);
            encoder.finish().unwrap();
            out
        }
        "zstd" => {
            let out = dir.join("bare.json.zst");
            let mut encoder = zstd::Encoder::new(File::create(&out).unwrap(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            pump(&json, &mut encoder, 64 * 1024);
            encoder.finish().unwrap();
            out
        }
        writes => {
            let fragments: Vec<_> = (0..RANKS).map(|rank| dir.join(format!("{rank}.frag"))).collect();
            let (name, out) = match writes.strip_suffix(" nowhere") {
                Some(name) => (name, PathBuf::from("/dev/null")),
                None => (writes, dir.join(format!("out.{writes}"))),
            };
            let format = Format::of_name(name).unwrap_or_else(|| panic!("no case {writes}"));
            let mut sink = OpenOptions::new().write(true).create(true).truncate(true).open(&out).unwrap();
            let summary =
                write_trace(&fragments, &ExportMeta::default(), &Selection::default(), format, &mut sink).unwrap();
            assert_eq!(summary.iterations, iterations_wanted() / u64::from(RANKS) * u64::from(RANKS));
            events = summary.events;
            out
        }
    };
    let wall_s = start.elapsed().as_secs_f64();
    let cpu_ns = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let cpu_s = cpu_ns.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").to_owned();
    println!("{wall_s} {cpu_s} {peak} {} {events}", std::fs::metadata(out).unwrap().len());
}

/// Reads and writes, as cat does (copy_file_range would share the blocks on some file systems and copy nothing).
fn pump(from: &Path, to: &mut dyn Write, piece: usize) {
    let (mut from, mut buffer) = (File::open(from).unwrap(), vec![0; piece]);
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return,
            bytes => to.write_all(&buffer[..bytes]).unwrap(),
        }
    }
}

/// A rank that decodes 64 requests, with a prefill now and then, at about 10 ms an iteration.
fn prepare(dir: &Path, rank: u32) {
    let identity = FragmentIdentity {
        job: "bench".into(),
        group: "0".into(),
        rank,
        world_size: RANKS,
        engine: "bench".into(),
        role: "rank".into(),
        ..FragmentIdentity::default()
    };
    let anchor =
        |ticks: u64| Anchor { ticks, monotonic_ns: ticks / 2, realtime_ns: 1_800_000_000_000_000_000 + ticks / 2 };
    let mut writer = FragmentWriter::create(&dir.join(format!("{rank}.frag")), &identity).unwrap();
    let (mut random, mut ticks) = (u64::from(rank) + 1, 1_000_000_000u64);
    let count = iterations_wanted() / u64::from(RANKS);
    let mut block = Vec::with_capacity(512);
    for number in 1..=count {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let noise = random >> 40;
        let requests = 64 - (noise % 5) as u32;
        let context = u32::from(noise.is_multiple_of(7));
        block.push(Event::Iteration(Iteration {
            iteration: number,
            begin_ticks: ticks,
            end_ticks: ticks + 18_000_000 + noise % 1_000_003,
            batch: Batch {
                context_requests: context,
                context_tokens: context * (17 + (noise % 2000) as u32),
                generation_requests: requests,
                generation_tokens: requests,
            },
            device_ns: None,
            flags: Flags::default(),
        }));
        ticks += 20_000_000 + noise % 5_003;
        if block.len() == 512 || number == count {
            let first = number - block.len() as u64;
            writer.write_block(0, first, &block, anchor(if first == 0 { 1_000_000_000 } else { ticks }), 0).unwrap();
            block.clear();
        }
    }
}

fn iterations_wanted() -> u64 {
    std::env::var("STEPSCOPE_BENCH_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000_000)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
