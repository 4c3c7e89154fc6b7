//! `stepscope doctor`: the room of that name looks at the machine, this file at the sidecar; here both are printed.

use super::arguments::DoctorArguments;
use super::exit::Exit;
use crate::client::ClientError;
use crate::doctor::{self, Finding, Level};

pub(super) async fn run(arguments: DoctorArguments) -> anyhow::Result<Exit> {
    let mut findings = doctor::examine(arguments.dir.as_deref(), &arguments.python, &arguments.nvml_library);
    findings.push(doctor::driver::finding(&super::cuda::ask().await));
    findings.push(sidecar(&arguments).await?);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if arguments.json {
        println!("{}", serde_json::json!({ "level": worst, "findings": findings }));
    } else {
        for finding in &findings {
            print!("{finding}");
        }
        println!("\n{}", doctor::verdict(&findings));
    }
    Ok(if worst == Level::Bad { Exit::Failed } else { Exit::Ok })
}

/// Whether the sidecar answers. A token that is missing or wrong still shows that it lives.
async fn sidecar(arguments: &DoctorArguments) -> anyhow::Result<Finding> {
    let client = arguments.connect.client()?;
    Ok(match client.status().await {
        Ok(status) => {
            let (status, ours) = (status.value, env!("CARGO_PKG_VERSION"));
            let what = format!(
                "sidecar {} answers at {}; it looks in {} and has {} processes attached",
                status.version,
                client.url(),
                status.dir,
                status.ranks.len()
            );
            let here = doctor::folder(arguments.dir.as_deref());
            if !status.version.is_empty() && status.version != ours {
                Finding::warn("sidecar", what, format!("this command is {ours}: use one version on both sides"))
            } else if !status.dir.is_empty() && std::path::Path::new(&status.dir) != here {
                let mend = format!("doctor looked in {}: give both the same --dir or STEPSCOPE_DIR", here.display());
                Finding::warn("sidecar", what, mend)
            } else {
                Finding::ok("sidecar", what)
            }
        }
        Err(ClientError::Unauthorized { message, .. }) => Finding::warn(
            "sidecar",
            format!("a sidecar answers at {}, but not to us: {message}", client.url()),
            "give its token with STEPSCOPE_TOKEN to learn more",
        ),
        Err(ClientError::Refused { status: 403, message, .. }) => Finding::warn(
            "sidecar",
            format!("a sidecar answers at {}, but not to us: {message}", client.url()),
            "give a token with the right look with STEPSCOPE_TOKEN to learn more",
        ),
        Err(ClientError::SpeaksHttps { url, https }) => Finding::warn(
            "sidecar",
            format!("a sidecar answers at {url}, and speaks HTTPS alone"),
            format!(
                "name it as {https} with --url or STEPSCOPE_URL, and who signed its certificate with STEPSCOPE_CACERT"
            ),
        ),
        Err(ClientError::NotTrusted { url, reason, mend }) => {
            Finding::warn("sidecar", format!("somebody answers at {url}, but {reason}"), mend)
        }
        Err(ClientError::Unreachable { url, reason, .. }) => Finding::warn(
            "sidecar",
            format!("no sidecar at {url}: {reason}"),
            "start one with `stepscope serve`, or name another address with --url",
        ),
        Err(other) => {
            let text = other.to_string();
            let (what, mend) = text.split_once('\n').unwrap_or((&text, "see the sidecar's log"));
            Finding::bad("sidecar", what, mend)
        }
    })
}
