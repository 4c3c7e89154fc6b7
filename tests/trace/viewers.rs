//! Sample files for the checks with other people's tools (`tests/trace/check.sh`).

use stepscope::trace::counter::Metric;
use stepscope::trace::meta::Selection;

use super::counters::{counters, gpus, value};
use super::sample::*;

/// Writes a two-rank trace and its one-rank files where `STEPSCOPE_SAMPLE_DIR` says. The same code runs without the
/// variable, into a temporary folder, so that it can't rot.
#[test]
fn sample_files() {
    let temporary = tempfile::tempdir().unwrap();
    let asked = std::env::var_os("STEPSCOPE_SAMPLE_DIR").map(std::path::PathBuf::from);
    let dir = asked.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir).unwrap();
    let mut files = vec![
        fragment(temporary.path(), &identity("0", 0), &iterations(0, 1, 60)),
        fragment(temporary.path(), &identity("0", 1), &iterations(1, 1, 60)),
    ];
    let power = |n: u64| value(n as u32 % 2, Metric::Power, 5_000_000 + n * 500_000, 300.0 + n as f64);
    files.push(counters(temporary.path(), gpus(), &(0..80).map(power).collect::<Vec<_>>()));
    let meta = meta(vec![window("0", 0, 5, 54), window("0", 1, 5, 54)]);
    for (name, selection) in
        [("trace.json", Selection::default()), ("rank0.json", Selection::rank(0)), ("rank1.json", Selection::rank(1))]
    {
        let (text, summary) = text(&files, &meta, &selection);
        assert_eq!(summary.iterations, 50 * summary.ranks.len() as u64);
        checked(&text);
        std::fs::write(dir.join(name), text).unwrap();
    }
}
