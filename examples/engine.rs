//! The simulated engine: each rank a process, attached through the Rust API. See `--help`.

use std::process::{Command, ExitCode};

use stepscope::simulator::{arguments::Arguments, driver};

#[allow(clippy::print_stderr, reason = "a command line")]
fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match driver::run(&arguments, || std::env::current_exe().map(Command::new)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine: {error}");
            ExitCode::FAILURE
        }
    }
}
