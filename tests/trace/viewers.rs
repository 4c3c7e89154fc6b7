//! Sample files for the checks with other people's tools (`tests/trace/check.sh`).

use stepscope::trace::meta::Selection;

use super::sample::*;

/// Writes a two-rank trace and its one-rank files where `STEPSCOPE_SAMPLE_DIR` says. The same code runs without the
/// variable, into a temporary folder, so that it can't rot.
#[test]
fn sample_files() {
    let temporary = tempfile::tempdir().unwrap();
    let asked = std::env::var_os("STEPSCOPE_SAMPLE_DIR").map(std::path::PathBuf::from);
    let dir = asked.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir).unwrap();
    let files = [0, 1].map(|rank| fragment(temporary.path(), &identity("0", rank), &iterations(rank, 1, 60)));
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
