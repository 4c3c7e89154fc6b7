//! The inputs of a merge: read once, named, and what is there twice left out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use super::losses::ReadError;
use super::nsys;
use super::source::memory_bytes;
use super::survey::{Maker, Survey, survey};

/// Inputs that are read for the first time at once; those whose packing takes more memory than this one by one.
const READERS: usize = 2;
const HEAVY_BYTES: usize = 1 << 20;

/// One input that can be read.
#[derive(Debug)]
pub(super) struct Input {
    /// What it is called in the output, and by `--offset`.
    pub(super) label: String,
    /// As it was given.
    pub(super) path: PathBuf,
    /// The trace: the file itself, or what was made of a report.
    pub(super) data: PathBuf,
    pub(super) survey: Survey,
    /// Processes that an earlier input has too: nothing of them is written.
    pub(super) twice: Vec<usize>,
}

/// An input that is not in the output, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// What it would have been called.
    pub label: String,
    /// As it was given.
    pub path: String,
    /// In words.
    pub why: String,
}

/// What could be read.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) kept: Vec<Input>,
    pub(super) refused: Vec<Refused>,
    /// What is there twice, in words.
    pub(super) twice: Vec<String>,
}

impl Inputs {
    /// Reads all files. Reports of nsys become traces in `scratch`.
    pub(super) fn read(paths: &[PathBuf], nsys: &Path, scratch: &Path) -> Self {
        let labels = labels(paths);
        let mut inputs = Self::default();
        for (at, (data, found)) in read_all(paths, nsys, scratch).into_iter().enumerate() {
            let (label, path) = (labels[at].clone(), paths[at].clone());
            match found {
                Ok(survey) => inputs.kept.push(Input { label, path, data, survey, twice: Vec::new() }),
                Err(why) => inputs.refused.push(Refused { label, path: path.display().to_string(), why }),
            }
        }
        inputs.leave_out_copies();
        inputs.leave_out_ranks();
        inputs
    }

    /// Takes out an input.
    pub(super) fn refuse(&mut self, label: &str, why: String) {
        if let Some(at) = self.kept.iter().position(|input| input.label == label) {
            let input = self.kept.remove(at);
            self.refused.push(Refused { label: input.label, path: input.path.display().to_string(), why });
        }
    }

    fn leave_out_copies(&mut self) {
        let mut seen: HashMap<(u64, u32), String> = HashMap::new();
        let twice = &mut self.twice;
        self.kept.retain(|input| match seen.get(&input.survey.digest) {
            Some(first) => {
                twice.push(format!("{} is {first} once more: left out", input.label));
                false
            }
            None => {
                seen.insert(input.survey.digest, input.label.clone());
                true
            }
        });
    }

    /// A rank of ours whose iterations an earlier input has; and, in words only, other tools' ranks.
    fn leave_out_ranks(&mut self) {
        for at in 1..self.kept.len() {
            let (before, rest) = self.kept.split_at_mut(at);
            let input = &mut rest[0];
            for (index, rank) in input.survey.ranks.iter().enumerate() {
                let Some((first, last)) = rank.iterations else { continue };
                let same = before.iter().find(|other| {
                    other.survey.ranks.iter().any(|other| {
                        (&other.job, &other.group, other.rank) == (&rank.job, &rank.group, rank.rank)
                            && other.iterations.is_some_and(|(from, to)| from <= last && first <= to)
                    })
                });
                if let (Some(other), Some(process)) = (same, input.survey.process_of_rank(index)) {
                    let whose = format!("rank {} of group {}, job {}", rank.rank, rank.group, rank.job);
                    self.twice.push(format!(
                        "{} and {} both have iterations {first} to {last} of {whose}: left out of {}",
                        other.label, input.label, input.label
                    ));
                    input.twice.push(process);
                }
            }
            let all = input.survey.ranks.len();
            if all > 0 && input.twice.len() == all {
                // Windows, drops and GPUs of the same capture are there too.
                input.twice = (0..input.survey.processes.all().len()).collect();
            }
            let is_foreign = |input: &Input| input.survey.maker == Maker::Kineto;
            let same = before.iter().find(|other| {
                is_foreign(other) && other.survey.rank == input.survey.rank && other.survey.host == input.survey.host
            });
            if let (Some(rank), Some(other), true) = (input.survey.rank, same, is_foreign(input)) {
                self.twice.push(format!(
                    "{} and {} both say that they are rank {rank}: both are kept, they may be of two jobs",
                    other.label, input.label
                ));
            }
        }
    }
}

type Found = (PathBuf, Result<Survey, String>);

/// In the order given, a few at once.
fn read_all(paths: &[PathBuf], nsys: &Path, scratch: &Path) -> Vec<Found> {
    let next = Mutex::new(0..paths.len());
    let (say, said) = mpsc::sync_channel(paths.len());
    thread::scope(|scope| {
        for number in 0..READERS.min(paths.len()) {
            let (next, say) = (&next, say.clone());
            let work = move || {
                loop {
                    let at = next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some(at) = at else { return };
                    // Left for the calling thread, whose heap serves the writing too.
                    if paths[at].is_file() && memory_bytes(&paths[at]).is_ok_and(|bytes| bytes > HEAVY_BYTES) {
                        continue;
                    }
                    let found = read(&paths[at], at, nsys, scratch);
                    if say.send((at, found)).is_err() {
                        return;
                    }
                }
            };
            // Without a thread the others do its work; without any, the caller.
            let _ = thread::Builder::new().name(format!("merge read {number}")).spawn_scoped(scope, work);
        }
        drop(say);
    });
    let mut found: Vec<Option<Found>> = paths.iter().map(|_| None).collect();
    for (at, one) in said {
        found[at] = Some(one);
    }
    let read_here = |(at, one): (usize, Option<Found>)| one.unwrap_or_else(|| read(&paths[at], at, nsys, scratch));
    found.into_iter().enumerate().map(read_here).collect()
}

fn read(path: &Path, number: usize, nsys: &Path, scratch: &Path) -> Found {
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return (path.to_owned(), Err("it is no file, which can be read twice: write it to one first".into()));
    }
    let data = match nsys::convert(path, nsys, &scratch.join(format!("{number}.json"))) {
        Ok(None) => path.to_owned(),
        Ok(Some(made)) => made,
        Err(error) => return (path.to_owned(), Err(error.to_string())),
    };
    let found = survey(&data).map_err(|error| match error {
        ReadError::Io(error) => format!("it can't be read: {error}"),
        ReadError::NoTrace(_) => error.to_string(),
    });
    (data, found)
}

/// File names without what all traces end in; with their folder's, or a number, where two would be alike.
fn labels(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut rest = name.as_str();
        for ending in [".gz", ".zst", ".json", ".trace", ".pt", ".sqlite", ".nsys-rep", ".qdstrm"] {
            rest = rest.strip_suffix(ending).unwrap_or(rest);
        }
        if rest.is_empty() { name } else { rest.to_owned() }
    };
    let folder =
        |path: &PathBuf| path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let stems: Vec<String> = paths.iter().map(stem).collect();
    let mut labels: Vec<String> = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let mut label = stems[at].clone();
        if stems.iter().filter(|stem| **stem == label).count() > 1 {
            label = format!("{}/{label}", folder(path)).trim_start_matches('/').to_owned();
        }
        let plain = label.clone();
        let mut number = 2;
        while labels.contains(&label) {
            label = format!("{plain}#{number}");
            number += 1;
        }
        labels.push(label);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_file_names_and_never_twice_the_same() {
        let paths = ["a/run.pt.trace.json.gz", "b/run.json", "c/x.json.zst", "b/run.json", "r.1.nsys-rep", ".json"];
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        assert_eq!(labels(&paths), ["a/run", "b/run", "x", "b/run#2", "r.1", ".json"]);
    }
}
