//! The README's commands: the two of the first screen, and that everything else it names is there.

use super::support::top;

/// What a visitor sees first: one command runs the main job, one runs the tests.
const FIRST: [&str; 2] = ["cargo run --release -- demo --out demo-trace", "cargo test"];

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Commands in shell blocks, without what follows a `#`.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_shell = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(language) => is_shell = !is_shell && matches!(language, "sh" | "bash" | "console"),
            None if is_shell => {
                let command = line.split(" #").next().unwrap().trim();
                if !command.is_empty() && !command.starts_with('#') {
                    found.push(command.to_owned());
                }
            }
            None => {}
        }
    }
    found
}

/// Words in backticks, for commands named in running text and tables.
fn quoted(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| !l.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_first_screen_has_exactly_the_two_commands() {
    let readme = read("README.md");
    let first: String = readme.lines().take(24).fold(String::new(), |all, line| all + line + "\n");
    let first = first.split("\n## ").next().unwrap();
    assert_eq!(commands(first), FIRST);
}

#[test]
fn the_checks_call_the_same_test_command() {
    let script = read(".ci/run");
    let calls = script.lines().filter(|l| !l.trim_start().starts_with('#'));
    assert!(calls.clone().any(|l| l.trim_end().ends_with(FIRST[1])), ".ci/run does not call `{}`", FIRST[1]);
}

#[test]
fn every_cargo_and_script_command_of_the_readme_is_there() {
    let readme = read("README.md") + &read("benches/README.md");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let is_declared = |kind: &str, name: &str| {
        let list = manifest.get(kind).and_then(|v| v.as_array());
        list.is_some_and(|l| l.iter().any(|t| t.get("name").and_then(|n| n.as_str()) == Some(name)))
    };
    let mut checked = 0;
    for command in commands(&readme).into_iter().chain(quoted(&readme)) {
        let words: Vec<_> = command.split_whitespace().collect();
        for pair in words.windows(2) {
            let kind = pair[0].trim_start_matches("--");
            if words.contains(&"cargo") && pair[0].starts_with("--") && matches!(kind, "bench" | "example" | "bin") {
                let is_ours =
                    is_declared(kind, pair[1]) || top().join(format!("benches/peers/{}.rs", pair[1])).is_file();
                assert!(is_ours, "the README names `{command}`, and there is no {kind} {}", pair[1]);
                checked += 1;
            }
        }
        for word in &words {
            let is_path =
                ["tests/", "benches/", ".ci/", "./tests/", "./benches/", "./.ci/", "python/tests/", "docker/"]
                    .iter()
                    .any(|p| word.starts_with(p));
            if is_path && !word.contains('*') {
                let path = word.trim_end_matches([',', '.', ';', ')']);
                assert!(top().join(path).exists(), "the README names {path}, which is not there");
                checked += 1;
            }
        }
    }
    assert!(checked >= 1, "no command was found in the README");
}
