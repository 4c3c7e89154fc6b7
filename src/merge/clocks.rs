//! Puts all inputs on one clock, says how sure that is, and refuses what can't be.
//!
//! * An input whose `baseTimeNanoseconds` is stated keeps to it: unix_ns = base + ts × 1000. It is never shifted on our own
//!   account, but for reports of nsys, whose clock begins with their session: they are laid on our iterations.
//! * One without a base is refused, unless the user says where it lies, or forces it to begin with the others.
//! * A capture in which the wall clock was set is as uncertain as that was far.
//! * Where two inputs show the same iterations, how far apart these lie is measured. An input is as uncertain as it says,
//!   or as was measured, whichever is more.
//! * A merge is refused when two inputs may lie further apart than what is being looked at: the median iteration of our
//!   captures, or a millisecond if there are none.

use std::collections::HashMap;

use super::inputs::Input;
use super::iterations::{self, Iteration, Offset};
use super::survey::Maker;

/// How far off the wall clock of one machine is, by who read it. Ours is anchored at both ends of a window; PyTorch converts
/// the counter of the processor by anchors of its own; nobody else is known so well.
const OURS_NS: u64 = 10_000;
const THEIRS_NS: u64 = 50_000;
/// What is being looked at, without a capture of ours.
const LOOKING_AT_NS: u64 = 1_000_000;
/// Names are compared only where two inputs lie at the same time, give or take this.
const APART_NS: i64 = 100_000_000;
/// A process of the same number whose iterations lie further away than this is another one: the wall clock is set by less.
const SAME_TIME_NS: u64 = 1_000_000_000;
/// A `ts` beyond this, 2001 in nanoseconds since 1970, counts from 1970.
const SINCE_1970_NS: i64 = 1_000_000_000_000_000_000;

/// An input's place on the common clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aligned {
    /// What is added to its times to have nanoseconds since the epoch.
    pub(super) shift_ns: i64,
    /// Of that, what is beyond the base that it states.
    pub(super) offset_ns: i64,
    /// How far off that may be. `None`: nobody knows.
    pub(super) uncertainty_ns: Option<u64>,
    /// Where that comes from, in words.
    pub(super) clock: String,
}

/// What two inputs show of the same iterations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Match {
    /// One of them, a capture of ours.
    pub a: String,
    /// The other one.
    pub b: String,
    /// Iterations that both have.
    pub iterations: usize,
    /// Median of how much later they begin in the other one, from the second iteration on.
    pub median_offset_ns: i64,
    /// The least of these.
    pub least_offset_ns: i64,
    /// Nine of ten lie within this of the median.
    pub spread_ns: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// By input; `Err`: why it can't be placed.
    pub(super) inputs: Vec<Result<Aligned, String>>,
    pub(super) matches: Vec<Match>,
    /// What is being looked at.
    pub(super) looking_at_ns: u64,
    /// How far apart two inputs may lie. `None`: nobody knows.
    pub(super) uncertainty_ns: Option<u64>,
    /// Why there should be no merge.
    pub(super) refusal: Option<String>,
    /// Whether times count from the epoch.
    pub(super) is_absolute: bool,
}

/// Aligns them. `offsets` are nanoseconds by label.
pub(super) fn align(inputs: &[Input], offsets: &HashMap<String, i64>, force: bool) -> Clocks {
    let mut clocks = Clocks { looking_at_ns: looking_at(inputs), ..Clocks::default() };
    clocks.inputs = inputs.iter().map(|input| place(input, offsets.get(&input.label).copied())).collect();
    clocks.is_absolute = clocks.inputs.iter().any(Result::is_ok);
    place_the_rest(inputs, &mut clocks, force);
    for (at, input) in inputs.iter().enumerate() {
        if input.survey.maker == Maker::Nsys && !offsets.contains_key(&input.label) {
            lay_on_ours(inputs, at, &mut clocks);
        }
    }
    compare(inputs, &mut clocks);
    judge(inputs, offsets, &mut clocks);
    clocks
}

fn looking_at(inputs: &[Input]) -> u64 {
    let ours = inputs.iter().filter(|input| input.survey.maker == Maker::Stepscope);
    let mut durations: Vec<i64> =
        ours.flat_map(|input| input.survey.iterations.iter().map(|i| i.duration_ns)).filter(|ns| *ns > 0).collect();
    iterations::median(&mut durations).map_or(LOOKING_AT_NS, i64::unsigned_abs)
}

fn place(input: &Input, offset_ns: Option<i64>) -> Result<Aligned, String> {
    let survey = &input.survey;
    if let Some(offset_ns) = offset_ns {
        let clock = match survey.base_ns {
            Some(_) => format!("its baseTimeNanoseconds and {offset_ns} ns, as --offset says"),
            None => format!("as --offset says: its time 0 is {offset_ns} ns since 1970"),
        };
        let shift_ns = survey.base_ns.unwrap_or(0).saturating_add(offset_ns);
        return Ok(Aligned { shift_ns, offset_ns, uncertainty_ns: Some(0), clock });
    }
    let Some(base_ns) = survey.base_ns else {
        let hint = match survey.span_ns {
            Some((first_ns, _)) if first_ns > SINCE_1970_NS => {
                format!("its times look like microseconds since 1970, which --offset {}=0 takes them for", input.label)
            }
            _ => format!(
                "say how many nanoseconds after 1970 its time 0 is with --offset {}=NS, or let it begin with the others by --force",
                input.label
            ),
        };
        return Err(format!("it does not say when its time 0 is (no baseTimeNanoseconds): {hint}"));
    };
    let (uncertainty_ns, clock) = match survey.maker {
        Maker::Stepscope => {
            // Whoever else recorded meanwhile may have read the clock before it was set.
            let uncertainty_ns = survey.uncertainty_ns.unwrap_or(OURS_NS).max(survey.stepped_ns.unsigned_abs());
            (Some(uncertainty_ns), "the wall clock of the engine's machine, by our anchors")
        }
        Maker::Kineto => {
            (Some(survey.uncertainty_ns.unwrap_or(THEIRS_NS)), "the wall clock, by PyTorch's own conversion")
        }
        Maker::Nsys => (None, "the begin of nsys's session by the wall clock: how exact that is it does not say"),
        Maker::Other => {
            (Some(survey.uncertainty_ns.unwrap_or(THEIRS_NS)), "the wall clock, as its baseTimeNanoseconds says")
        }
    };
    let mut clock = clock.to_owned();
    if survey.stepped_ns != 0 {
        let way = if survey.stepped_ns < 0 { "back" } else { "forward" };
        let stepped = micros(survey.stepped_ns.unsigned_abs());
        clock.push_str(&format!("; it was set {way} by {stepped} meanwhile, and counts as it was at the end"));
    }
    Ok(Aligned { shift_ns: base_ns, offset_ns: 0, uncertainty_ns, clock })
}

/// Those without a base: alone they need none, forced they begin with the earliest other one.
fn place_the_rest(inputs: &[Input], clocks: &mut Clocks, force: bool) {
    let placed = inputs.iter().zip(&clocks.inputs).filter_map(|(input, placed)| {
        let begin_ns = input.survey.span_ns?.0.saturating_add(placed.as_ref().ok()?.shift_ns);
        Some((begin_ns, input.label.clone()))
    });
    let earliest = placed.min();
    for (input, placed) in inputs.iter().zip(&mut clocks.inputs) {
        let first_ns = input.survey.span_ns.map_or(0, |(first_ns, _)| first_ns);
        if placed.is_ok() || (!force && inputs.len() > 1) {
            continue;
        }
        let (begin_ns, clock) = match &earliest {
            Some((begin_ns, label)) => {
                (*begin_ns, format!("none that it states: forced to begin together with {label}"))
            }
            None if inputs.len() == 1 => (first_ns, "none that it states, and nothing to compare with".into()),
            None => (0, "none that it states: forced to begin together with the others".into()),
        };
        let shift_ns = begin_ns.saturating_sub(first_ns);
        *placed = Ok(Aligned { shift_ns, offset_ns: shift_ns, uncertainty_ns: None, clock });
    }
}

/// The iterations of one process, on the common clock.
fn of_process(input: &Input, process: Option<usize>, shift_ns: i64) -> Vec<Iteration> {
    let all = input.survey.iterations.iter().filter(|i| process.is_none_or(|process| i.process as usize == process));
    all.map(|i| Iteration { begin_ns: i.begin_ns.saturating_add(shift_ns), ..*i }).collect()
}

/// The best match of any process of ours with any of the other's.
fn best(ours: &Input, at_ns: i64, other: &Input, other_at_ns: i64) -> Option<Offset> {
    let is_numbered = other.survey.iterations.iter().any(|i| i.number.is_some());
    let mut found: Option<Offset> = None;
    for (at, rank) in ours.survey.ranks.iter().enumerate() {
        let Some(process) = ours.survey.process_of_rank(at) else { continue };
        if other.survey.rank.is_some_and(|other| other != rank.rank) {
            continue;
        }
        let a = of_process(ours, Some(process), at_ns);
        let mut processes: Vec<u32> = other.survey.iterations.iter().map(|i| i.process).collect();
        processes.sort_unstable();
        processes.dedup();
        // The very process, where both sides know its id; nsys does, and its numbers alone are anybody's.
        let pid = rank.pid.to_string();
        let same: Vec<u32> =
            processes.iter().copied().filter(|process| other.survey.pid_text(*process as usize) == pid).collect();
        if !same.is_empty() || other.survey.maker == Maker::Nsys {
            processes = same;
        }
        for process in processes {
            let b = of_process(other, Some(process as usize), other_at_ns);
            let offset = if is_numbered { iterations::by_number(&a, &b) } else { iterations::by_name(&a, &b) };
            let key = |o: &Offset| (o.iterations, std::cmp::Reverse((o.spread_ns, o.median_ns.unsigned_abs())));
            found = [found, offset].into_iter().flatten().max_by_key(key);
        }
    }
    found
}

/// A report of nsys has our iterations as NVTX ranges: where they lie is where it lies.
fn lay_on_ours(inputs: &[Input], at: usize, clocks: &mut Clocks) {
    let Ok(aligned) = &clocks.inputs[at] else { return };
    let shift_ns = aligned.shift_ns;
    let mut found: Option<(Offset, &str)> = None;
    for (ours, placed) in inputs.iter().zip(&clocks.inputs) {
        let (Maker::Stepscope, Ok(placed)) = (ours.survey.maker, placed) else { continue };
        if let Some(offset) = best(ours, placed.shift_ns, &inputs[at], shift_ns)
            && offset.median_ns.unsigned_abs() < SAME_TIME_NS
            && found.is_none_or(|(best, _)| offset.iterations > best.iterations)
        {
            found = Some((offset, &ours.label));
        }
    }
    let Some((offset, label)) = found else { return };
    let clock = format!(
        "our NVTX ranges in it: {} iterations, laid on those of {label}, nine of ten within {} of each other",
        offset.iterations,
        micros(offset.spread_ns)
    );
    let offset_ns = -offset.median_ns;
    clocks.inputs[at] = Ok(Aligned {
        shift_ns: shift_ns.saturating_add(offset_ns),
        offset_ns,
        uncertainty_ns: Some(offset.spread_ns),
        clock,
    });
}

/// Each pair of a capture of ours and another input that show the same iterations.
fn compare(inputs: &[Input], clocks: &mut Clocks) {
    for (a, ours) in inputs.iter().enumerate() {
        for (b, other) in inputs.iter().enumerate() {
            let is_pair = ours.survey.maker == Maker::Stepscope && (other.survey.maker != Maker::Stepscope || a < b);
            let (true, true, Ok(at), Ok(other_at)) = (is_pair, a != b, &clocks.inputs[a], &clocks.inputs[b]) else {
                continue;
            };
            let Some(offset) = (if other.survey.maker == Maker::Stepscope {
                of_one_group(ours, at.shift_ns, other, other_at.shift_ns)
            } else if is_near(ours, at.shift_ns, other, other_at.shift_ns) {
                best(ours, at.shift_ns, other, other_at.shift_ns)
            } else {
                None
            }) else {
                continue;
            };
            clocks.matches.push(Match {
                a: ours.label.clone(),
                b: other.label.clone(),
                iterations: offset.iterations,
                median_offset_ns: offset.median_ns,
                least_offset_ns: offset.least_ns,
                spread_ns: offset.spread_ns,
            });
            if let Ok(aligned) = &mut clocks.inputs[b] {
                let measured = offset.median_ns.unsigned_abs();
                aligned.uncertainty_ns = aligned.uncertainty_ns.map(|ns| ns.max(measured));
            }
        }
    }
}

/// Ranks of one group step together: their iterations have the numbers in common.
fn of_one_group(ours: &Input, at_ns: i64, other: &Input, other_at_ns: i64) -> Option<Offset> {
    for (a, rank) in ours.survey.ranks.iter().enumerate() {
        for (b, beside) in other.survey.ranks.iter().enumerate() {
            let is_group = (&rank.job, &rank.group) == (&beside.job, &beside.group) && rank.rank != beside.rank;
            let (true, Some(a), Some(b)) = (is_group, ours.survey.process_of_rank(a), other.survey.process_of_rank(b))
            else {
                continue;
            };
            let (a, b) = (of_process(ours, Some(a), at_ns), of_process(other, Some(b), other_at_ns));
            if let Some(offset) = iterations::by_number(&a, &b) {
                return Some(offset);
            }
        }
    }
    None
}

fn is_near(a: &Input, at_ns: i64, b: &Input, other_at_ns: i64) -> bool {
    let span = |input: &Input, at_ns: i64| {
        let begins = || input.survey.iterations.iter().map(|i| i.begin_ns.saturating_add(at_ns));
        begins().min().zip(begins().max())
    };
    let (Some((a_first, a_last)), Some((b_first, b_last))) = (span(a, at_ns), span(b, other_at_ns)) else {
        return false;
    };
    a_first.saturating_sub(APART_NS) <= b_last && b_first.saturating_sub(APART_NS) <= a_last
}

/// Whether what is being looked at can be seen.
fn judge(inputs: &[Input], offsets: &HashMap<String, i64>, clocks: &mut Clocks) {
    let host = inputs.iter().find_map(|input| input.survey.host.clone());
    for (input, placed) in inputs.iter().zip(&mut clocks.inputs) {
        let is_elsewhere = input.survey.host.is_some() && input.survey.host != host;
        if let Ok(aligned) = placed
            && is_elsewhere
            && !offsets.contains_key(&input.label)
        {
            aligned.uncertainty_ns = None;
            aligned.clock.push_str(&format!(
                "; of another machine ({}) than the others ({}), and nobody says how far apart their clocks are",
                input.survey.host.as_deref().unwrap_or_default(),
                host.as_deref().unwrap_or_default()
            ));
        }
    }
    let mut uncertain: Vec<(Option<u64>, &Input, &Aligned)> = inputs
        .iter()
        .zip(&clocks.inputs)
        .filter_map(|(input, placed)| placed.as_ref().ok().map(|aligned| (aligned.uncertainty_ns, input, aligned)))
        .collect();
    // Nobody knows is the most.
    uncertain.sort_by_key(|(ns, ..)| std::cmp::Reverse(ns.unwrap_or(u64::MAX)));
    let [(worst, input, aligned), (second, ..), ..] = uncertain[..] else {
        clocks.uncertainty_ns = Some(0);
        return;
    };
    clocks.uncertainty_ns = worst.zip(second).map(|(worst, second)| worst.saturating_add(second));
    if clocks.uncertainty_ns.is_none_or(|ns| ns > clocks.looking_at_ns) {
        let how_far = match aligned.uncertainty_ns {
            Some(ns) => format!("{} may lie {} off", input.label, micros(ns)),
            None => format!("nobody knows how far off {} lies", input.label),
        };
        clocks.refusal = Some(format!(
            "{how_far}, and what is being looked at takes {} ({}); its clock: {}. Say where it lies with --offset {}=NS, or \
             merge all the same with --force",
            micros(clocks.looking_at_ns),
            if inputs.iter().any(|i| i.survey.maker == Maker::Stepscope && !i.survey.iterations.is_empty()) {
                "the median iteration"
            } else {
                "no capture of ours is there"
            },
            aligned.clock,
            input.label,
        ));
    }
}

/// `12.3 µs`, `4.56 ms`.
pub(super) fn micros(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}
