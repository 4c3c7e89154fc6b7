//! A real capture in every format, fetched by the command line: what the file is called chooses, all hold the same.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Engine, Place, Sidecar, stepscope};
use crate::trace::picture::Picture;

fn get(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    let url = format!("http://{}", sidecar.address());
    let output = Command::new(stepscope()).arg("get").args(["--url", &url]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn only_file(folder: &Path) -> String {
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    name.to_str().unwrap().to_owned()
}

#[test]
fn a_capture_can_be_had_in_every_format_by_the_name_of_the_file() {
    let place = Place::new();
    let _engine = Engine::start(&place.segments(), &["--iterations", "0", "--step-us", "500"]);
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(2);
    let started = sidecar.start_profile("{\"max_iterations\":20,\"profile_prefix\":\"nightly\"}");
    let id = started["capture_id"].as_str().unwrap();
    sidecar.in_state(id, "done");
    let folder = tempfile::tempdir().unwrap();
    let fetched = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        get(&sidecar, &[&["-o", path.to_str().unwrap()], more].concat());
        std::fs::read(path).unwrap()
    };
    let json = fetched("a.json", &[]);
    Picture::of_json(&json).assert_same(&Picture::of_pftrace(&fetched("a.pftrace", &[])));
    assert_eq!(zstd::decode_all(&fetched("a.json.zst", &[])[..]).unwrap(), json);
    let mut unpacked = Vec::new();
    let packed = fetched("a.json.gz", &[]);
    std::io::copy(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, json);
    assert_eq!(fetched("by its name.json", &["--format", "json.zst"]), fetched("a.json.zst", &[]));

    let lines = String::from_utf8(fetched("a.jsonl", &[])).unwrap();
    assert_eq!(lines.as_bytes(), get(&sidecar, &["--iterations", "-o", "-"]).stdout);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let csv = String::from_utf8(fetched("a.csv", &[])).unwrap();
    assert_eq!((rows.len(), csv.matches("\r\n").count()), (40, 41));
    let one = String::from_utf8(fetched("rank1.csv", &["--rank", "1"])).unwrap();
    assert_eq!(one.matches("\r\n").count(), 21);

    for (arguments, name) in [
        (&["--format", "perfetto"][..], format!("nightly-{id}.pftrace")),
        (&["--format", "json.zst", "--rank", "1"], format!("nightly-{id}-rank1.trace.json.zst")),
        (&["--iterations"], format!("nightly-{id}.iterations.jsonl")),
        (&["--format", "csv", "--rank", "0"], format!("nightly-{id}-rank0.iterations.csv")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        get(&sidecar, &[&["-o", folder.path().to_str().unwrap()], arguments].concat());
        assert_eq!(only_file(folder.path()), name);
    }
}
