//! What `--help` says, under a snapshot: whoever changes it reads it.

use super::{command, stderr, stdout, stepscope};

#[test]
fn every_command_explains_itself() {
    for name in [
        "",
        "serve",
        "demo",
        "start",
        "stop",
        "status",
        "captures",
        "captures rm",
        "get",
        "report",
        "run",
        "phase",
        "exec",
        "nsys",
        "reports",
        "merge",
        "doctor",
        "completions",
    ] {
        let arguments: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let output = stepscope(&arguments);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let label = if name.is_empty() { "help".into() } else { format!("help-{}", name.replace(' ', "-")) };
        insta::assert_snapshot!(label, stdout(&output));
    }
}

#[test]
fn help_lists_every_exit_code() {
    let help = stdout(&stepscope(&["--help"]));
    for code in 0..=5 {
        assert!(help.contains(&format!("\n  {code}  ")), "{code} is missing in {help}");
    }
}

#[test]
fn help_never_shows_the_token_that_is_set() {
    let output = command(&["status", "--help"]).env("STEPSCOPE_TOKEN", "very-secret").output().unwrap();
    assert!(output.status.success() && !stdout(&output).contains("very-secret"));
}

#[test]
fn nonsense_is_exit_code_2() {
    for arguments in [
        &["nonsense"][..],
        &["start", "--max-iterations", "many"],
        &["start", "--delay-iterations", "1", "--start-iteration", "2"],
        &["get", "-o", "-", "--json"],
        &["status", "--url", "ftp://127.0.0.1:1"],
        &["status", "--url", "here"],
    ] {
        let output = stepscope(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn completions_name_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = stepscope(&["completions", shell]);
        let script = stdout(&output);
        assert!(output.status.success() && script.contains("captures") && script.contains("doctor"), "{shell}");
    }
}
