//! `stepscope report`: what happened in a window, of a capture or of a file; two of them compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::arguments::ReportArguments;
use super::connect::print_json;
use super::exit::{Exit, UsageError};
use super::{compare_table, get, report_kernels, report_table, wait};
use crate::client::Client;
use crate::launch::report::activity;
use crate::report::compare::compare;
use crate::report::{Report, html};

pub(super) async fn run(arguments: ReportArguments) -> anyhow::Result<Exit> {
    let newest = ["latest".to_owned()];
    let wanted = if arguments.captures.is_empty() { &newest[..] } else { &arguments.captures[..] };
    if wanted.len() > 1 && (arguments.html.is_some() || arguments.nsys.is_some()) {
        return Err(
            UsageError("--html and --nsys are of one capture: name one, and compare without them".into()).into()
        );
    }
    let mut read = Vec::new();
    for name in wanted {
        read.push(fetch(&arguments, name).await?);
    }
    if let [(_, a), (_, b)] = &read[..] {
        let comparison = compare(a, b);
        match arguments.json {
            true => print_json(&serde_json::to_string(&comparison)?),
            false => print!("{}", compare_table::comparison(&comparison)),
        }
        return Ok(Exit::Ok);
    }
    let Some((mut json, mut report)) = read.pop() else { return Ok(Exit::Ok) };
    if let Some(path) = &arguments.nsys {
        let activity =
            activity(path, &arguments.nsys_program).with_context(|| format!("can't read {}", path.display()))?;
        report.kernels = Some(report_kernels::kernels(&report, path, &activity));
        json = serde_json::to_string(&report)?;
    }
    if let Some(path) = &arguments.html {
        write_page(&report, path)?;
        eprintln!("page: {} (opens in any browser, without a network)", path.display());
    }
    match arguments.json {
        true => print_json(&json),
        false => print!("{}", report_table::report(&report)),
    }
    Ok(if report.loss.complete == Some(false) { Exit::Incomplete } else { Exit::Ok })
}

/// Writes the page, whole or not at all.
pub(super) fn write_page(report: &Report, path: &Path) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = std::fs::write(&part, html::page(report)).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written.with_context(|| format!("can't write {}", path.display()))
}

/// The report of an id, or of a file that `--json` once wrote: as it came, and read.
async fn fetch(arguments: &ReportArguments, name: &str) -> anyhow::Result<(String, Report)> {
    if is_file(name) {
        let json = std::fs::read_to_string(name).with_context(|| format!("can't read {name}"))?;
        let report = read(&json).with_context(|| {
            format!("{name} is no report of a capture; `stepscope report ID --json > FILE` writes one")
        })?;
        return Ok((json, report));
    }
    let client = arguments.connect.client()?;
    of_capture(&client, name, Duration::from_secs(arguments.wait)).await
}

/// The report of a capture, when it is over.
pub(super) async fn of_capture(client: &Client, id: &str, patience: Duration) -> anyhow::Result<(String, Report)> {
    let ended = get::wait_visibly(client, id, patience).await?.value;
    if !ended.is_final() {
        return Err(wait::not_over(&ended, patience));
    }
    if ended.state == "cancelled" {
        anyhow::bail!(
            "capture {} was cancelled before its window opened: there is nothing to report",
            ended.capture_id
        );
    }
    let json = client.report(&ended.capture_id).await?;
    let report = read(&json).context("the sidecar's report can't be read")?;
    Ok((json, report))
}

/// Ids have neither dots nor slashes.
fn is_file(name: &str) -> bool {
    name.contains(['.', '/']) || Path::new(name).is_file()
}

fn read(json: &str) -> anyhow::Result<Report> {
    let report: Report = serde_json::from_str(json)?;
    anyhow::ensure!(report.schema > 0, "it says no version of a report");
    Ok(report)
}
