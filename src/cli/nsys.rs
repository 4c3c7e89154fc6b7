//! `stepscope nsys`: the line is made and judged by the room `launch`; here it is printed or run.

use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::SystemTime;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::{CaptureRange, GraphTrace, NsysArguments};
use super::exit::{Exit, UsageError};
use super::reports;
use crate::launch::line::Line;
use crate::launch::matching::Capture;
use crate::launch::nsys::{self, Graphs, Nsys, Range, Wanted};
use crate::launch::problem::{self, Facts, Loss};
use crate::launch::report;

pub(super) async fn run(arguments: NsysArguments) -> anyhow::Result<Exit> {
    let found = Nsys::find(&arguments.nsys);
    let gpu = nsys::has_gpu(Path::new("/"));
    let wanted = wanted(&arguments, gpu)?;
    let line = nsys::line(&wanted, found.as_ref().ok(), &arguments.nsys.display().to_string(), gpu);
    let traces = found.as_ref().map(Nsys::traces).unwrap_or_default();
    let facts = Facts { forked: &[], traces: &traces };
    let problems = problem::problems(&line, &facts);
    for found in &problems {
        eprintln!("{}: {}", if found.loss == Loss::All { "error" } else { "note" }, found.what);
    }
    if problems.iter().any(|found| found.loss == Loss::All) {
        let mended = problem::mended(&line, &facts);
        return Err(UsageError(format!("this line would not do; this one does:\n{mended}")).into());
    }
    if wanted.range == Range::Cuda && !gpu {
        eprintln!("note: no NVIDIA GPU is seen here: without one nobody calls cudaProfilerStart");
    }
    eprintln!("{}", how_to_capture(&line, wanted.range, arguments.connect.url.trim_end_matches('/')));
    if !arguments.run {
        println!("{line}");
        match found {
            Ok(nsys) => eprintln!("(for nsys {})", nsys.version),
            Err(error) => eprintln!("note: the options were not checked: {error}"),
        }
        return Ok(Exit::Ok);
    }
    let nsys = found?;
    let output = line.get("output").unwrap_or_default();
    let before = written(output);
    let older = reports::known(&arguments.connect).await.unwrap_or_default();
    let status = run_line(&line).await?;
    if output.contains('%') {
        eprintln!("`stepscope reports FILE...` says which report holds which capture");
    } else {
        let new: Vec<PathBuf> =
            written(output).into_iter().filter(|report| !before.contains(report)).map(|r| r.0).collect();
        say_what_came(&arguments, &nsys, &new, &older).await;
    }
    Ok(passed(status))
}

fn wanted(arguments: &NsysArguments, gpu: bool) -> anyhow::Result<Wanted> {
    for word in &arguments.nsys_option {
        if crate::launch::line::option(word).is_none() {
            return Err(
                UsageError(format!("--nsys-option {word:?} is no option: write --nsys-option=--name=value")).into()
            );
        }
    }
    let range = arguments.capture_range.unwrap_or(if gpu { CaptureRange::Cuda } else { CaptureRange::Nvtx });
    Ok(Wanted {
        range: if range == CaptureRange::Cuda { Range::Cuda } else { Range::Nvtx },
        captures: arguments.captures,
        output: arguments.output.clone(),
        trace: arguments.trace.clone(),
        graphs: if arguments.cuda_graph_trace == GraphTrace::Node { Graphs::Node } else { Graphs::Graph },
        forks: arguments.trace_forks,
        options: arguments.nsys_option.clone(),
        command: arguments.command.clone(),
    })
}

fn how_to_capture(line: &Line, range: Range, url: &str) -> String {
    let body = match range {
        Range::Nvtx => r#"{"delay_iterations":100,"max_iterations":4}"#,
        Range::Cuda => r#"{"delay_iterations":100,"max_iterations":4,"profiler":"cuda"}"#,
    };
    let output = line.get("output").unwrap_or("report");
    format!(
        "each capture becomes a report {output}*.nsys-rep, for example: curl -X POST {url}/start_profile -d '{body}'"
    )
}

/// Runs it in the foreground: the terminal is its, and so are the signals that reach us.
async fn run_line(line: &Line) -> anyhow::Result<ExitStatus> {
    let words = line.words();
    let mut command = tokio::process::Command::new(&line.program);
    command.args(words.get(1..).unwrap_or_default()).envs(line.environment.iter().cloned());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut child = command.spawn().with_context(|| format!("can't run {}", line.program))?;
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    // A terminal sends Ctrl-C and Ctrl-\ to all of its foreground, nsys included: passed on, it would come twice.
    let by_terminal = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
    loop {
        let (passed_on, from_keyboard) = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => (Signal::INT, true),
            _ = quit.recv() => (Signal::QUIT, true),
            _ = terminate.recv() => (Signal::TERM, false),
            _ = hang_up.recv() => (Signal::HUP, false),
        };
        if let (Some(pid), false) = (pid, from_keyboard && by_terminal) {
            // Gone already: then `wait` is about to say so.
            let _ = kill_process(pid, passed_on);
        }
    }
}

fn passed(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Exit::Passed(u8::try_from(code).unwrap_or(1))
}

/// The reports of this name, each with the time it was written.
fn written(output: &str) -> Vec<(PathBuf, Option<SystemTime>)> {
    let time = |path: PathBuf| {
        let written = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
        (path, written)
    };
    report::list(Path::new(output)).into_iter().map(time).collect()
}

/// Which report holds which capture, of those that this run wrote.
async fn say_what_came(arguments: &NsysArguments, nsys: &Nsys, new: &[PathBuf], older: &[Capture]) {
    let known = reports::known(&arguments.connect).await;
    if let Err(error) = &known {
        eprintln!("no captures to compare with: {error}");
    }
    let known = known.unwrap_or_default();
    let held: Vec<_> = new.iter().map(|path| reports::Held::of(path, &nsys.program, &known)).collect();
    if !held.is_empty() {
        print!("\n{}", reports::shown(&held));
    }
    for capture in known.iter().filter(|c| !older.contains(c) && !held.iter().any(|held| held.holds(&c.id))) {
        eprintln!("capture {} is in no report: nsys was not waiting for it (any more, or yet)", capture.id);
    }
    if held.is_empty() {
        eprintln!("nsys wrote no report");
    }
}
