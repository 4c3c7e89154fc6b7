//! The segments' folder: where it is, whose it is, and whether strangers can plant files in it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::segment::CreateError;

/// The folder that both sides use unless told otherwise: `STEPSCOPE_DIR`, else `/dev/shm/stepscope-<uid>`.
pub fn default_folder() -> PathBuf {
    match std::env::var_os("STEPSCOPE_DIR") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => format!("/dev/shm/stepscope-{}", user_id()).into(),
    }
}

/// Effective user id.
pub fn user_id() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// Makes the folder if need be and checks that strangers cannot plant files in it.
///
/// # Errors
/// [`CreateError::Folder`], with what to do.
pub fn prepare_folder(folder: &Path) -> Result<(), CreateError> {
    let refuse = |why: String| Err(CreateError::Folder(folder.to_owned(), why));
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return refuse(format!("cannot be made: {e}")),
    }
    let meta = match fs::symlink_metadata(folder) {
        Ok(meta) => meta,
        Err(e) => return refuse(e.to_string()),
    };
    if !meta.is_dir() {
        return refuse("is not a folder".into());
    }
    if meta.mode() & 0o002 != 0 {
        return refuse(format!(
            "is writable by everybody: chmod 0700 {0} (or 2770 with a common group)",
            folder.display()
        ));
    }
    Ok(())
}
