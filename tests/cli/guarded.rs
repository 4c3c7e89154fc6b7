//! A guarded sidecar as its users meet it: HTTPS, tokens with rights, and SIGHUP, with real processes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::{command, stderr, stdout};
use crate::support::engine::signal;
use crate::support::sidecar::Sidecar;
use crate::support::{Place, eventually};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/certificates").join(name)
}

fn secret(place: &Place, name: &str, text: &str) -> String {
    let path = place.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn tokens(looker: &str) -> String {
    format!(
        "[[token]]\nname = \"looker\"\ntoken = \"{looker}\"\nrights = [\"look\"]\n\
         [[token]]\nname = \"bench\"\ntoken = \"of-bench\"\nrights = [\"capture\"]\n"
    )
}

fn called(url: &str, token: &str, arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.args(["--url", url, "--token", token]).env("STEPSCOPE_CACERT", fixture("authority.pem"));
    command.output().unwrap()
}

#[test]
fn the_commands_speak_https_with_a_token_and_a_reload_takes_new_ones() {
    let place = Place::new();
    let key = secret(&place, "tls.key", &std::fs::read_to_string(fixture("first.key")).unwrap());
    let file = secret(&place, "tokens", &tokens("first-one"));
    let certificate = fixture("first.pem");
    let arguments = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", &key, "--tokens-file", &file];
    let sidecar = Sidecar::start(&place, &arguments);
    let url = format!("https://{}", sidecar.address());

    let output = called(&url, "first-one", &["status"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = called(&url, "of-bench", &["status"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("bench") && stderr(&output).contains("look"), "{}", stderr(&output));
    let output = called(&url, "of-bench", &["stop"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = called(&url, "unknown", &["status"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));

    // A broken file changes nothing, and the log says what is wrong without a line of it.
    std::fs::write(&file, "[[token]]\nname = \"looker\"\ntoken = of-nobody\n").unwrap();
    signal(sidecar.pid(), "HUP");
    eventually("the broken file to be told of", || sidecar.log().contains("the tokens stay as they are").then_some(()));
    assert!(!sidecar.log().contains("of-nobody"), "{}", sidecar.log());
    assert_eq!(called(&url, "first-one", &["status"]).status.code(), Some(0));
    std::fs::write(&file, tokens("second-one")).unwrap();
    signal(sidecar.pid(), "HUP");
    eventually("the new token", || (called(&url, "second-one", &["status"]).status.code() == Some(0)).then_some(()));
    assert_eq!(called(&url, "first-one", &["status"]).status.code(), Some(4));
    for token in ["first-one", "second-one", "of-bench", "unknown"] {
        assert!(!sidecar.log().contains(token), "{token} is in the log");
    }
    let audited = "stop by token bench";
    assert!(sidecar.log().contains(audited), "{}", sidecar.log());
}

#[test]
fn doctor_finds_a_sidecar_that_speaks_https_however_it_is_called() {
    let place = Place::new();
    let key = secret(&place, "tls.key", &std::fs::read_to_string(fixture("first.key")).unwrap());
    let certificate = fixture("first.pem");
    let sidecar = Sidecar::start(&place, &["--tls-cert", certificate.to_str().unwrap(), "--tls-key", &key]);
    let address = sidecar.address();
    let finding = |url: String, trusted: Option<PathBuf>| {
        let segments = place.segments();
        let mut command = command(&["doctor", "--json", "--python", "/nonexistent", "--url", &url, "--dir"]);
        command.arg(&segments).envs(trusted.map(|path| ("STEPSCOPE_CACERT", path)));
        let output = command.output().unwrap();
        let all: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let found = all["findings"].as_array().unwrap().iter().find(|finding| finding["about"] == "sidecar").cloned();
        found.unwrap()
    };
    let trusted = finding(format!("https://{address}"), Some(fixture("authority.pem")));
    assert_eq!(trusted["level"], "ok", "{trusted}");
    let plain = finding(format!("http://{address}"), None);
    assert!(plain["level"] == "warn" && plain["mend"].as_str().unwrap().contains("https://"), "{plain}");
    let unknown = finding(format!("https://{address}"), None);
    assert!(unknown["level"] == "warn" && unknown["mend"].as_str().unwrap().contains("--cacert"), "{unknown}");
}
