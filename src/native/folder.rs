//! What lies in the folder that an engine's profiler writes to. Only regular files below it: links are not followed, since
//! what they lead to may be anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::capture::manifest::NativeFile;

use super::kind::rank_of;

/// Folders inside folders that are looked into.
const DEPTH: usize = 3;
/// Files that are looked at.
const MOST_FILES: usize = 100_000;
/// Files of one session that are taken.
const MOST_TAKEN: usize = 4096;
/// How far the clock of a file system may be off.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// Size and time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) written: SystemTime,
}

/// All files of a folder at one moment.
pub(super) type Listing = BTreeMap<PathBuf, Stamp>;

/// Looks. A folder that is not there (yet) holds nothing.
///
/// # Errors
/// Why it can't be read.
pub(super) fn list(folder: &Path) -> Result<Listing, String> {
    let mut found = Listing::new();
    match look(folder, DEPTH, &mut found) {
        Ok(()) => Ok(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(found),
        Err(error) => Err(format!("{} can't be read: {error}", folder.display())),
    }
}

fn look(folder: &Path, depth: usize, found: &mut Listing) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Of the entry itself, never of what a link leads to.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && depth > 0 {
            let _ = look(&entry.path(), depth - 1, found);
        } else if about.is_file() && found.len() < MOST_FILES {
            let written = about.modified().unwrap_or(UNIX_EPOCH);
            found.insert(entry.path(), Stamp { bytes: about.len(), written });
        }
    }
    Ok(())
}

/// The files of a session: those that carry its prefix. Where none does, for an engine that knows no prefixes, those that are
/// new or changed since `before`; where that is not known, those written since the capture was accepted.
pub(super) fn new_files(now: &Listing, before: Option<&Listing>, prefix: &str, accepted_at_ns: u64) -> Listing {
    let accepted = UNIX_EPOCH + Duration::from_nanos(accepted_at_ns);
    let is_named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !prefix.is_empty() && name.contains(prefix)
    };
    // Others may write there too: a session of somebody's that was stopped for ours, say.
    let any_is_named = now.keys().any(is_named);
    let is_new = |path: &PathBuf, stamp: &Stamp| match before {
        _ if any_is_named => is_named(path),
        Some(before) => before.get(path) != Some(stamp),
        None => stamp.written + CLOCK_SLACK >= accepted,
    };
    now.iter().filter(|(path, stamp)| is_new(path, stamp)).take(MOST_TAKEN).map(|(p, s)| (p.clone(), *s)).collect()
}

/// As the manifest names them.
pub(super) fn files(listing: &Listing, prefix: &str) -> Vec<NativeFile> {
    let file = |(path, stamp): (&PathBuf, &Stamp)| NativeFile {
        path: path.display().to_string(),
        bytes: stamp.bytes,
        rank: path.file_name().and_then(|name| rank_of(&name.to_string_lossy())),
        written_at: jiff::Timestamp::try_from(stamp.written).map(|at| at.to_string()).unwrap_or_default(),
        ours: !prefix.is_empty() && path.file_name().is_some_and(|name| name.to_string_lossy().contains(prefix)),
    };
    listing.iter().map(file).collect()
}

/// All bytes.
pub(super) fn bytes(listing: &Listing) -> u64 {
    listing.values().map(|stamp| stamp.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_are_those_that_carry_the_prefix_or_else_came_or_changed_and_links_are_none() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        write("old.json", "1");
        write("table.txt", "1");
        fs::create_dir(place.path().join("deeper")).unwrap();
        let before = list(place.path()).unwrap();
        write("table.txt", "22");
        write("deeper/id_rank0.json", "1");
        write("new.json", "1");
        std::os::unix::fs::symlink("/etc/hostname", place.path().join("link.json")).unwrap();
        let now = list(place.path()).unwrap();
        let names = |listing: Listing| -> Vec<String> {
            listing.keys().map(|p| p.strip_prefix(place.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(new_files(&now, Some(&before), "id", 0)), ["deeper/id_rank0.json"]);
        assert_eq!(
            names(new_files(&now, Some(&before), "unheard", 0)),
            ["deeper/id_rank0.json", "new.json", "table.txt"]
        );
        let later_ns = 4_000_000_000_000_000_000;
        assert!(new_files(&now, None, "unheard", later_ns).is_empty());
        assert_eq!(new_files(&now, None, "unheard", 0).len(), 4);
        assert!(list(&place.path().join("nowhere")).unwrap().is_empty());
    }
}
