//! `exec`, and `nsys` and `reports` where no nsys is: with one, tests/nsys tries them.

use super::{command, stderr, stdout, stepscope};

#[test]
fn exec_becomes_the_command_with_the_environment_that_was_asked_for() {
    let script = "echo $$ $STEPSCOPE_JOB $STEPSCOPE_RANK $STEPSCOPE_WORLD_SIZE $STEPSCOPE_STEP; exit 7";
    let arguments =
        ["exec", "--job", "j", "--rank", "3", "--world-size", "4", "--step", "m:C.f", "--", "/bin/sh", "-c", script];
    let child = command(&arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(stdout(&output), format!("{pid} j 3 4 m:C.f\n"));
}

#[test]
fn the_agent_stands_in_front_of_the_tool_that_was_there() {
    let library = std::env::current_exe().unwrap();
    let library = library.to_str().unwrap();
    // A library that can't be preloaded is passed over by the loader, aloud.
    let script = "echo $NVTX_INJECTION64_PATH $STEPSCOPE_NVTX_NEXT $STEPSCOPE_NVTX_STEP $LD_PRELOAD";
    let arguments = ["exec", "--nvtx-step", "step*", "--library", library, "--", "/bin/sh", "-c", script];
    let output =
        command(&arguments).env("NVTX_INJECTION64_PATH", "/tool.so").env("LD_PRELOAD", "/proxy.so").output().unwrap();
    assert_eq!(stdout(&output), format!("{library} /tool.so step* {library}:/proxy.so\n"), "{}", stderr(&output));
    let arguments = ["exec", "--nvtx", "--library", library, "--", "/bin/sh", "-c", script];
    let output =
        command(&arguments).env_remove("LD_PRELOAD").env("NVTX_INJECTION64_PATH", "/tool.so").output().unwrap();
    assert_eq!(stdout(&output), format!("{library} /tool.so {library}\n"), "{}", stderr(&output));
}

#[test]
fn what_can_not_be_executed_is_said_as_a_shell_says_it() {
    for (arguments, code, word) in [
        (&["exec", "--", "/nowhere/engine"][..], 127, "can't run /nowhere/engine"),
        (&["exec", "--", "/etc/passwd"], 126, "can't run /etc/passwd"),
        (&["exec", "--nvtx-step", "x", "--library", "/nowhere.so", "--", "true"], 1, "no agent library at /nowhere.so"),
        (&["exec"], 2, "COMMAND"),
    ] {
        let output = stepscope(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn the_line_is_printed_where_no_nsys_is_and_nothing_is_run() {
    let options = ["--nsys", "/nowhere/nsys", "--capture-range", "nvtx", "-t", "nvtx", "--captures", "2"];
    let output = stepscope(&[&["nsys"][..], &options, &["--", "./engine", "a b"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "/nowhere/nsys profile --trace=nvtx --sample=none --cpuctxsw=none --capture-range=nvtx \
         --nvtx-capture=capture@stepscope --capture-range-end=repeat:2 --force-overwrite=true --output=report ./engine 'a b'\n"
    );
    assert!(
        stderr(&output).contains("the options were not checked: /nowhere/nsys can't be run"),
        "{}",
        stderr(&output)
    );
    let output = stepscope(&[&["nsys", "--run"][..], &options, &["--", "./engine"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

#[test]
fn a_line_that_would_capture_nothing_is_refused_with_one_that_does() {
    for (options, why, line) in [
        (&["--capture-range", "nvtx", "-t", "cuda"][..], "has no nvtx", "--trace=cuda,nvtx"),
        (&["--capture-range", "cuda", "-t", "nvtx"], "has no cuda", "--trace=nvtx,cuda"),
        (
            &["--nsys-option=--capture-range-end=stop-shutdown"],
            "ended with its first capture",
            "--capture-range-end=repeat",
        ),
        (&["--nsys-option=sample"], "is no option", "--nsys-option=--name=value"),
    ] {
        let output = stepscope(&[&["nsys", "--nsys", "/nowhere/nsys"][..], options, &["--", "./engine"]].concat());
        let said = stderr(&output);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{options:?}");
        assert!(said.contains(why) && said.contains(line), "{options:?}: {said}");
    }
}

#[test]
fn where_no_report_is_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = stepscope(&["reports", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no report"), "{}", stderr(&output));
}
