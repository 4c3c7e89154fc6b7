//! `stepscope reports`: which capture a report of nsys holds.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::{ConnectArguments, ReportsArguments};
use super::exit::{Exit, UsageError};
use super::table;
use crate::client::types;
use crate::launch::matching::{self, Capture, Contents, Match, Rank};
use crate::launch::report;

pub(super) async fn run(arguments: ReportsArguments) -> anyhow::Result<Exit> {
    let mut reports = Vec::new();
    for path in &arguments.paths {
        let found = if path.is_dir() { report::list_all(path) } else { report::list(path) };
        if found.is_empty() {
            return Err(UsageError(format!("there is no report (.nsys-rep, .qdstrm) at {}", path.display())).into());
        }
        reports.extend(found);
    }
    let captures = known(&arguments.connect).await;
    let known = captures.as_deref().unwrap_or_default();
    let held: Vec<Held> = reports.iter().map(|path| Held::of(path, &arguments.nsys, known)).collect();
    if arguments.json {
        println!("{}", serde_json::Value::Array(held.iter().map(Held::json).collect()));
    } else {
        print!("{}", shown(&held));
    }
    if let Err(error) = captures {
        eprintln!("no captures to compare with: {error}");
        return Ok(Exit::Unreachable);
    }
    Ok(if held.iter().any(|held| held.contents.is_err()) { Exit::Failed } else { Exit::Ok })
}

/// The sidecar's captures, as far as they are comparable with a report.
pub(super) async fn known(connect: &ConnectArguments) -> anyhow::Result<Vec<Capture>> {
    let list = connect.client()?.captures().await?.value;
    Ok(list.captures().iter().map(comparable).filter(|capture| !capture.ranks.is_empty()).collect())
}

fn comparable(capture: &types::Capture) -> Capture {
    let rank = |rank: &types::Rank| {
        let (first, last) = (rank.first_iteration?, rank.last_iteration?);
        let window_ns = (rank.opened_at_ns?.cast_signed(), rank.closed_at_ns?.cast_signed());
        (first <= last).then_some(Rank { rank: rank.rank, pid: rank.pid, first, last, window_ns })
    };
    Capture { id: capture.capture_id.clone(), ranks: capture.ranks.iter().filter_map(rank).collect() }
}

/// A report, and what was found in it.
pub(super) struct Held {
    path: PathBuf,
    contents: Result<Contents, String>,
    matches: Result<Vec<Match>, String>,
}

impl Held {
    /// Reads it.
    pub(super) fn of(path: &Path, nsys: &Path, known: &[Capture]) -> Self {
        let contents = report::read(path, nsys).map_err(|error| error.to_string());
        let matches = contents.clone().and_then(|contents| matching::find(&contents, known));
        Self { path: path.to_owned(), contents, matches }
    }

    /// Whether this capture was found in it.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.matches.iter().flatten().any(|found| found.capture_id == id)
    }

    fn json(&self) -> serde_json::Value {
        let processes = self.contents.as_ref().map(|contents| {
            let process = |process: &matching::Process| {
                let iterations: Vec<_> =
                    process.iterations.iter().map(|(n, _, name)| json!({"iteration": n, "name": name})).collect();
                json!({"pid": process.pid, "capture_ranges": process.captures, "iterations": iterations})
            };
            contents.processes.iter().map(process).collect::<Vec<_>>()
        });
        json!({
            "report": self.path,
            "captures": self.matches.as_deref().unwrap_or_default(),
            "not_known": self.matches.as_ref().err(),
            "processes": processes.unwrap_or_default(),
        })
    }

    /// `4 of pid 10, 4 of pid 11`.
    fn iterations(&self) -> String {
        let Ok(contents) = &self.contents else { return "-".into() };
        let words: Vec<String> = contents
            .processes
            .iter()
            .filter_map(|process| {
                let (first, last) = (process.iterations.first()?.0, process.iterations.last()?.0);
                Some(format!("{first}-{last} ({} of pid {})", process.iterations.len(), process.pid))
            })
            .collect();
        if words.is_empty() { "none".into() } else { words.join(", ") }
    }
}

/// As a table.
pub(super) fn shown(held: &[Held]) -> String {
    let mut rows = Vec::new();
    for held in held {
        let row = |capture: &str, sure: &str, what: &str| {
            vec![
                held.path.display().to_string(),
                capture.to_owned(),
                sure.to_owned(),
                held.iterations(),
                what.to_owned(),
            ]
        };
        match &held.matches {
            Ok(matches) => rows.extend(matches.iter().map(|found| {
                let sure = format!("{:?}", found.sure).to_lowercase();
                row(&found.capture_id, &sure, &found.what)
            })),
            Err(why) => rows.push(row("-", "not known", why)),
        }
    }
    table::columns(&["REPORT", "CAPTURE", "SURE", "ITERATIONS", "WHAT"], &[], rows)
}
