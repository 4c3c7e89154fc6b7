//! The processes of the output: numbers that never meet, names that say whose they are, an order that keeps inputs together.
//!
//! * Numbers count from 1: input by input as they were given, and within an input by the first event of each process. The
//!   same inputs in the same order give the same numbers.
//! * A name that two inputs have gets the label of its input in front. One of a foreign trace gets its own `pid` behind
//!   it, unless that is in it already. A process without a name is called by its `pid`.
//! * In the viewer processes stand input by input, and within an input as the input had them.

use std::collections::HashMap;

use super::inputs::Input;
use super::survey::Maker;

/// A process of the output.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProcessReport {
    /// Its number in the output.
    pub pid: u32,
    /// What stood in `pid` before.
    pub was: String,
    /// What it is called.
    pub name: String,
    /// Its place in the viewer.
    #[serde(skip)]
    pub(super) sort_index: u32,
}

/// The processes of each input; `None`: it is left out.
pub(super) fn number(inputs: &[Input]) -> Vec<Vec<Option<ProcessReport>>> {
    let mut owners: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, input) in inputs.iter().enumerate() {
        for process in 0..input.survey.processes.all().len() {
            let owners = owners.entry(plain_name(input, process)).or_default();
            if owners.last() != Some(&at) && !input.twice.contains(&process) {
                owners.push(at);
            }
        }
    }
    let (mut pid, mut sort_index) = (0, 0);
    let mut numbered = Vec::new();
    for input in inputs {
        let all = input.survey.processes.all();
        let mut processes: Vec<Option<ProcessReport>> = Vec::new();
        for process in 0..all.len() {
            if input.twice.contains(&process) {
                processes.push(None);
                continue;
            }
            pid += 1;
            let plain = plain_name(input, process);
            let is_shared = owners.get(&plain).is_some_and(|owners| owners.len() > 1);
            let was = input.survey.pid_text(process);
            let mut name = if is_shared { format!("{}: {plain}", input.label) } else { plain };
            if input.survey.maker != Maker::Stepscope && !was.is_empty() && !name.contains(&was) {
                name = format!("{name} (pid {was})");
            }
            processes.push(Some(ProcessReport { pid, was, name, sort_index: 0 }));
        }
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|&process| all[process].sort_index.unwrap_or(0));
        for process in order {
            if let Some(process) = &mut processes[process] {
                sort_index += 1;
                process.sort_index = sort_index;
            }
        }
        numbered.push(processes);
    }
    numbered
}

fn plain_name(input: &Input, process: usize) -> String {
    let pid = input.survey.pid_text(process);
    match &input.survey.processes.all()[process].name {
        Some(name) if !name.trim().is_empty() => name.clone(),
        _ if pid.is_empty() => "no pid".into(),
        _ if pid.bytes().all(|byte| byte.is_ascii_digit()) => format!("process {pid}"),
        _ => pid,
    }
}
