//! Files that hold a secret: read only if they are the owner's and the group's alone.
//!
//! Called by [`super::tokens`], and by `service` for a TLS key.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The longest that is read, bytes.
const LONGEST: u64 = 1 << 20;

/// The file's text. A mode that lets others read or write it is an error; the open file is asked, not its name.
///
/// # Errors
/// In words that say what mends it, without the path.
pub fn read(path: &Path) -> Result<String, String> {
    let words = |error: io::Error| error.to_string();
    let file = File::open(path).map_err(words)?;
    let metadata = file.metadata().map_err(words)?;
    if !metadata.is_file() {
        return Err("is no file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o006 != 0 {
        return Err(format!("others may read or write it (mode {mode:04o}): chmod o-rw it"));
    }
    if metadata.size() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(words)?;
    Ok(text)
}

/// Whether others than its owner and its group may read it.
pub fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
