//! What makes no sense is refused before the command is run.

use super::support::Run;

#[test]
fn an_address_that_cannot_be_meant_is_exit_code_2_and_the_command_is_not_run() {
    for url in ["localhost:8000", "ftp://h", "http://", "http://u:pass@h", "http://h?x=1"] {
        let run = Run::new();
        let went = run.finish(&[url.to_owned()], &[], "echo ran");
        assert_eq!((went.code, went.stdout.as_str()), (Some(2), ""), "{url}: {}", went.stderr);
        assert!(went.stderr.starts_with("error: ") && !went.stderr.contains("pass@"), "{url}: {}", went.stderr);
        assert!(!run.out().exists());
    }
    let run = Run::new();
    let file = run.path().join("targets");
    std::fs::write(&file, "http://h\nnonsense\n").unwrap();
    for options in [
        &["--targets", file.to_str().unwrap()][..],
        &["--targets", "/no/such/file"],
        &["--engine", "torch"],
        &["--timeout", "0"],
        &["--delay-iterations", "1", "--start-iteration", "2"],
    ] {
        let went = run.finish(&[], options, "echo ran");
        assert_eq!((went.code, went.stdout.as_str()), (Some(2), ""), "{options:?}: {}", went.stderr);
    }
}

#[test]
fn a_folder_that_takes_nothing_is_told_before_an_hour_of_benchmark() {
    let run = Run::new();
    std::fs::write(run.out(), "a file").unwrap();
    let went = run.finish(&["http://127.0.0.1:9".into()], &[], "echo ran");
    assert_eq!((went.code, went.stdout.as_str()), (Some(1), ""), "{}", went.stderr);
    assert!(went.stderr.contains("the command was not run"), "{}", went.stderr);
}
