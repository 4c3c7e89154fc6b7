//! The command `stepscope`: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    stepscope::cli::main().into()
}
