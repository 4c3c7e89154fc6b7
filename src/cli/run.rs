//! `stepscope run`: a capture around a benchmark.

use std::io::Write;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::arguments::RunArguments;
use super::exit::{Exit, UsageError};
use crate::trigger::targets::{self, Target};
use crate::trigger::{TriggerError, Wanted, run as trigger};

/// Where the sidecar is, if nobody says.
const HERE: &str = "http://127.0.0.1:8001";

pub(super) async fn run(arguments: RunArguments) -> anyhow::Result<Exit> {
    let quiet = arguments.quiet;
    let say = move |words: &str| {
        if !quiet {
            // Somebody may have closed it: that must not keep a capture from being stopped.
            let mut stderr = std::io::stderr().lock();
            words.lines().for_each(|line| drop(writeln!(stderr, "stepscope: {line}")));
        }
    };
    let wanted = wanted(arguments, &say)?;
    let outcome = trigger(wanted, &say).await.map_err(|error| match error {
        TriggerError::Target(error) => UsageError(error.to_string()).into(),
        other => anyhow::Error::from(other),
    })?;
    say(&outcome.text);
    outcome.ended.mirror();
    Ok(Exit::Passed(outcome.ended.code()))
}

/// Everything checked that can be, before anything is called.
fn wanted(arguments: RunArguments, say: &dyn Fn(&str)) -> Result<Wanted, UsageError> {
    let protocol = targets::engine(&arguments.engine).map_err(|reason| UsageError(format!("--engine: {reason}")))?;
    // An empty variable is an unset one.
    let token = arguments.token.filter(|token| !token.expose_secret().is_empty());
    let usage = |error: targets::TargetError| UsageError(error.to_string());
    let mut all = Vec::new();
    for address in &arguments.target {
        all.push(Target::new(address, protocol, token.clone()).map_err(usage)?);
    }
    if let Some(file) = &arguments.targets {
        all.extend(targets::of_file(file, protocol, token.as_ref()).map_err(usage)?);
    }
    if all.is_empty() {
        let url = std::env::var("STEPSCOPE_URL").ok().filter(|url| !url.is_empty());
        all.push(Target::new(url.as_deref().unwrap_or(HERE), protocol, token).map_err(usage)?);
    }
    let (targets, again) = targets::once(all);
    for address in again {
        say(&format!("{address} is named more than once: it is called once"));
    }
    Ok(Wanted {
        targets,
        window: arguments.window.body(),
        timeout: Duration::from_secs_f64(arguments.timeout),
        wait: Duration::from_secs_f64(arguments.wait),
        trusted: arguments.cacert.filter(|path| !path.as_os_str().is_empty()),
        out: arguments.out,
        by_phase: arguments.phase,
        merge: !arguments.no_merge,
        command: arguments.command,
    })
}
