//! Settings from four layers, and the one table of variables.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use clap::{CommandFactory, Parser};
use secrecy::ExposeSecret;
use stepscope::config::variables::{Reader, VARIABLES};
use stepscope::config::{DefaultProfiler, EngineKind, EngineSettings, ServeArguments, Settings, SettingsError, load};
use stepscope::service::{ServeError, Server};
use stepscope::telemetry::nvml::Gpus;

use super::support::session;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    serve: ServeArguments,
}

fn flags(arguments: &[&str]) -> ServeArguments {
    Command::try_parse_from(std::iter::once(&"serve").chain(arguments)).unwrap().serve
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn refused(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    load(environment(variables), &flags(arguments)).unwrap_err().to_string()
}

#[test]
fn every_layer_wins_over_the_one_below() {
    let file = file("lease_ms = 2000\nmax_events = 2\nmax_bytes = 2\n[retention]\nmax_captures = 2\nmax_bytes = 2\n");
    let file = file.path().to_str().unwrap();
    let variables =
        [("STEPSCOPE_MAX_EVENTS", "3"), ("STEPSCOPE_MAX_BYTES", "3"), ("STEPSCOPE_RETENTION_MAX_BYTES", "3")];
    let settings = load(environment(&variables), &flags(&["--config", file, "--max-bytes", "4"])).unwrap();
    assert_eq!((settings.max_wait_ms, settings.lease_ms), (3_600_000, 2000));
    assert_eq!((settings.max_events, settings.max_bytes), (3, 4));
    assert_eq!((settings.retention.max_captures, settings.retention.max_bytes), (2, 3));
    let settings = load(environment(&[("STEPSCOPE_CONFIG", file)]), &flags(&["--retention-max-bytes", "9"])).unwrap();
    assert_eq!((settings.max_events, settings.retention.max_bytes, settings.max_bytes), (2, 9, 2));
}

#[test]
fn defaults_are_those_that_are_documented() {
    let settings = load(environment(&[("HOME", "/home/a")]), &flags(&[])).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8001");
    assert_eq!(settings.data, Path::new("/home/a/.local/share/stepscope"));
    assert!(settings.dir.to_str().unwrap().starts_with("/dev/shm/stepscope-"));
    let moved = load(environment(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/x")]), &flags(&[])).unwrap();
    assert_eq!(moved.data, Path::new("/x/stepscope"));
    for variable in VARIABLES.iter().filter(|variable| !variable.key.is_empty()) {
        let table = toml::Table::try_from(&settings).unwrap();
        let value = variable
            .key
            .split('.')
            .try_fold(&toml::Value::Table(table.clone()), |value, key| value.get(key))
            .map(ToString::to_string);
        let value = value.map(|value| value.trim_matches('"').trim_end_matches(".0").to_owned());
        match variable.default {
            "none" => assert_eq!(value, None, "{}", variable.name),
            words if words.contains(['$', '<']) => assert!(value.is_some(), "{}", variable.name),
            plain => assert_eq!(value.as_deref(), Some(plain), "{}", variable.name),
        }
    }
}

#[test]
fn every_setting_has_a_variable_and_a_flag() {
    let mut keys = Vec::new();
    let engine = EngineSettings {
        url: Some("u".into()),
        kind: Some(EngineKind::TensorRtLlm),
        profile_dir: Some("p".into()),
        token_file: Some("t".into()),
        ..EngineSettings::default()
    };
    let some = || Some(std::path::PathBuf::from("x"));
    let full = Settings {
        token_file: some(),
        tokens_file: some(),
        open_profile_routes: vec!["10.0.0.0/8".parse().unwrap()],
        allowed_host: vec!["a".into()],
        audit_log: some(),
        tls_cert: some(),
        tls_key: some(),
        self_trace: some(),
        upstream: Some("u".into()),
        engine,
        ..Settings::default()
    };
    for (key, value) in toml::Table::try_from(&full).unwrap() {
        match value {
            toml::Value::Table(inner) => keys.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            _ => keys.push(key),
        }
    }
    let command = Command::command();
    for key in &keys {
        let variable = format!("STEPSCOPE_{}", key.replace('.', "_").to_uppercase());
        let entry = VARIABLES.iter().find(|entry| entry.name == variable);
        assert_eq!(entry.map(|entry| entry.key), Some(key.as_str()), "{variable}");
        let flag = key.replace(['.', '_'], "-");
        assert!(command.get_arguments().any(|argument| argument.get_long() == Some(&flag)), "--{flag}");
    }
    let with_key = VARIABLES
        .iter()
        .filter(|variable| !variable.key.is_empty() && !["token", "engine.token"].contains(&variable.key))
        .count();
    assert_eq!(with_key, keys.len(), "a variable stands for a setting that is gone");
}

#[test]
fn a_key_or_variable_that_nobody_knows_is_an_error_that_names_it() {
    let file = file("lease_ms = 2000\nlease = 3\n[retention]\nmax_count = 1\n");
    let message = refused(&[], &["--config", file.path().to_str().unwrap()]);
    assert!(message.contains("`lease`") && message.contains("`retention.max_count`"), "{message}");
    assert!(refused(&[("STEPSCOPE_LISTENS", "x")], &[]).contains("STEPSCOPE_LISTENS"));
    // What Kubernetes makes up for a service called stepscope, and what the agent reads, is none of our business.
    let fine = [
        ("STEPSCOPE_SERVICE_HOST", "10.0.0.1"),
        ("STEPSCOPE_PORT", "tcp://10.0.0.1:8001"),
        ("STEPSCOPE_PORT_8001_TCP_ADDR", "10.0.0.1"),
        ("STEPSCOPE_SERVICE_PORT_HTTP", "8001"),
        ("STEPSCOPE_JOB", "a"),
        ("STEPSCOPE_LEASE_MS", ""),
        ("OTHER", "x"),
    ];
    assert_eq!(load(environment(&fine), &flags(&[])).unwrap().lease_ms, 10_000);
    for variable in VARIABLES.iter().filter(|variable| variable.reader == Reader::Agent) {
        assert!(load(environment(&[(variable.name, "whatever")]), &flags(&[])).is_ok(), "{}", variable.name);
    }
}

#[test]
fn a_wrong_value_is_told_with_the_place_it_came_from() {
    for (name, value) in [
        ("STEPSCOPE_LEASE_MS", "soon"),
        ("STEPSCOPE_LEASE_MS", "-5"),
        ("STEPSCOPE_LISTEN", "nowhere"),
        ("STEPSCOPE_TRUST_GROUP", "perhaps"),
        ("STEPSCOPE_DEFAULT_PROFILER", "torch"),
        ("STEPSCOPE_START_RATE_PER_SECOND", "fast"),
    ] {
        let message = refused(&[(name, value)], &[]);
        assert!(message.contains(name), "{message}");
    }
    let file = file("listen = 5\n");
    let message = refused(&[], &["--config", file.path().to_str().unwrap()]);
    assert!(message.contains(file.path().to_str().unwrap()) && message.contains("line 1"), "{message}");
    for text in
        ["lease_ms = 2000\ntoken = hush-hush\n", "[engine]\ntoken = 4711\n", "engine = { token = \"hush-hush }\n"]
    {
        let file = self::file(text);
        let message = refused(&[], &["--config", file.path().to_str().unwrap()]);
        assert!(message.contains(": line "), "{message}");
        assert!(!message.contains("hush") && !message.contains("4711"), "{message}");
    }
    assert!(refused(&[], &["--config", "/nowhere/at/all.toml"]).contains("/nowhere/at/all.toml"));
    assert!(refused(&[], &["--lease-ms", "5"]).contains("lease_ms"));
    assert!(refused(&[], &["--max-bytes", "0"]).contains("max_bytes"));
    assert!(refused(&[("STEPSCOPE_START_RATE_PER_SECOND", "NaN")], &[]).contains("start_rate_per_second"));
}

#[test]
fn switches_and_choices_are_taken() {
    let settings =
        load(environment(&[("STEPSCOPE_PROFILING", "off")]), &flags(&["--trust-group", "--default-profiler", "cuda"]))
            .unwrap();
    assert!(!settings.profiling && settings.trust_group);
    assert_eq!(settings.default_profiler, DefaultProfiler::Cuda);
    assert!(load(environment(&[("STEPSCOPE_PROFILING", "off")]), &flags(&["--profiling", "true"])).unwrap().profiling);
}

#[test]
fn a_token_is_never_shown() {
    let settings = load(environment(&[("STEPSCOPE_TOKEN", "hush-hush")]), &flags(&[])).unwrap();
    assert!(!format!("{settings:?}").contains("hush"));
    assert!(!toml::to_string(&settings).unwrap().contains("hush"));
    assert_eq!(settings.bearer_token().unwrap().unwrap().expose_secret(), "hush-hush");
    let message = refused(&[("STEPSCOPE_TOKEN", "hush hush")], &[]);
    assert!(message.contains("token") && !message.contains("hush"), "{message}");
}

#[test]
fn a_token_file_is_read_and_an_empty_one_refused() {
    let token = |text: &str| {
        let file = file(text);
        let settings = Settings { token_file: Some(file.path().into()), ..Settings::default() };
        settings.bearer_token()
    };
    assert_eq!(token("secret\n").unwrap().unwrap().expose_secret(), "secret");
    for wrong in ["", " \n", "two words", "naïve"] {
        assert!(matches!(token(wrong), Err(SettingsError::Token { .. })), "{wrong:?}");
    }
}

#[tokio::test]
async fn listening_beyond_loopback_asks_for_a_token() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8001"] {
        let message = refused(&[], &["--listen", address]);
        assert!(message.contains("STEPSCOPE_TOKEN"), "{message}");
        let settings = Settings { listen: address.parse().unwrap(), ..Settings::default() };
        let (captures, _folder) = session();
        let refused = Server::bind(settings, captures, Gpus::none("not asked")).await.unwrap_err();
        assert!(matches!(refused, ServeError::Settings(SettingsError::OpenToAll(_))), "{refused}");
    }
    assert!(load(environment(&[("STEPSCOPE_TOKEN", "secret")]), &flags(&["--listen", "0.0.0.0:0"])).is_ok());
    assert!(load(environment(&[]), &flags(&["--listen", "[::1]:0"])).is_ok());
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_number_and_a_free_one_is_found() {
    let free = Settings { listen: "127.0.0.1:0".parse().unwrap(), ..Settings::default() };
    let (captures, _folder) = session();
    let server = Server::bind(free.clone(), captures.clone(), Gpus::none("not asked")).await.unwrap();
    assert_ne!(server.address().port(), 0);
    let again = Server::bind(Settings { listen: server.address(), ..free }, captures, Gpus::none("not asked"))
        .await
        .unwrap_err();
    assert!(again.to_string().contains(&server.address().to_string()), "{again}");
}
