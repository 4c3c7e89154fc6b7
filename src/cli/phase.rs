//! `stepscope phase`: the benchmark's word to the `stepscope run` around it.

use super::exit::Exit;
use super::run_arguments::{Edge, PhaseArguments};
use crate::trigger::{SOCKET_VARIABLE, Word, tell};

pub(super) fn run(arguments: &PhaseArguments) -> anyhow::Result<Exit> {
    let word = match arguments.edge {
        Edge::Start => Word::Start(arguments.name.clone()),
        Edge::Stop => Word::Stop,
    };
    let socket = arguments.socket.as_ref().filter(|path| !path.as_os_str().is_empty());
    let told = match socket {
        None => Err(format!("{SOCKET_VARIABLE} is not set: this is not below `stepscope run --phase`")),
        Some(socket) => tell(socket, &word)
            .unwrap_or_else(|error| Err(format!("no `stepscope run` at {}: {error}", socket.display()))),
    };
    match told {
        Ok(_) => Ok(Exit::Ok),
        Err(reason) => {
            eprintln!("stepscope: {reason}");
            Ok(if arguments.strict { Exit::Failed } else { Exit::Ok })
        }
    }
}
