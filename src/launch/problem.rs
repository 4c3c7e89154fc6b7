//! What an `nsys profile` line will not capture of our windows, and the line that mends it.

use super::line::Line;
use super::nsys::CAPTURE;

/// How much is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Something will be missing, or more is recorded than was asked for.
    Some,
    /// A window will not be captured at all, or the engine ends with it.
    All,
}

/// One thing that is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How much is lost.
    pub loss: Loss,
    /// What will not be captured, and why.
    pub what: String,
    /// Options that mend it.
    mend: Vec<(&'static str, String)>,
}

/// What is known besides the line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Ranks that were forked and did not exec; by pid.
    pub forked: &'a [i32],
    /// What the nsys can trace; empty: not known.
    pub traces: &'a [&'a str],
}

/// All that is wrong, worst first.
pub fn problems(line: &Line, facts: &Facts<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |loss, what: String, mend: &[(&'static str, &str)]| {
        let mend = mend.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        found.push(Problem { loss, what, mend });
    };
    // What nsys does when it is not told.
    let trace = line.get("trace").unwrap_or("cuda,nvtx,osrt,opengl");
    let traced: Vec<&str> = trace.split(',').collect();
    let with =
        |more: &str| if trace == "none" || trace.is_empty() { more.to_owned() } else { format!("{trace},{more}") };
    let range = line.get("capture-range").unwrap_or("none");
    match range {
        "nvtx" => {
            if !traced.contains(&"nvtx") {
                let what = format!(
                    "no window will be captured: nsys waits for an NVTX range, and --trace={trace} has no nvtx"
                );
                say(Loss::All, what, &[("trace", &with("nvtx"))]);
            }
            let awaited = line.get("nvtx-capture").unwrap_or("");
            if !["capture@stepscope", "capture@*"].contains(&awaited) {
                let what =
                    format!("no window will be captured: nsys waits for the range {awaited:?}, ours is {CAPTURE}");
                say(Loss::All, what, &[("nvtx-capture", CAPTURE)]);
            }
        }
        "cudaProfilerApi" => {
            if !traced.contains(&"cuda") {
                let what = format!(
                    "no window will be captured: nsys waits for cudaProfilerStart, and --trace={trace} has no cuda"
                );
                say(Loss::All, what, &[("trace", &with("cuda"))]);
            } else if !traced.contains(&"nvtx") {
                let what = format!("iterations will have no names in the report: --trace={trace} has no nvtx");
                say(Loss::Some, what, &[("trace", &with("nvtx"))]);
            }
        }
        "none" => {
            let what =
                "nsys records from the first moment to the last, not the windows: it has no --capture-range".into();
            let range = if traced.contains(&"cuda") && !traced.contains(&"nvtx") { "cudaProfilerApi" } else { "nvtx" };
            let nvtx: &[(&'static str, &str)] = if range == "nvtx" { &[("nvtx-capture", CAPTURE)] } else { &[] };
            let mend = [&[("capture-range", range), ("capture-range-end", "repeat")][..], nvtx].concat();
            say(Loss::Some, what, &mend);
        }
        other => {
            let what = format!("no window will be captured: nsys waits for --capture-range={other}");
            let mend = [("capture-range", "nvtx"), ("nvtx-capture", CAPTURE), ("capture-range-end", "repeat")];
            say(Loss::All, what, &mend);
        }
    }
    if range != "none" {
        match line.get("capture-range-end").unwrap_or("stop-shutdown") {
            "stop" => say(
                Loss::Some,
                "only the first capture will be in a report: --capture-range-end=stop".into(),
                &[("capture-range-end", "repeat")],
            ),
            end @ "stop-shutdown" if line.get("kill") != Some("none") => say(
                Loss::All,
                format!("the engine is ended with its first capture: --capture-range-end is {end}"),
                &[("capture-range-end", "repeat")],
            ),
            "none" => say(
                Loss::Some,
                "the report goes on after the window: --capture-range-end=none".into(),
                &[("capture-range-end", "repeat")],
            ),
            end if end.starts_with("repeat-shutdown") && line.get("kill") != Some("none") => say(
                Loss::Some,
                format!("the engine is ended with its last capture: --capture-range-end={end}"),
                &[("capture-range-end", &end.replacen("-shutdown", "", 1))],
            ),
            _ => {}
        }
    }
    if traced.contains(&"cuda") && line.get("cuda-graph-trace").is_none_or(|value| value.starts_with("graph")) {
        let what = "kernels inside CUDA graphs will not be seen, only whole graphs: --cuda-graph-trace is graph".into();
        say(Loss::Some, what, &[("cuda-graph-trace", "node")]);
    }
    if !facts.forked.is_empty() && line.get("trace-fork-before-exec") != Some("true") {
        let ranks: Vec<String> = facts.forked.iter().map(i32::to_string).collect();
        let what = format!(
            "nothing of {} will be captured: forked without exec, and nsys traces those only with \
             --trace-fork-before-exec=true (better: start workers by spawn, VLLM_WORKER_MULTIPROC_METHOD=spawn)",
            ranks.join(", ")
        );
        say(Loss::All, what, &[("trace-fork-before-exec", "true")]);
    }
    for unknown in traced.iter().filter(|t| !facts.traces.is_empty() && !facts.traces.contains(t)) {
        let mut known: Vec<&str> = traced.iter().copied().filter(|t| t != unknown).collect();
        if known.is_empty() {
            known.push("nvtx");
        }
        let what = format!("nsys will not start: it can't trace {unknown:?}, only {}", facts.traces.join(", "));
        say(Loss::All, what, &[("trace", &known.join(","))]);
    }
    found.sort_by_key(|problem| std::cmp::Reverse(problem.loss));
    found
}

/// The same line without its problems.
pub fn mended(line: &Line, facts: &Facts<'_>) -> Line {
    let mut mended = line.clone();
    // One after the other, since two may be about the same option; more than there are kinds is never needed.
    for _ in 0..16 {
        let Some(worst) = problems(&mended, facts).into_iter().next() else { break };
        for (name, value) in &worst.mend {
            mended.set(name, value);
        }
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &str) -> Line {
        let text = format!("nsys profile {options} engine");
        Line::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).expect("a line")
    }

    #[test]
    fn each_problem_is_named_and_the_mended_line_has_none() {
        let forked = Facts { forked: &[11, 12], ..Facts::default() };
        for (options, loss, word, facts) in [
            (
                "-t cuda -c nvtx -p capture@stepscope --capture-range-end=repeat --cuda-graph-trace=node",
                Loss::All,
                "has no nvtx",
                Facts::default(),
            ),
            ("-t nvtx -c nvtx --capture-range-end=repeat", Loss::All, "ours is capture@stepscope", Facts::default()),
            (
                "-t nvtx -c nvtx -p step@stepscope --capture-range-end=repeat",
                Loss::All,
                "\"step@stepscope\"",
                Facts::default(),
            ),
            ("-t nvtx -c cudaProfilerApi --capture-range-end=repeat", Loss::All, "has no cuda", Facts::default()),
            (
                "-t cuda -c cudaProfilerApi --capture-range-end=repeat --cuda-graph-trace=node",
                Loss::Some,
                "no names",
                Facts::default(),
            ),
            (
                "-t nvtx -c nvtx -p capture@stepscope --capture-range-end=stop",
                Loss::Some,
                "only the first capture",
                Facts::default(),
            ),
            ("-t nvtx -c nvtx -p capture@stepscope", Loss::All, "ended with its first capture", Facts::default()),
            (
                "-t nvtx -c nvtx -p capture@stepscope --capture-range-end=repeat-shutdown:2",
                Loss::Some,
                "last capture",
                Facts::default(),
            ),
            ("-t nvtx", Loss::Some, "no --capture-range", Facts::default()),
            ("-t nvtx -c hotkey --capture-range-end=repeat", Loss::All, "hotkey", Facts::default()),
            ("-t cuda,nvtx -c cudaProfilerApi --capture-range-end=repeat", Loss::Some, "CUDA graphs", Facts::default()),
            ("-t nvtx -c nvtx -p capture@stepscope --capture-range-end=repeat", Loss::All, "nothing of 11, 12", forked),
            (
                "-t nvtx,foo -c nvtx -p capture@stepscope --capture-range-end=repeat",
                Loss::All,
                "\"foo\"",
                Facts { traces: &["cuda", "nvtx"], ..Facts::default() },
            ),
        ] {
            let line = line(options);
            let found = problems(&line, &facts);
            assert!(found.len() == 1 && found[0].loss == loss && found[0].what.contains(word), "{options}: {found:?}");
            let mended = mended(&line, &facts);
            assert_eq!(problems(&mended, &facts), [], "{options} → {mended}");
        }
    }

    #[test]
    fn several_problems_with_one_option_are_all_mended() {
        let facts = Facts { traces: &["cuda", "nvtx"], ..Facts::default() };
        let mended = mended(&line("-t foo,bar -c nvtx"), &facts);
        assert_eq!(
            mended.to_string(),
            "nsys profile --trace=nvtx --capture-range=nvtx --nvtx-capture=capture@stepscope --capture-range-end=repeat engine"
        );
    }

    #[test]
    fn a_good_line_is_let_alone() {
        for options in [
            "-t nvtx -c nvtx -p capture@stepscope --capture-range-end=repeat:3",
            "-t cuda,nvtx -c nvtx -p capture@* --capture-range-end=repeat --cuda-graph-trace=node",
            "-t cuda,nvtx,osrt -c cudaProfilerApi --capture-range-end=repeat --cuda-graph-trace=node",
            "-t nvtx -c nvtx -p capture@stepscope --kill=none",
        ] {
            assert_eq!(problems(&line(options), &Facts::default()), [], "{options}");
        }
    }
}
