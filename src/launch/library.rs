//! Where the agent library is: named, beside this executable, in a build folder, or in the Python package beside it.

use std::path::{Path, PathBuf};

/// Its file names: with the soname, and as cargo makes it.
const NAMES: [&str; 2] = ["libstepscope.so.1", "libstepscope.so"];

/// It is nowhere.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It was named.
    #[error("there is no agent library at {}", .0.display())]
    Named(PathBuf),
    /// It was looked for.
    #[error(
        "there is no agent library beside {}; build it with `cargo rustc --lib --crate-type cdylib --no-default-features \
         --features agent --profile agent` and name it with --library, or `pip install ./python`",
        .0.display()
    )]
    Nowhere(PathBuf),
}

/// The library as an absolute path: `named` alone if it is given, else what lies beside `executable`.
///
/// # Errors
/// See [`FindError`].
pub fn find(named: Option<&Path>, executable: &Path) -> Result<PathBuf, FindError> {
    if let Some(named) = named {
        return named.canonicalize().ok().filter(|file| file.is_file()).ok_or_else(|| FindError::Named(named.into()));
    }
    let folder = executable.parent().unwrap_or(Path::new("/"));
    let mut folders = vec![folder.to_owned(), folder.join("../agent"), folder.join("../lib")];
    // bin/stepscope and lib/python3.N/site-packages/stepscope of one virtual environment.
    let pythons = std::fs::read_dir(folder.join("../lib")).into_iter().flatten().flatten();
    let pythons = pythons.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"python3"));
    folders.extend(pythons.flat_map(|python| {
        ["site-packages", "dist-packages"].map(|packages| python.path().join(packages).join("stepscope/_lib"))
    }));
    let files = folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name)));
    files
        .filter(|file| file.is_file())
        .find_map(|file| file.canonicalize().ok())
        .ok_or_else(|| FindError::Nowhere(executable.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_each_way_of_installing_puts_it() {
        for place in [
            "bin/libstepscope.so",
            "agent/libstepscope.so",
            "lib/python3.12/site-packages/stepscope/_lib/libstepscope.so.1",
        ] {
            let root = tempfile::tempdir().expect("a folder");
            let file = root.path().join(place);
            std::fs::create_dir_all(root.path().join("bin")).expect("a folder");
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            let executable = root.path().join("bin/stepscope");
            assert!(find(None, &executable).is_err_and(|e| e.to_string().contains("cargo rustc")));
            std::fs::write(&file, "").expect("a file");
            assert_eq!(find(None, &executable).expect(place), file.canonicalize().expect("a path"));
        }
        let missing = find(Some(Path::new("/nowhere.so")), Path::new("/bin/stepscope"));
        assert_eq!(missing.expect_err("none").to_string(), "there is no agent library at /nowhere.so");
    }
}
