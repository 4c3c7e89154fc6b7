//! `stepscope demo`: engine, sidecar, capture and trace, end to end, as separate processes over real HTTP.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::arguments::DemoArguments;
use super::children::Child;
use super::connect::print_json;
use super::exit::Exit;
use super::wanted::Wanted;
use super::{get, table, wait};
use crate::client::{Client, StartBody};
use crate::trace::output::Format;

/// How long each stage may take; generous, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// A demo takes seconds; a scratch folder of this age belongs to none that runs.
const OLD: Duration = Duration::from_secs(600);
/// How long an iteration of the simulated engine takes.
const STEP_US: u32 = 2000;

pub(super) async fn run(arguments: DemoArguments) -> anyhow::Result<Exit> {
    // Ctrl-C drops the future, and with it the children and the scratch folder.
    tokio::select! {
        outcome = demonstrate(arguments) => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn demonstrate(arguments: DemoArguments) -> anyhow::Result<Exit> {
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("can't make the folder {}", out.display()))?;
    let scratch = Scratch::new()?;
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));

    spinner.set_message("starting a sidecar and a simulated engine");
    let mut sidecar = Child::spawn("sidecar", |command| {
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(scratch.data()).arg("--dir").arg(scratch.segments());
        // The demo's sidecar is the demo's alone: what is set for another one does not count.
        without_settings(command);
    })?;
    let mut engine = Child::spawn("simulated engine", |command| {
        command.args(["engine", "--requests", "--iterations", "0"]);
        command.args(["--ranks", &arguments.ranks.to_string(), "--step-us", &STEP_US.to_string()]);
        without_settings(command);
        command.env("STEPSCOPE_DIR", scratch.segments());
    })?;
    let url = tokio::time::timeout(PATIENCE, sidecar.find(listening_at))
        .await
        .map_err(|_| anyhow::anyhow!("the sidecar did not come up:{}", sidecar.last_words()))??;
    let client = Client::new(&url, None)?;

    spinner.set_message(format!("waiting for {} ranks to attach", arguments.ranks));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let attached = client.status().await?.value.ranks;
        let moving = attached.iter().filter(|rank| rank.role == "rank" && rank.begun > 0).count();
        if moving == arguments.ranks as usize {
            break;
        }
        engine.check().await?;
        sidecar.check().await?;
        if Instant::now() >= deadline {
            anyhow::bail!("{moving} of {} ranks attached:{}", arguments.ranks, engine.last_words());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let body = StartBody {
        delay_iterations: Some(arguments.delay_iterations),
        max_iterations: Some(arguments.max_iterations),
        profile_prefix: Some("demo".into()),
        ..StartBody::default()
    };
    let started = client.start(&body).await?.value;
    let id = &started.capture_id;
    let ended = wait::until_final(&client, id, PATIENCE, |capture| {
        spinner.set_message(format!("capture {id} is {}", capture.state));
    })
    .await?;
    spinner.finish_and_clear();
    let capture = &ended.value;
    if !capture.is_final() {
        return Err(wait::not_over(capture, PATIENCE));
    }
    if capture.state != "done" {
        eprint!("{}", table::capture(capture));
        anyhow::bail!("the capture is {}:{}", capture.state, sidecar.last_words());
    }
    let delivered = get::download_visibly(&client, id, Wanted::Trace(Format::Json), None, out).await?;
    engine.end().await;
    sidecar.end().await;

    if arguments.json {
        print_json(&ended.json);
        return Ok(Exit::of_capture(capture));
    }
    println!(
        "captured {} iterations of {} ranks, after skipping {}, with POST {url}/start_profile\n",
        arguments.max_iterations, arguments.ranks, arguments.delay_iterations
    );
    print!("{}", table::capture(capture));
    print!("\n{}", get::how_to_open(&delivered, Format::Json));
    Ok(Exit::of_capture(capture))
}

/// Takes our own variables out of a child's environment.
fn without_settings(command: &mut tokio::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("STEPSCOPE_")) {
            command.env_remove(name);
        }
    }
}

/// The URL in the line that the sidecar logs when it listens.
fn listening_at(line: &str) -> Option<String> {
    let (_, tail) = line.split_once("listening on http://")?;
    let address: String = tail.chars().take_while(|c| c.is_ascii_alphanumeric() || ".:[]".contains(*c)).collect();
    (!address.is_empty()).then(|| format!("http://{address}"))
}

/// What the name of every scratch folder begins with; the process id and something random follow.
const PREFIX: &str = "stepscope-demo-";

/// A private folder for segments and captures, removed when dropped; a `demo` that was killed leaves it to the next one.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), uuid::Uuid::now_v7().simple());
        let shared_memory = Path::new("/dev/shm");
        // Room for a few segments; a container's /dev/shm may be tiny or full.
        let roomy = crate::doctor::free_bytes(shared_memory).is_ok_and(|free| free >= 48 << 20);
        let below = if roomy { shared_memory.to_owned() } else { std::env::temp_dir() };
        remove_left_overs(&below);
        let path = below.join(name);
        let scratch = Self(path.clone());
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("can't make the folder {}", path.display()))?;
        for folder in [scratch.segments(), scratch.data()] {
            std::fs::DirBuilder::new().mode(0o700).create(folder)?;
        }
        Ok(scratch)
    }

    fn segments(&self) -> PathBuf {
        self.0.join("segments")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

/// Removes scratch folders whose `demo` is gone. Only old ones: another pid namespace may share this file system, and
/// its processes can't be seen. What belongs to others can't be removed anyway.
fn remove_left_overs(below: &Path) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        let gone = owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        let old =
            entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLD));
        if gone && old {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::listening_at;

    #[test]
    fn the_address_is_found_in_plain_coloured_and_json_logs() {
        for line in [
            "2026-11-21T10:00:00Z  INFO stepscope: listening on http://127.0.0.1:4711",
            "\u{1b}[32m INFO\u{1b}[0m listening on http://127.0.0.1:4711\u{1b}[0m",
            r#"{"message":"listening on http://127.0.0.1:4711","level":"INFO"}"#,
            "listening on http://127.0.0.1:4711/ (data in /tmp)",
        ] {
            assert_eq!(listening_at(line).as_deref(), Some("http://127.0.0.1:4711"), "{line}");
        }
        assert_eq!(listening_at("listening on http://[::1]:8001,").as_deref(), Some("http://[::1]:8001"));
        assert_eq!(listening_at("listening soon"), None);
    }
}
